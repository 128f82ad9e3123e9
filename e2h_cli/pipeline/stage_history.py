"""How a stage was made, from the records of all stages behind it: a table, and command lines."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from e2h_cli.pipeline.checked_yaml import flag_of
from e2h_cli.pipeline.lineage import Lineage
from e2h_cli.pipeline.recipe_file import packaged
from e2h_cli.pipeline.registry import COMMANDS
from e2h_cli.pipeline.run_folder import RunFolder, StageFolder


def stage_table(lineage: Lineage) -> str:
    """The stages in their order, with inputs and settings that are not the defaults."""
    rows = []
    for path in lineage.stages:
        record = StageFolder(path).record
        if not record:
            continue
        inputs = ", ".join(
            f"{name}: {shown(given['path'])}"
            for name, many in record["inputs"].items()
            for given in many
        )
        settings = ", ".join(f"{k} = {shown(v)}" for k, v in _changed(record).items())
        rows.append(f"| {path.name} | {record['command']} | {inputs} | {_cell(settings)} |")
    return (
        "## How it was made\n\nThe stages, the first one first, with the settings that differ "
        "from the defaults of `e2h`.\n\n| stage | command | inputs | settings |\n"
        "| --- | --- | --- | --- |\n" + "\n".join(rows)
    )


def commands(stage: Path, lineage: Lineage) -> str:
    """Command lines that make the stage anew: one, or of each stage where one was changed."""
    about, record = RunFolder(stage.parent).about, StageFolder(stage).record
    recipe = str(record.get("recipe", ""))
    scale, seed = f"--scale {about.get('scale', 'own')}", f" --seed {about.get('seed', 0)}"
    note = ""
    if recipe not in packaged() or not record.get("packaged", True):
        note = f"\n\n`{recipe}.yaml` is a recipe of the user's own; the table has its content."
        recipe = f"{recipe}.yaml"
    records = [StageFolder(path).record for path in lineage.stages]
    if not any(one.get("overrides") for one in records):
        lines = [f"e2h run {recipe} {scale}{seed} --until {stage.name}"]
    else:
        lines = [
            " ".join([f"e2h {one['command']}", f"--stage {one['stage']} --recipe {recipe}",
                      scale + ("" if "seed" in one["overrides"] else seed), *_flags(one)])
            for one in records if one
        ]  # fmt: skip
    return "## To reproduce it\n\n```\n" + "\n".join(lines) + f"\n```{note}"


def shown(value: Any) -> str:
    """A value in the card. Of a path only the name: folders are of the machine that made it."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={shown(one)}" for key, one in value.items())
    if isinstance(value, list):
        return ", ".join(map(shown, value))
    text = str(value)
    return Path(text).name if Path(text).is_absolute() else text


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", "\\n")


def _changed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a record that are not the defaults of its command."""
    given = record["settings"]
    kind = COMMANDS[record["command"]].settings.variant_for(given)
    defaults = kind.model_validate({}).model_dump(mode="json")
    return {key: value for key, value in given.items() if defaults.get(key) != value}


def _flags(record: Mapping[str, Any]) -> list[str]:
    """What a command line changed in the recipe, as options."""
    kind = COMMANDS[record["command"]].settings.variant_for(record["settings"])
    flags: list[str] = []
    for name in record.get("overrides", []):
        flag, value = flag_of(name), record["settings"].get(name)
        if isinstance(value, bool):
            flags.append(flag if value else f"--no-{flag[2:]}")
            continue
        values = [value]
        if name in record["inputs"]:
            values = [given["path"] for given in record["inputs"][name]]
        elif isinstance(value, Mapping):
            values = [f"{key}={one}" for key, one in value.items()]
        elif isinstance(value, list):
            # A list that is empty by default is an option that may be repeated.
            repeated = kind.model_fields[name].default == []
            values = value if repeated else [",".join(map(str, value))]
        flags += [f"{flag} {shlex.quote(shown(one))}" for one in values if one is not None]
    return flags
