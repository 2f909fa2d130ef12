from collections.abc import Callable
from typing import Any

lookup_field: Callable[..., Any]
