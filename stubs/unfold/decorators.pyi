from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

_Function = TypeVar("_Function", bound=Callable[..., Any])

def action(
    *,
    permissions: Iterable[str] | None = ...,
    description: str | None = ...,
    url_path: str | None = ...,
    attrs: Mapping[str, Any] | None = ...,
    icon: str | None = ...,
    variant: Any = ...,
    dialog: Any = ...,
) -> Callable[[_Function], _Function]: ...
def display(
    *,
    boolean: bool | None = ...,
    ordering: Any = ...,
    description: str | None = ...,
    empty_value: str | None = ...,
    header: bool | None = ...,
    label: Any = ...,
) -> Callable[[_Function], _Function]: ...
