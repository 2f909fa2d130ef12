from typing import Any

from django.contrib import admin

class ModelAdmin(admin.ModelAdmin[Any]):
    list_filter_submit: bool
    list_fullwidth: bool
    compressed_fields: bool
    warn_unsaved_form: bool
    actions_list: Any
    actions_detail: Any
    actions_row: Any
    actions_submit_line: Any

class TabularInline(admin.TabularInline[Any, Any]):
    tab: bool
