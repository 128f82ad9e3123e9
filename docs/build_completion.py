"""Write e2h_cli/cli/completion.json, what shells offer, from the parameters of the Typer app.

    python -m docs.build_completion

``tests/cli`` fails when the file is not what this script writes.
"""

from __future__ import annotations

import json
from typing import Any

import typer.main

from e2h_cli.cli.app import app
from e2h_cli.cli.completion import TABLE

# Names of parameters -> what they take. Others take their choices, or what cannot be listed.
_KINDS = {
    "recipe": "recipe",
    "recipes": "recipe",
    "views": "recipe",
    "scale": "scale",
    "stage": "stage",
    "until": "stage",
    "run_dir": "run",
    "run": "run",
    "a": "run",
    "b": "run",
}


def table() -> str:
    """The text of completion.json."""
    return json.dumps(_node(typer.main.get_command(app)), indent=1) + "\n"


def _node(command: Any) -> dict[str, Any]:
    context = typer.Context(command)
    params = command.get_params(context)
    node: dict[str, Any] = {
        "help": command.get_short_help_str(),
        "options": [_option(one) for one in params if one.param_type_name == "option"],
        "arguments": [_kind(command, one) for one in params if one.param_type_name == "argument"],
    }
    if below := getattr(command, "commands", {}):
        node["commands"] = {name: _node(one) for name, one in below.items()}
    return node


def _option(one: Any) -> dict[str, Any]:
    return {
        "flags": [*one.opts, *one.secondary_opts],
        "help": one.help or "",
        "takes": 0 if one.is_flag else one.nargs,
        "repeats": one.multiple,
        "kind": _kind(None, one),
    }


def _kind(command: Any, one: Any) -> str:
    if command is not None and command.name == "copy" and one.name == "name":
        return "recipe"
    if command is not None and command.name == "ls":
        return "run"
    metavar = one.metavar or ""
    return _KINDS.get(one.name) or (metavar if "|" in metavar else "")


if __name__ == "__main__":
    TABLE.write_text(table(), encoding="utf-8")
