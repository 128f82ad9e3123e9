"""The documents keep up with the program."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from e2h_cli.cli.app import app

ROOT = Path(__file__).parents[2]
COMMANDS = [command.name for command in app.registered_commands]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_readme_shows_every_command(command: str) -> None:
    assert f"`e2h {command}" in (ROOT / "README.md").read_text()


def test_the_readme_s_file_tree_is_the_tree() -> None:
    text = (ROOT / "README.md").read_text()
    block = re.search(r"```\ne2h_cli/\n(.*?)```", text, re.DOTALL)
    assert block is not None
    named = {line.split()[0].rstrip("/") for line in block[1].splitlines() if line.startswith("  ")}
    there = {
        path.name
        for path in (ROOT / "e2h_cli").iterdir()
        if not path.name.startswith("__") and (path.is_dir() or path.suffix == ".py")
    }
    assert named == there


def test_the_readme_names_existing_make_targets_and_recipes() -> None:
    text = (ROOT / "README.md").read_text()
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z0-9-]+)", text)) <= targets
    listed = (ROOT / "recipes/README.md").read_text()
    for recipe in (ROOT / "recipes").glob("*.yaml"):
        assert f"`{recipe.stem}`" in listed
