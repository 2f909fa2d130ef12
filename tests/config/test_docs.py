"""What the documents name is there: whoever checks a claim by the command beside it runs a test."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import get_commands

ROOT = Path(settings.BASE_DIR)
DOCUMENTS = ["README.md", "SECURITY.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in ROOT.glob("docs/*.md"))]
PYTEST = re.compile(
    r"`(?:KEYFARE_TEST_DATABASE=postgresql )?pytest (?P<paths>[^`]+?)(?: -k (?P<words>\"[^\"]+\"|[^ `]+))?`"
)
TEST = re.compile(r"`(test_\w+)`")
COMMAND = re.compile(r"`[^`]*manage\.py (\w+)")


@cache
def names_in(path: str) -> frozenset[str]:
    files = [ROOT / path] if path.endswith(".py") else (ROOT / path).rglob("test_*.py")
    names = set()
    for file in files:
        names |= {node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)}
    return frozenset(name for name in names if name.startswith("test_"))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_test_that_a_document_names_is_there(document):
    text = (ROOT / document).read_text()

    for match in PYTEST.finditer(text):
        names = frozenset().union(*(names_in(path) for path in match["paths"].split()))
        for word in (match["words"] or "").strip('"').split(" or "):
            assert any(word in name for name in names), match[0]
    for name in TEST.findall(text):
        assert name in names_in("tests"), name
    for path in re.findall(r"`(tests/[\w/]+\.py)`", text):
        assert (ROOT / path).is_file(), path


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_that_a_document_names_is_there(document):
    for name in COMMAND.findall((ROOT / document).read_text()):
        assert name in get_commands(), name
