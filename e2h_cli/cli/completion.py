"""Shell completion without an import outside of the standard library.

typer's own way builds the whole program before it answers, which takes most of a second. Here the
commands and options come from ``completion.json``, which ``docs/build_completion.py`` writes, and
the answers have the form that the scripts of ``e2h --install-completion`` expect. A shell that is
not known here is left to typer.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Set by the scripts that typer installs; the value is complete_bash, complete_zsh or complete_fish.
VARIABLE = "_E2H_COMPLETE"
TABLE = Path(__file__).with_name("completion.json")

_PACKAGE = Path(__file__).parents[1]
_DEFAULT_RECIPE = "experiment"
_SCALES = {
    "tiny": "from random weights, on a CPU",
    "small": "one GPU of 24 GB",
    "paper": "the models of the paper",
    "own": "your own models and data",
}
# Of stages in a recipe whose names hold no placeholder.
_STAGE = re.compile(r"^  ([a-z0-9][a-z0-9._-]*):(.*(?:\n(?:    .*|\s*))*)", re.MULTILINE)

# Value and help of an offer.
Offer = tuple[str, str]


def answer(environment: Mapping[str, str]) -> tuple[str, int] | None:
    """What is printed for a shell, and the exit code; None if the shell is not known here."""
    action, _, shell = environment.get(VARIABLE, "").partition("_")
    if action != "complete" or shell not in ("bash", "zsh", "fish") or not TABLE.is_file():
        return None
    if shell == "bash":
        words = _split(environment.get("COMP_WORDS", ""))
        at = int(environment.get("COMP_CWORD", len(words)))
        before, incomplete = words[1:at], words[at] if at < len(words) else ""
    else:
        line = environment.get("_TYPER_COMPLETE_ARGS", "")
        before, incomplete = _split(line)[1:], ""
        if before and not line.endswith(" "):
            incomplete = before.pop()
    offers = complete(before, incomplete, json.loads(TABLE.read_text(encoding="utf-8")))
    if shell == "bash":
        return "\n".join(value for value, _ in offers), 0
    if shell == "zsh":
        lines = "\n".join(":".join(f'"{_escaped(part)}"' for part in one if part) for one in offers)
        return (f"_arguments '*: :(({lines}))'" if offers else "_files"), 0
    if environment.get("_TYPER_COMPLETE_FISH_ACTION") == "is-args":
        return "", 0 if offers else 1
    return "\n".join("\t".join(filter(None, one)) for one in offers), 0


def complete(before: Sequence[str], incomplete: str, table: Mapping[str, Any]) -> list[Offer]:
    """What may follow the words of a command line, the program's name left out."""
    node, words, name = table, [word for word in before if word != "="], ""
    given: list[str] = []
    while words:
        word = words.pop(0)
        if not word.startswith("-") and word in node.get("commands", {}) and not given:
            node, name = node["commands"][word], word
        elif word not in ("--quiet", "--log-json"):
            given.append(word)
    # Shells differ in where they cut --option=value.
    if incomplete == "=":
        incomplete = ""
    elif incomplete.startswith("-") and "=" in incomplete:
        option, _, incomplete = incomplete.partition("=")
        given.append(option)
    if incomplete.startswith("-") and "--" not in given:
        offers = _options(node, given)
    elif (kind := _open_option(node, given)) is not None:
        offers = _values(kind, name, given)
    elif commands := node.get("commands"):
        offers = [(command, below["help"]) for command, below in commands.items()]
    else:
        kinds = node["arguments"]
        place = min(len(_positional(node, given)), len(kinds) - 1)
        offers = _values(kinds[place], name, given) if kinds else []
    return [(value, about) for value, about in offers if value.startswith(incomplete)]


def _options(node: Mapping[str, Any], given: Sequence[str]) -> list[Offer]:
    """Options that were not given yet, or may be repeated."""
    return [
        (flag, option["help"])
        for option in node["options"]
        if option["repeats"] or not set(option["flags"]).intersection(given)
        for flag in option["flags"]
    ]


def _open_option(node: Mapping[str, Any], given: Sequence[str]) -> str | None:
    """What the option takes whose value comes next; None if none does."""
    for option in node["options"]:
        for back in range(1, min(option["takes"], len(given)) + 1):
            if given[-back] in option["flags"]:
                return str(option["kind"])
    return None


def _positional(node: Mapping[str, Any], given: Sequence[str]) -> list[str]:
    """The words that are no option, and no value of one."""
    takes = {flag: option["takes"] for option in node["options"] for flag in option["flags"]}
    found, skip = [], 0
    for word in given:
        if skip:
            skip -= 1
        elif word.startswith("-"):
            skip = 0 if "=" in word else takes.get(word, 0)
        else:
            found.append(word)
    return found


def _values(kind: str, command: str, given: Sequence[str]) -> list[Offer]:
    """The values of an option or argument; none for what has no list, such as a file."""
    if kind == "recipe":
        return [(name, "") for name in sorted(_recipes())]
    if kind == "scale":
        return [*_SCALES.items()]
    if kind == "stage":
        return [(name, "") for name in _stages(command, given)]
    if kind == "run":
        return [(str(file.parent), "") for file in sorted(Path("runs").glob("*/run.json"))]
    return [(value, "") for value in kind.split("|") if value]


def _recipes() -> dict[str, Path]:
    folders = (_PACKAGE.parent / "recipes", _PACKAGE / "recipes")
    return {file.stem: file for folder in folders for file in folder.glob("*.yaml")}


def _stages(command: str, given: Sequence[str]) -> list[str]:
    """Stages of the recipe that a command line names; of a stage's command those that it runs."""
    known = _recipes()
    named = [word for word in given if word in known or Path(word).suffix in (".yaml", ".yml")]
    queue, found = named[-1:] or [_DEFAULT_RECIPE], dict[str, str]()
    for name in queue:
        try:
            text = known.get(name, Path(name)).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        if (extended := re.search(r"^extends: *(\S+)", text, re.MULTILINE)) and len(queue) < 10:
            queue.append(extended[1])
        section = re.search(r"^stages:\n((?:[ #].*\n|\n)*)", text + "\n", re.MULTILINE)
        for stage in _STAGE.finditer(section[1] if section else ""):
            found.setdefault(stage[1], stage[2])
    if command == "run":
        return list(found)
    return [name for name, text in found.items() if re.search(rf"\brun: *{command}\b", text)]


def _split(line: str) -> list[str]:
    """The words of a line that need not be whole: a quote may be open."""
    lexer = shlex.shlex(line, posix=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    words: list[str] = []
    try:
        words.extend(lexer)
    except ValueError:
        words.append(lexer.token)
    return words


def _escaped(text: str) -> str:
    """A text as typer's script for zsh evaluates it."""
    for character, written in (
        ('"', '""'), ("'", "''"), ("$", "\\$"), ("`", "\\`"), (":", r"\\:"),
    ):  # fmt: skip
        text = text.replace(character, written)
    return text


def print_answer() -> int | None:
    """Answer a shell that asks; returns the exit code, or None if typer is to answer."""
    found = answer(os.environ)
    if found is None:
        return None
    os.write(1, f"{found[0]}\n".encode())
    return found[1]
