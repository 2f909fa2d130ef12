ROW_CLASSES: list[str]
CHECKBOX_CLASSES: list[str]
LINK_CLASSES: list[str]
