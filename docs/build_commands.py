"""Write docs/commands.md from the parameters of the Typer app.

    python -m docs.build_commands

``tests/docs`` fails when the file is not what this script writes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import typer.main

from e2h_cli.cli.app import app
from e2h_cli.pipeline.registry import COMMANDS

TARGET = Path(__file__).with_name("commands.md")
HEAD = """# Commands

<!-- Written by docs/build_commands.py from the program's own help. Do not edit. -->

`e2h COMMAND --help` prints the same. An option that is not given takes the recipe's value, and the
default below where the recipe has none. The values of a setting are checked by the classes in
`e2h_cli/settings/`.
"""
EXIT_CODES = """## Exit codes

| code | meaning |
| --- | --- |
| 0 | done |
| 1 | failed |
| 2 | bad input: one line says what is wrong, where, and what to do |
| 130 | interrupted; the same command continues |
"""
_DEFAULT = re.compile(r"^(?P<about>.*?) ?Default: (?P<default>.*)\.$", re.DOTALL)


def page() -> str:
    """The text of commands.md."""
    commands: dict[str, Any] = {}
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        below = getattr(command, "commands", {})
        commands |= {name: command, **{f"{name} {other}": one for other, one in below.items()}}
    parts = [HEAD, _overview(commands), _global(), _common(commands), EXIT_CODES]
    parts += [_section(name, command) for name, command in commands.items()]
    return "\n".join(parts)


def _overview(commands: dict[str, Any]) -> str:
    rows = [
        f"| [`e2h {name}`](#e2h-{name.replace(' ', '-')}) | {_cell(c.help)} |"
        for name, c in commands.items()
    ]
    return "\n".join(["| command | what it does |", "| --- | --- |", *rows, ""])


def _global() -> str:
    """The options of the program itself."""
    return f"## Options of e2h itself\n\n{_table(typer.main.get_command(app).params)}"


def _common(commands: dict[str, Any]) -> str:
    """The options that every stage command has: those outside its panels."""
    first = commands[next(iter(COMMANDS))]
    shared = [one for one in first.params if not one.rich_help_panel]
    return f"## Options of every command that runs a stage\n\n{_table(shared)}"


def _section(name: str, command: Any) -> str:
    panels: dict[str, list[Any]] = {}
    for one in command.params:
        panels.setdefault(one.rich_help_panel or "Options", []).append(one)
    if name in COMMANDS:
        del panels["Options"]
    lines = [f"## e2h {name}", "", command.help.strip(), ""]
    for title, parameters in panels.items():
        lines += [f"**{title}**", "", _table(parameters)]
    return "\n".join(lines)


def _table(parameters: list[Any]) -> str:
    rows = [_row(one) for one in parameters]
    return "\n".join(
        ["| option | value | default | what |", "| --- | --- | --- | --- |", *rows, ""]
    )


def _row(parameter: Any) -> str:
    is_argument = parameter.param_type_name == "argument"
    names = [parameter.name.upper()] if is_argument else parameter.opts + parameter.secondary_opts
    value = (
        ""
        if getattr(parameter, "is_flag", False)
        else parameter.metavar or parameter.display_type(None)
    )
    about, default = parameter.help or "", ""
    if stated := _DEFAULT.match(about):
        about, default = stated["about"], stated["default"]
    elif parameter.required:
        default = "required"
    elif parameter.default not in (None, False):
        default = str(parameter.default)
    flags = " / ".join(f"`{name}`" for name in names)
    cells = (flags, _code(value), _code(default) if default != "required" else default)
    return f"| {' | '.join(cells)} | {_cell(about)} |"


def _code(text: str) -> str:
    return f"`{_cell(text)}`" if text else ""


def _cell(text: str) -> str:
    """Text for a table cell, where a bar must be escaped."""
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
