"""Recipe files: found, read, put on top of the recipe that they extend, and checked.

docs/recipes.md has an example of every key. Keys that make other keys (``extends``, ``repeat``) are
gone when a file has been read; ``e2h_cli.pipeline.recipe`` sees one recipe.
"""

from __future__ import annotations

import fnmatch
import itertools
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from e2h_cli.common.errors import InputError
from e2h_cli.common.files import path_exists
from e2h_cli.pipeline.checked_yaml import (
    MAX_NODES,
    Key,
    did_you_mean,
    load_yaml,
    location,
    validate,
)
from e2h_cli.pipeline.run_folder import STAGE_NAME, STAGE_NAME_RULE
from e2h_cli.reports.spec import ReportSpec

# "own" takes no settings of a scale: the defaults of the commands, for the user's models and data.
Scale = Literal["tiny", "small", "paper", "own"]


def scale_in_words(scale: Scale) -> str:
    """What stands in everything that is printed: ``tiny scale``, ``paper scale``, ``own data``."""
    return "own data" if scale == "own" else f"{scale} scale"


# Up to this depth mappings of a recipe are merged key by key with those of the recipe that it
# extends. Below are values of settings, which replace the other's.
_MERGED_DEPTH = {"stages": 3, "defaults": 2, "scales": 4}
# Sections of a scale whose keys are stages.
_BY_STAGE = {"settings", "inputs", "substitutes", "tags"}
# Not inherited.
_OWN_KEYS = ("name", "about", "show", "extends", "report")
RECIPE_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
_MAX_CHAIN = 10
_MAX_STAGES = 1000
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")


class StageEntry(_Entry):
    """A stage as it is written; ``run`` may stand in the recipe that is extended."""

    run: str = ""
    about: str = ""
    inputs: dict[str, str | list[str]] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
    tags: dict[str, str] = Field(default_factory=dict)
    repeat: dict[str, Annotated[list[str | int | float], Field(min_length=1)]] | None = None


class ScaleEntry(_Entry):
    """What a scale changes: by command (``defaults``), or by stage."""

    defaults: dict[str, dict[str, Any]] = Field(default_factory=dict)
    settings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    inputs: dict[str, dict[str, str | list[str]]] = Field(default_factory=dict)
    substitutes: dict[str, str] = Field(default_factory=dict)
    tags: dict[str, dict[str, str]] = Field(default_factory=dict)


class RecipeEntry(_Entry):
    """A recipe as it is written."""

    name: str = Field(pattern=f"^{RECIPE_NAME}$", max_length=100)
    about: str = ""
    extends: str | None = None
    show: list[str] | None = Field(None, min_length=1)
    report: ReportSpec | None = None
    seed: int = Field(0, ge=0)
    defaults: dict[str, dict[str, Any]] = Field(default_factory=dict)
    stages: dict[str, StageEntry] = Field(default_factory=dict)
    scales: dict[Scale, ScaleEntry] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecipeFile:
    """A recipe with all that it extends.

    Attributes:
        path: of the file itself.
        entry: its content on top of the recipes that it extends.
        places: ``file:line`` of every key, in the file where it stands.
        experiment: name of the recipe at the end of the chain, which names the run folder.
        experiment_seed: its seed, which stands in no name of a folder.
    """

    path: Path
    entry: RecipeEntry
    places: dict[Key, str]
    experiment: str
    experiment_seed: int

    def place(self, *key: str) -> str:
        """``file:line`` of a key, or of the nearest key around it."""
        return location(self.path, self.places, key)


def packaged() -> dict[str, Path]:
    """The recipes that come with e2h, by name."""
    package = Path(__file__).parents[1]
    # Installed wheels carry the recipes inside the package; a checkout has them beside it.
    folders = (package.parent / "recipes", package / "recipes")
    found = {file.stem: file for folder in folders for file in folder.glob("*.yaml")}
    return dict(sorted(found.items()))


def comes_with_e2h(name: str, file: Path) -> bool:
    """Whether a file is the recipe of this name that comes with e2h, not a copy of the user's."""
    known = packaged().get(name)
    return known is not None and file.exists() and known.samefile(file)


