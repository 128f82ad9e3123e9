"""The model of one iteration of ReST-EM or DPO as an input: ``dpo-easy/iteration-2``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from e2h_cli.common.console import console
from e2h_cli.common.errors import InputError
from e2h_cli.common.files import path_exists
from e2h_cli.pipeline.checked_yaml import did_you_mean
from e2h_cli.pipeline.run_folder import ResolvedInput, StageFolder
from e2h_cli.settings.rl import IteratedSettings

if TYPE_CHECKING:
    from e2h_cli.pipeline.recipe_stage import Stage

_ITERATION = re.compile(r"(.+)/iteration-(0|[1-9][0-9]{0,8})")


def stage_of(given: str) -> str:
    """The stage that an input names, alone or with an iteration; other names as they are."""
    found = _ITERATION.fullmatch(given)
    return found[1] if found else given


def with_substitute(given: str, substitutes: Mapping[str, str]) -> str:
    """An input with what stands for its stage, if there is something."""
    stage = stage_of(given)
    return substitutes.get(stage, stage) + given.removeprefix(stage)


def check_iteration(given: str, stages: Mapping[str, Stage], where: str = "") -> None:
    """Raise InputError for an iteration that no stage has.

    Args:
        given: an input, which need not be an iteration.
        stages: of the recipe.
        where: the input stands.
    """
    name, _, rest = given.partition("/")
    found = _ITERATION.fullmatch(given)
    there = path_exists(Path(given))
    if name not in stages:
        hint = did_you_mean(name, stages)
        if found and found[1] == name and hint.startswith("did you mean") and not there:
            raise InputError(f"{given}: no stage {name!r}", where=where, hint=hint)
        return
    settings = stages[name].settings
    last = settings.iterations if isinstance(settings, IteratedSettings) else 0
    if found and not last:
        hint = "stages of algo rest-em and dpo have"
        raise InputError(f"{given}: {name} has no iterations", where=where, hint=hint)
    asked = int(found[2]) if found else 0
    # A path may begin as a stage is called.
    if (found or (last and rest and not there)) and not 1 <= asked <= last:
        hint = f"take iteration-1{f' to iteration-{last}' * (last > 1)}"
        raise InputError(f"{given}: no iteration of {name}", where=where, hint=hint)


def resolve_iteration(given: str, folder: StageFolder) -> ResolvedInput:
    """An input that is a finished stage or one of its iterations.

    After the end of training the model does not change: the last iteration stands for later ones.

    Raises:
        InputError: the stage was made without that iteration.
    """
    found = _ITERATION.fullmatch(given)
    if not found:
        return ResolvedInput(given, folder.fingerprint)
    record, name, number = folder.record, found[1], int(found[2])
    last = record.get("counts", {}).get("iterations", 0)
    if not last or number > record["settings"].get("iterations", 0):
        raise InputError(f"{name} was made without iteration {number}", where=folder.path)
    if number > last:
        console.print(f"{escape(given)}: training ended after iteration {last}, which is used")
        number = last
    ending = f"/iteration-{number}"
    return ResolvedInput(name + ending, folder.fingerprint + ending)


def made_by(path: Path) -> tuple[StageFolder, str]:
    """The stage behind a path, and the end of the input's fingerprint after that of the stage.

    It is the folder itself, or for an iteration the folder around it.
    """
    if _ITERATION.fullmatch(str(path)):
        around = StageFolder(path.parent)
        if around.record.get("command") == "rl":
            return around, f"/{path.name}"
    return StageFolder(path), ""
