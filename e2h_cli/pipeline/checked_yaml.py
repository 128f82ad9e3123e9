"""YAML with line numbers, and validation errors that name file, line and key."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from e2h_cli.common.errors import InputError

M = TypeVar("M", bound=BaseModel)

Key = tuple[str, ...]
# ``file:line`` of every key.
Places = Mapping[Key, str]

# Bounds on a recipe, so that a hostile file costs nothing.
_MAX_BYTES = 2**20
MAX_NODES = 100_000


def load_yaml(path: Path) -> tuple[dict[str, Any], dict[Key, str]]:
    """The mapping in a YAML file, and ``file:line`` of every key in it.

    Raises:
        InputError: not readable, not YAML, not a mapping, or a key that stands twice.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise InputError(f"cannot read: {error}", where=path) from error
    values, places = _loaded(path, found.st_mtime_ns, found.st_size, found.st_ino)
    return copy.deepcopy(values), dict(places)


# Dozens of recipes extend one, and reading that takes a third of a second.
@lru_cache(maxsize=64)
def _loaded(path: Path, *_: int) -> tuple[dict[str, Any], dict[Key, str]]:
    """What ``load_yaml`` returns; the numbers tell another content of the file."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"larger than {_MAX_BYTES:,} bytes", where=path)
        text = path.read_text(encoding="utf-8")
        loader = yaml.SafeLoader(text)
        tree = loader.get_single_node()
        if tree is not None and _expanded_size(tree, {}) > MAX_NODES:
            raise InputError(f"more than {MAX_NODES:,} values with its aliases", where=path)
        # Before the values are made, which merges the keys of << into a mapping: its own win.
        places = _key_places(tree, path)
        values = None if tree is None else loader.construct_document(tree)
    except RecursionError as error:
        raise InputError("nested too deeply, or an anchor inside itself", where=path) from error
    except (ValueError, ArithmeticError) as error:
        # Numbers that are too long, tags such as !!int on a text, dates that do not exist.
        raise InputError(f"not valid YAML ({error})", where=path) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise InputError(
            f"not valid YAML ({getattr(error, 'problem', error)})", where=where
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read: {error}", where=path) from error
    if not isinstance(values, dict):
        raise InputError("not a recipe: no keys", where=path)
    _refuse_other_types(values, str(path))
    return values, places


def _expanded_size(node: yaml.Node, sizes: dict[int, int]) -> int:
    """Number of values with every alias written out. Raises RecursionError for a cycle."""
    if id(node) not in sizes:
        children = node.value if isinstance(node, yaml.CollectionNode) else []
        flat = [one for child in children for one in (child if type(child) is tuple else (child,))]
        sizes[id(node)] = 1 + sum(_expanded_size(child, sizes) for child in flat)
    return sizes[id(node)]


def _refuse_other_types(value: Any, where: str) -> None:
    """Raise InputError for dates, bytes, sets: recipes hold texts, numbers, lists and mappings."""
    if isinstance(value, dict):
        for key, one in value.items():
            if not isinstance(key, str):
                raise InputError(f"key {key!r} is not a text", where=where, hint="quote it")
            _refuse_other_types(one, where)
    elif isinstance(value, list):
        for one in value:
            _refuse_other_types(one, where)
    elif not isinstance(value, (str, int, float, bool, type(None))):
        kind = type(value).__name__
        raise InputError(f"{value!r} is a {kind}", where=where, hint="quote it to make it a text")


def _key_places(node: yaml.Node | None, path: Path, prefix: Key = ()) -> dict[Key, str]:
    """Place of every key. A key that stands twice is refused: YAML would drop the first."""
    found: dict[Key, str] = {}
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            key = (*prefix, str(key_node.value))
            place = f"{path}:{key_node.start_mark.line + 1}"
            if key in found:
                raise InputError(f"key {'.'.join(key)!r} stands twice", where=place)
            found[key] = place
            found.update(_key_places(value_node, path, key))
    return found


def location(path: Path | str, places: Places, key: Key) -> str:
    """``file:line`` of a key, or of the nearest key around it."""
    while key:
        if key in places:
            return places[key]
        key = key[:-1]
    return str(path)


def validate(
    model: type[M],
    values: Mapping[str, Any],
    where: str,
    places: Places,
    *,
    prefix: Key = (),
    as_flags: bool = False,
    nested: Mapping[str, type[BaseModel]] | None = None,
) -> M:
    """Check values against a pydantic model.

    Args:
        model: what the values must be.
        values: by key.
        where: file or command line, for the message.
        places: of the keys.
        prefix: the key in ``places`` under which the values stand.
        as_flags: whether messages name command-line options instead of keys.
        nested: models of mappings under a key, for suggestions.

    Raises:
        InputError: the first mistake, in one line.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        key = tuple(str(part) for part in first["loc"])
        where = location(where, places, (*prefix, *key))
        dotted = ".".join(key)
        if first["type"] == "extra_forbidden":
            around = (nested or {}).get(key[0], model) if key[:-1] else model
            raise InputError(
                f"unknown key {dotted!r}",
                where=where,
                hint=did_you_mean(key[-1], around.model_fields),
            ) from error
        message = first["msg"].removeprefix("Value error, ")
        given = f" (given: {first['input']!r})" if first["type"] != "missing" else ""
        named = flag_of(key[0]) if as_flags and key else dotted
        raise InputError(f"{named}: {message}{given}", where=where) from error


def flag_of(setting: str) -> str:
    """The command-line option of a setting or input."""
    return f"--{setting.replace('_', '-')}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint with the nearest known word, or all of them."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