def find(name: str) -> Path:
    """The file of a recipe: a path, or the name of a recipe that comes with e2h."""
    path = Path(name)
    if path_exists(path) and path.is_file():
        return path
    known = packaged()
    found = known.get(path.name) or known.get(path.name.removesuffix(".yaml"))
    if found is None:
        hint = f"a YAML file, or one of: {', '.join(known)}"
        raise InputError("no such recipe", where=name, hint=hint)
    return found


def read(path: Path) -> RecipeFile:
    """Read a recipe and those that it extends.

    Raises:
        InputError: the first mistake in one line: the file and line where it stands, and the key.
    """
    chain = _chain(path)
    values: dict[str, Any] = {}
    places: dict[Key, str] = {}
    for own, own_places in reversed(chain):
        below = values.get("stages", {})
        values = _merged({k: v for k, v in values.items() if k not in _OWN_KEYS}, own)
        places = {k: v for k, v in places.items() if k[0] not in _OWN_KEYS} | own_places
        for name in own.get("stages", {}):
            if "run" not in values["stages"][name]:
                where = location(path, places, ("stages", name))
                hint = did_you_mean(name, below) if below else "as run: sample"
                raise InputError(f"stages.{name} has no key 'run'", where=where, hint=hint)
    values = _without_patterns(values, places)
    entry = validate(RecipeEntry, values, str(path), places)
    if not 0 < len(entry.stages) <= _MAX_STAGES:
        raise InputError(f"has {len(entry.stages)} stages, not 1 to {_MAX_STAGES}", where=path)
    root, _ = chain[-1]
    file = RecipeFile(path, entry, places, root["name"], root.get("seed", 0))
    for name in entry.show or ():
        if name not in entry.stages:
            hint = did_you_mean(name, entry.stages)
            raise InputError(f"no stage {name!r}", where=file.place("show"), hint=hint)
    return file


def _chain(path: Path) -> list[tuple[dict[str, Any], dict[Key, str]]]:
    """Values and places of a file, of the recipe that it extends, and so on."""
    chain: list[tuple[dict[str, Any], dict[Key, str]]] = []
    files = [path]
    while True:
        values, places = load_yaml(files[-1])
        nested: dict[str, type[BaseModel]] = {
            "stages": StageEntry,
            "scales": ScaleEntry,
            "report": ReportSpec,
        }
        entry = validate(RecipeEntry, values, str(files[-1]), places, nested=nested)
        chain.append((_repeated(values, places, entry, str(files[-1])), places))
        if entry.extends is None:
            return chain
        where = location(files[-1], places, ("extends",))
        parent = _extended(files[-1], entry.extends, where)
        circle = any(parent.samefile(file) for file in files)
        files.append(parent)
        if circle or len(files) > _MAX_CHAIN:
            names = " -> ".join(file.name for file in files)
            what = "recipes extend each other in a circle" if circle else "too many recipes"
            raise InputError(f"{what}: {names}", where=where)


def _extended(file: Path, name: str, where: str) -> Path:
    """The file that ``extends`` names: a path from the folder of the file, or a recipe of e2h."""
    if "/" not in name and not name.endswith((".yaml", ".yml")):
        if name not in packaged():
            hint = f"{did_you_mean(name, packaged())}; a file beside is named with its .yaml"
            raise InputError(f"extends: no recipe {name!r} comes with e2h", where=where, hint=hint)
        return packaged()[name]
    path = file.parent / name
    if not (path_exists(path) and path.is_file()):
        hint = "give a path from the folder of this recipe"
        raise InputError(f"extends: no file {name}", where=where, hint=hint)
    return path


def _merged(base: Mapping[str, Any], own: Mapping[str, Any], key: Key = ()) -> dict[str, Any]:
    """``base`` with the values of ``own`` on top, key by key."""
    merged = dict(base)
    for name, value in own.items():
        here = (*key, name)
        if (
            isinstance(value, dict)
            and isinstance(base.get(name), dict)
            and len(here) <= _MERGED_DEPTH.get(here[0], 0)
        ):
            value = _merged(base[name], value, here)
        merged[name] = value
    return merged


