"""Recipes: YAML files that name stages, their settings, and what each stage reads.

name: quickstart
about: one sentence
stages:
  split:
    run: split
    settings: {max_level: 3}
  sft:
    run: sft
    reads: {problems: split, model: EleutherAI/llemma_7b}
scales:
  tiny:
    settings: {split: {source: chains}}     # on top of the stage's own
    reads: {sft: {model: other/model}}      # likewise
    ready: {base: some/model}               # a stage that is not run: what stands in for it
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from e2h_cli.common.errors import InputError
from e2h_cli.pipeline.registry import VERBS, Verb
from e2h_cli.settings.base import Settings

Scale = Literal["tiny", "paper"]

M = TypeVar("M", bound=BaseModel)


class _StageEntry(BaseModel):
    model_config = ConfigDict(extra="forbid")
    run: str
    about: str = ""
    reads: dict[str, str | list[str]] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)


class _ScaleEntry(BaseModel):
    model_config = ConfigDict(extra="forbid")
    settings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    reads: dict[str, dict[str, str | list[str]]] = Field(default_factory=dict)
    ready: dict[str, str] = Field(default_factory=dict)


class _RecipeEntry(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    about: str = ""
    seed: int = Field(0, ge=0)
    stages: dict[str, _StageEntry] = Field(min_length=1)
    scales: dict[Scale, _ScaleEntry] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a recipe at one scale: a verb, its checked settings, and what it reads.

    ``reads``: role -> names, each a stage, a path or a Hub name.
    """

    name: str
    verb: Verb
    settings: Settings
    reads: dict[str, tuple[str, ...]]

    def with_changes(
        self, changes: Mapping[str, Any], reads: Mapping[str, tuple[str, ...]], where: str
    ) -> Stage:
        """The stage with other settings and inputs. Raises InputError for a bad value."""
        held = {name: getattr(self.settings, name) for name in type(self.settings).model_fields}
        # Naming what stands there already brings none of its defaults with it.
        new = {name: value for name, value in changes.items() if held.get(name) != value}
        values = {**held, **self.verb.settings.expanded(new), **changes}
        settings = _checked(self.verb.settings, values, where, {}, as_flags=True)
        dropped = {r for role in reads for r in self.verb.roles[role].replaces}
        kept = {role: names for role, names in self.reads.items() if role not in dropped}
        return Stage(self.name, self.verb, settings, {**kept, **reads})


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe at one scale: stages in order, each after the stages that it reads."""

    name: str
    about: str
    scale: Scale
    seed: int
    path: Path
    stages: dict[str, Stage]

    def of_verb(self, verb: str, name: str | None = None) -> Stage:
        """The stage of a subcommand: by name, else that of the verb's name, else the only one.

        Raises:
            InputError: no such stage, or several and none named.
        """
        candidates = {n: s for n, s in self.stages.items() if s.verb.name == verb}
        if name is not None:
            if name not in candidates:
                raise InputError(
                    f"no {verb} stage {name!r}",
                    where=self.path,
                    hint=f"stages: {', '.join(candidates) or 'none of this kind'}",
                )
            return candidates[name]
        if verb in candidates:
            return candidates[verb]
        if len(candidates) != 1:
            raise InputError(
                f"{len(candidates) or 'no'} {verb} stages",
                where=self.path,
                hint="choose one with --stage",
            )
        return next(iter(candidates.values()))


def find(name: str) -> Path:
    """The file of a recipe: a path, or the name of a recipe that comes with e2h."""
    path = Path(name)
    if path.is_file():
        return path
    here = Path(__file__).parents[1]
    # Installed wheels carry the recipes inside the package; a checkout has them beside it.
    folders = [here / "recipes", here.parent / "recipes"]
    for folder in folders:
        for candidate in (folder / path.name, folder / f"{path.name}.yaml"):
            if candidate.is_file():
                return candidate
    known = sorted({f.stem for folder in folders for f in folder.glob("*.yaml")})
    raise InputError(
        "no such recipe", where=name, hint=f"a YAML file, or one of: {', '.join(known)}"
    )


def load(path: Path, scale: Scale, seed: int | None = None) -> Recipe:
    """Read and check a recipe at a scale.

    Raises:
        InputError: one line that names the file, the line and the key.
    """
    try:
        text = path.read_text(encoding="utf-8")
        tree = yaml.compose(text, yaml.SafeLoader)
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise InputError(
            f"not valid YAML ({getattr(error, 'problem', error)})", where=where
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read: {error}", where=path) from error
    if not isinstance(raw, dict):
        raise InputError("not a recipe: no keys", where=path)
    lines = _lines(tree, path)
    entry = _checked(_RecipeEntry, raw, str(path), lines)
    if scale not in entry.scales:
        raise InputError(
            f"has no {scale} scale",
            where=path,
            hint=f"choose --scale {' or '.join(entry.scales) or '?'}",
        )
    return _build(entry, scale, seed, path, lines)


def _build(
    entry: _RecipeEntry,
    scale: Scale,
    seed: int | None,
    path: Path,
    lines: dict[tuple[str, ...], int],
) -> Recipe:
    chosen = entry.scales[scale]
    run_seed = entry.seed if seed is None else seed
    for section in ("settings", "reads", "ready"):
        for key in getattr(chosen, section):
            if key not in entry.stages:
                where = _where(path, lines, ("scales", scale, section, key))
                hint = _did_you_mean(key, entry.stages)
                raise InputError(f"no stage {key!r}", where=where, hint=hint)
    stages: dict[str, Stage] = {}
    for name, stage in entry.stages.items():
        if name in chosen.ready:
            continue
        spot = ("stages", name)
        if stage.run not in VERBS:
            raise InputError(
                f"no command {stage.run!r}",
                where=_where(path, lines, (*spot, "run")),
                hint=_did_you_mean(stage.run, VERBS),
            )
        verb = VERBS[stage.run]
        own = _checked_keys(verb, stage.settings, path, lines, (*spot, "settings"))
        scaled = _checked_keys(
            verb, chosen.settings.get(name, {}), path, lines, ("scales", scale, "settings", name)
        )
        expanded = verb.settings.expanded
        settings = _checked(
            verb.settings,
            {"seed": run_seed, **expanded(own), **expanded(scaled)},
            f"{path}: {name}",
            {},
        )
        reads = {}
        for place, given in (
            ((*spot, "reads"), stage.reads),
            (("scales", scale, "reads", name), chosen.reads.get(name, {})),
        ):
            for role, value in given.items():
                where = _where(path, lines, (*place, role))
                reads[role] = _reads(verb, role, value, chosen.ready, stages, where)
        stages[name] = Stage(name, verb, settings, reads)
    return Recipe(entry.name, entry.about, scale, run_seed, path, stages)


def _reads(
    verb: Verb,
    role: str,
    value: str | list[str],
    ready: Mapping[str, str],
    earlier: Mapping[str, Stage],
    where: str,
) -> tuple[str, ...]:
    if role not in verb.roles:
        raise InputError(
            f"{verb.name} reads no {role!r}", where=where, hint=_did_you_mean(role, verb.roles)
        )
    names = tuple(ready.get(v, v) for v in ([value] if isinstance(value, str) else value))
    if len(names) > 1 and not verb.roles[role].many:
        raise InputError(f"{role} takes one input", where=where)
    for name in names:
        if name in earlier and earlier[name].verb.name not in verb.roles[role].verbs:
            raise InputError(
                f"{role} cannot be the {earlier[name].verb.name} stage {name!r}", where=where
            )
    return names


def _checked_keys(
    verb: Verb,
    values: Mapping[str, Any],
    path: Path,
    lines: dict[tuple[str, ...], int],
    spot: tuple[str, ...],
) -> Mapping[str, Any]:
    _checked(
        verb.settings,
        values,
        str(path),
        {k[len(spot) :]: n for k, n in lines.items() if k[: len(spot)] == spot},
    )
    return values


def _checked(
    kind: type[M],
    values: Mapping[str, Any],
    where: str,
    lines: dict[tuple[str, ...], int],
    *,
    as_flags: bool = False,
) -> M:
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        key = tuple(str(part) for part in first["loc"])
        spot = _where(where, lines, key)
        dotted = ".".join(key)
        if first["type"] == "extra_forbidden":
            known = _fields_at(kind, key[:-1])
            raise InputError(
                f"unknown key {dotted!r}", where=spot, hint=_did_you_mean(key[-1], known)
            ) from error
        message = first["msg"].removeprefix("Value error, ")
        given = f" (given: {first['input']!r})" if first["type"] != "missing" else ""
        named = flag_of(key[0]) if as_flags else dotted
        raise InputError(f"{named}: {message}{given}", where=spot) from error


def flag_of(setting: str) -> str:
    """The command-line option of a setting."""
    return f"--{setting.replace('_', '-')}"


def _fields_at(kind: type[BaseModel], key: tuple[str, ...]) -> Iterable[str]:
    nested: dict[str, type[BaseModel]] = {"stages": _StageEntry, "scales": _ScaleEntry}
    return (nested.get(key[0], kind) if key else kind).model_fields


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


def _where(path: Path | str, lines: Mapping[tuple[str, ...], int], key: tuple[str, ...]) -> str:
    """``file:line`` of a key, or of the nearest key around it."""
    while key:
        if key in lines:
            return f"{path}:{lines[key]}"
        key = key[:-1]
    return str(path)


def _lines(
    node: yaml.Node | None, path: Path, prefix: tuple[str, ...] = ()
) -> dict[tuple[str, ...], int]:
    """Line of every key, from 1. A key that stands twice is refused: YAML would drop the first."""
    found: dict[tuple[str, ...], int] = {}
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            key = (*prefix, str(key_node.value))
            line = key_node.start_mark.line + 1
            if key in found:
                raise InputError(f"key {'.'.join(key)!r} stands twice", where=f"{path}:{line}")
            found[key] = line
            found.update(_lines(value_node, path, key))
    return found
