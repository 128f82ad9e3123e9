"""Mistakes of users and disks, drawn at random: in recipes, run folders and command lines.

Each function changes one thing and says what it did, so that a case is known by its seed.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

VALUES = (
    "-1", "0", "1e400", "-1e9", ".nan", ".inf", "9" * 400, "1" * 5000, "true", "null", "''",
    "[]",
    "{}", "[1, [2]]", "2026-99-99", "2026-11-24", "!!int abc", "!!python/none x", "!!binary aGVs",
    '"a\\0b"', '"\\e[31mx"', "../../x", "/etc/passwd", "x" * 300,
    "\u202e\u0661\u0662", "'\U0001f4a9'",
    "*nowhere", "&a [*a]", "[" * 3000, "0x1F", "1_000", "3.7", "paper", "split", "none", "easy",
    "exact", "rl", "~", "&a [&b [x, x, x, x], *b, *b, *b]",
)  # fmt: skip


NUMBERS = ("-1", "0", "1", "2", "3", "7", "30", "0.5", "1.5", "1e-300", "1e300", "-0.0", "1e3")


def edited_recipe(text: str, rng: random.Random) -> tuple[str, str]:
    """A recipe with one mistake in it, and what it is."""
    lines = text.splitlines(keepends=True)
    at = rng.randrange(len(lines))
    kind = rng.choice(
        ("delete line", "delete key", "rename key", "value", "value", "number", "stage", "swap",
         "repeat", "indent", "byte", "truncate", "bomb", "control", "path")
    )  # fmt: skip
    keys = list(re.finditer(r"[\w-]+(?=: )", text))
    values = list(re.finditer(r"(?<=: )[^\s{}\[\],:]+(?=[,}\s])", text))
    key, value, other = rng.choice(keys), *rng.sample(values, 2)
    if kind == "delete line":
        return "".join(lines[:at] + lines[at + 1 :]), f"{kind} {at + 1}"
    if kind == "delete key":
        return text[: key.start()] + text[key.end() + 2 :], f"{kind} {key[0]}"
    if kind == "rename key":
        new = rng.choice((key[0][:-1], key[0].upper(), key[0] + "s", "x" * 300, "..", "\u00e9"))
        return text[: key.start()] + new + text[key.end() :], f"{kind} {key[0]} to {new[:20]}"
    if kind == "value":
        new = rng.choice(VALUES)
        named = f"{value[0]} to {new[:20]!r} at {value.start()}"
        return text[: value.start()] + new + text[value.end() :], f"{kind} {named}"
    if kind in ("number", "stage"):
        stages = re.findall(r"(?<=\n  )[\w-]+(?=:)", text)
        pattern = r"[\d.e-]+" if kind == "number" else "|".join(stages)
        value = rng.choice([one for one in values if re.fullmatch(pattern, one[0])] or values)
        new = rng.choice(stages if kind == "stage" else NUMBERS)
        named = f"{value[0]} to {new} at {value.start()}"
        return text[: value.start()] + new + text[value.end() :], f"{kind} {named}"
    if kind == "swap":
        (a, b) = sorted((value, other), key=lambda found: found.start())
        middle = text[a.end() : b.start()]
        return text[: a.start()] + b[0] + middle + a[0] + text[b.end() :], f"{kind} {a[0]} {b[0]}"
    if kind == "repeat":
        return "".join(lines[: at + 1] + lines[at:]), f"{kind} line {at + 1}"
    if kind == "indent":
        lines[at] = rng.choice((" ", "\t", "   ")) + lines[at]
        return "".join(lines), f"{kind} line {at + 1}"
    if kind == "byte":
        where = rng.randrange(len(text))
        return text[:where] + chr(ord(text[where]) ^ 1 << rng.randrange(7)) + text[
            where + 1 :
        ], kind
    if kind == "truncate":
        where = rng.randrange(len(text))
        return text[:where], f"{kind} at {where}"
    if kind == "bomb":
        bomb = "a0: &a0 [x, x, x, x]\n" + "".join(
            f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
        )
        return text + bomb, kind
    new = rng.choice(("\x00", "\x1b]0;x\x07", "\ufeff", "\u2028", "\x85", "%YAML 9.9", "--- \n"))
    if kind == "path":
        new = rng.choice(("../x", "/", ".", "C:\\x", "~/x", "a/../../b", "-", "x\ny"))
        return text[: value.start()] + json.dumps(new) + text[value.end() :], f"{kind} {new!r}"
    return text[: value.start()] + new + text[value.start() :], f"{kind} {new!r}"


def damaged_folder(run: Path, outside: Path, rng: random.Random) -> str:
    """Damage one file of a run folder. ``outside``: a file elsewhere, for links."""
    files = sorted(f for f in run.rglob("*") if f.is_file() and not f.name.startswith(".lock"))
    file, other = rng.sample(files, 2)
    kind = rng.choice(
        ("truncate", "flip", "flip", "flip", "flip", "remove", "swap", "link", "folder", "fifo",
         "empty", "null", "list", "append", "lock", "digit")
    )  # fmt: skip
    data = file.read_bytes()
    named = f"{kind} {file.relative_to(run)}"
    if kind == "truncate":
        file.write_bytes(data[: rng.randrange(len(data) or 1)])
    elif kind == "flip" and data:
        where = rng.randrange(len(data))
        bit = 1 << rng.randrange(8)
        file.write_bytes(data[:where] + bytes([data[where] ^ bit]) + data[where + 1 :])
        named += f" at {where}"
    elif kind == "digit" and (digits := [m.start() for m in re.finditer(rb"\d", data)]):
        where = rng.choice(digits)
        new = b"%d" % ((data[where] - 48 + rng.randrange(1, 10)) % 10)
        file.write_bytes(data[:where] + new + data[where + 1 :])
        named += f" at {where}"
    elif kind == "swap":
        theirs = other.read_bytes()
        other.write_bytes(data)
        file.write_bytes(theirs)
        named += f" {other.relative_to(run)}"
    elif kind == "lock":
        file = file.parent / ".lock"
        file.unlink(missing_ok=True)
        file.symlink_to(outside)
    elif kind == "append":
        file.write_bytes(data + rng.choice((b"\x00", b"{}\n", b"{", b"\xff\n", data)))
    elif kind in ("remove", "link", "folder", "fifo"):
        file.unlink()
        if kind == "link":
            file.symlink_to(outside)
        elif kind == "folder":
            file.mkdir()
        elif kind == "fifo":
            os.mkfifo(file)
    else:
        file.write_bytes({"null": b"null", "list": b"[]"}.get(kind, b""))
    return named


ARGUMENTS = (
    "", "-1", "0", "nan", "inf", "1e999", "9" * 30, "1" * 5000, "x", "x" * 300, "a\0b", "\x1b[31mx",
    "\udcff", "\u0663", "true", "none", "null", "1,,2", ",", "[1", "{", "--", "-", "--help", "-x",
    ".", "..", "/dev/null", "/proc/nowhere", "~", "*", "folder", "file", "fifo", "run", "run/split",
    "run/sample", "run/train-rm", "run/results.json", "split", "sample", "exact", "easy", "1/2",
    "2/1", "foo=[1", "foo=bar", "3", "0.5", "max", "all", "pairs.jsonl",
)  # fmt: skip


def garbled_arguments(command: Sequence[str], rng: random.Random) -> list[str]:
    """A command line with one or two mistakes."""
    words = list(command)
    for _ in range(rng.choice((1, 1, 2))):
        if words:
            _garble(words, rng)
    return words


def _garble(words: list[str], rng: random.Random) -> None:
    at = rng.randrange(len(words))
    values = [i + 1 for i, word in enumerate(words[:-1]) if word.startswith("--")] or [at]
    new = rng.choice(ARGUMENTS)
    changes: list[Callable[[], object]] = [
        lambda: words.pop(at),
        lambda: words.insert(at, words[at]),
        lambda: words.__setitem__(at, new),
        lambda: words.insert(at + 1, new),
        lambda: words.__setitem__(at, words[at][:-1] + rng.choice("x\u00e9-=")),
        lambda: words.__setitem__(at, f"{words[at]}={new}"),
        lambda: rng.shuffle(words),
        *[lambda: words.__setitem__(rng.choice(values), new)] * 8,
    ]
    rng.choice(changes)()


def sentinels(folder: Path) -> dict[str, str]:
    """Content and kind of all that lies in a folder, to tell whether anything was changed."""
    return {
        str(path.relative_to(folder)): f"-> {path.readlink()}" if path.is_symlink()
        else repr(path.read_bytes()) if path.is_file() else "folder" if path.is_dir() else "other"
        for path in sorted(folder.rglob("*"))
    }  # fmt: skip


def fresh(folder: Path) -> Path:
    """An empty folder in place of what was there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