def _without_patterns(values: dict[str, Any], places: dict[Key, str]) -> dict[str, Any]:
    """Values whose scales name stages instead of patterns such as ``sft-*-large``.

    What stands under a stage's own name wins over a pattern, and a later pattern over an earlier
    one. A pattern of no stage stays, and is refused as an unknown stage. ``places`` gets the keys.
    """
    scales = {}
    inside = _by_prefix(places, 4)
    for scale, entry in values.get("scales", {}).items():
        scales[scale] = dict(entry)
        for section in entry.keys() & _BY_STAGE:
            found = {key: fnmatch.filter(values["stages"], key) for key in entry[section]}
            merged: dict[str, Any] = {}
            for key in sorted(found, key=lambda key: "*" not in key):
                value, at = entry[section][key], ("scales", scale, section, key)
                below = inside.get(at, {})
                for name in found[key] or [key]:
                    both = isinstance(value, dict) and name in merged
                    merged[name] = {**merged[name], **value} if both else value
                    places.update({(*at[:3], name, *k): place for k, place in below.items()})
            scales[scale][section] = merged
    return {**values, "scales": scales}


def _repeated(
    values: dict[str, Any], places: dict[Key, str], entry: RecipeEntry, path: str
) -> dict[str, Any]:
    """Values with one stage for each combination of the lists under ``repeat``.

    ``places`` gets the keys of the new stages.
    """
    stages: dict[str, Any] = {}
    inside = _by_prefix(places, 2)
    for template, stage in values.get("stages", {}).items():
        where = location(path, places, ("stages", template))
        repeat = entry.stages[template].repeat or {}
        if math.prod(map(len, repeat.values())) * _size(stage) > MAX_NODES:
            raise InputError(f"more than {MAX_NODES:,} values", where=where)
        below = inside.get(("stages", template), {})
        for chosen in itertools.product(*repeat.values()):
            filled = dict(zip(repeat, map(str, chosen), strict=True))
            name = template
            if repeat:
                name = _filled(template, filled, where)
                stage = {
                    part: _filled(value, filled, where, strict=part not in ("settings", "about"))
                    for part, value in values["stages"][template].items()
                    if part != "repeat"
                }
            if name in stages:
                keys = ", ".join(f"{{{key}}}" for key in repeat)
                hint = f"put {keys} into the name" if keys else "take another name"
                raise InputError(f"stage {name!r} stands twice", where=where, hint=hint)
            if not STAGE_NAME.fullmatch(name):
                what = f"stages.{name}: no name of a stage"
                raise InputError(what, where=where, hint=STAGE_NAME_RULE)
            stages[name] = stage
            places.update({("stages", name, *key): place for key, place in below.items()})
    return {**values, "stages": stages}


def _by_prefix(places: Mapping[Key, str], length: int) -> dict[Key, dict[Key, str]]:
    """The rest of each key, and its place, by the first ``length`` parts of the key."""
    found: dict[Key, dict[Key, str]] = {}
    for key, place in places.items():
        if len(key) >= length:
            found.setdefault(key[:length], {})[key[length:]] = place
    return found


def _filled(value: Any, chosen: Mapping[str, str], where: str, *, strict: bool = True) -> Any:
    """A value of a stage with its placeholders filled in; ``strict`` refuses other braces."""
    if isinstance(value, dict):
        return {k: _filled(v, chosen, where, strict=strict) for k, v in value.items()}
    if isinstance(value, list):
        return [_filled(one, chosen, where, strict=strict) for one in value]
    if not isinstance(value, str):
        return value
    for name in _PLACEHOLDER.findall(value) if strict else ():
        if name not in chosen:
            raise InputError(f"no {name!r} in repeat", where=where, hint=did_you_mean(name, chosen))
    return _PLACEHOLDER.sub(lambda found: chosen.get(found[1], found[0]), value)


def _size(value: Any) -> int:
    """Number of values in a value."""
    inner: Collection[Any] = ()
    if isinstance(value, (dict, list)):
        inner = value.values() if isinstance(value, dict) else value
    return 1 + sum(map(_size, inner))
