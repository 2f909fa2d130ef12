"""The forms of a page as a browser without scripts would post them."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[tuple[dict[str, str | None], dict[str, Any]]] = []
        self._field = ""  # the text area or list of choices that is open
        self._open = False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        name = given.get("name") or ""
        if tag == "form":
            self.forms.append((given, {}))
            self._open = True
        if not self._open or not name or "disabled" in given:
            if tag == "option" and self._field and ("selected" in given or self._field not in self._fields):
                self._fields[self._field] = given.get("value") or ""
            return
        if tag == "input" and given.get("type") not in ("submit", "button", "file"):
            if given.get("type") not in ("checkbox", "radio") or "checked" in given:
                self._fields[name] = given.get("value") or ("on" if given.get("type") == "checkbox" else "")
        elif tag in ("select", "textarea"):
            self._field = name
            if tag == "textarea":
                self._fields[name] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag in ("select", "textarea"):
            self._field = ""
        elif tag == "form":
            self._open = False

    def handle_data(self, data: str) -> None:
        if self._field and isinstance(self._fields.get(self._field), str) and self.lasttag == "textarea":
            self._fields[self._field] += data.removeprefix("\n")

    @property
    def _fields(self) -> dict[str, Any]:
        return self.forms[-1][1]


def form_of(response: Any, action: str) -> dict[str, Any]:
    """The fields of the form on the page that posts to `action`, without the token against forgery."""
    parser = _Forms()
    parser.feed(response.content.decode())
    here = response.wsgi_request.path
    found = [fields for given, fields in parser.forms if _address(given, here) == action and _posts(given)]
    assert found, (action, [given for given, _ in parser.forms])
    return {name: value for name, value in found[0].items() if name != "csrfmiddlewaretoken"}


def _address(given: dict[str, str | None], here: str) -> str:
    return (given.get("action") or here).split("?")[0]


def _posts(given: dict[str, str | None]) -> bool:
    return (given.get("method") or "get").lower() == "post"
