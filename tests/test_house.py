"""The rules of the house that no linter knows: sizes, and one name for one module."""

from __future__ import annotations

import ast
from collections import Counter

from tests.conftest import TESTS

PACKAGE = TESTS.parent / "e2h_cli"
MODULES = sorted(PACKAGE.rglob("*.py"))
# These name their modules after the commands.
MIRRORS = {"cli", "stages", "settings"}


def test_modules_have_at_most_350_lines() -> None:
    assert MODULES
    assert [f for f in MODULES if len(f.read_text().splitlines()) > 350] == []


def test_functions_have_at_most_60_lines() -> None:
    long = [
        f"{file.relative_to(PACKAGE)}:{node.lineno} {node.name}"
        for file in MODULES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (node.end_lineno or 0) - node.lineno >= 60
    ]
    assert long == []


def test_no_module_name_stands_twice() -> None:
    names = Counter(
        file.stem
        for file in MODULES
        if file.stem != "__init__" and file.relative_to(PACKAGE).parts[0] not in MIRRORS
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_the_top_has_thirteen_packages() -> None:
    packages = [p for p in PACKAGE.iterdir() if (p / "__init__.py").is_file()]
    loose = {p.name for p in PACKAGE.iterdir() if p.is_file()}
    assert len(packages) == 13
    assert loose <= {"__init__.py", "__main__.py", "py.typed"}


def test_only_the_command_line_prints() -> None:
    """Domain packages log; stages, pipeline and cli print."""
    allowed = {"cli", "stages", "pipeline", "common"}
    printing = [
        f"{file.relative_to(PACKAGE)}:{node.lineno}"
        for file in MODULES
        if file.relative_to(PACKAGE).parts[0] not in allowed
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and (
            (isinstance(node.func, ast.Name) and node.func.id == "print")
            or ast.unparse(node.func) == "console.print"
        )
    ]
    assert printing == []
