"""Which recipe, scale and run folder a command line works with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from e2h_cli.common.errors import InputError

if TYPE_CHECKING:
    from e2h_cli.pipeline.recipe import Recipe
    from e2h_cli.pipeline.run_folder import RunFolder

# Value of an option that removes an optional input of the recipe.
NOTHING = "none"
# Inputs and settings that name problems of the user's own.
_PROBLEMS = ("imported", "data", "problems")
# Where run folders are.
RUNS = Path("runs")
# Bytes of memory of a GPU that takes the paper's models.
_SMALL_GPU = 40e9
# Values of --source that read what the run made itself.
_NOT_FROM_OUTSIDE = ("chains", "programs", "samples", "rollouts")


def open_run(
    recipe_name: str,
    scale: str | None,
    run_dir: Path | None,
    seed: int | None,
    *,
    inputs: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> tuple[Recipe, RunFolder]:
    """The recipe at a scale, and the run folder.

    Without ``scale`` it is "own" where the recipe has no other or the command line names problems;
    else that of ``run_dir``; else that of the recipe's run folder that was used last; else "own"
    where the command line names other inputs; else "tiny" without a GPU, "small" with one under
    40 GB and "paper" with a larger.

    Args:
        inputs: those of the command line.
        settings: those of the command line.
    """
    from e2h_cli.pipeline.iteration import stage_of
    from e2h_cli.pipeline.recipe import at_scale
    from e2h_cli.pipeline.recipe_file import Scale, find, read
    from e2h_cli.pipeline.run_folder import RunFolder

    known = get_args(Scale)
    if scale is not None and scale not in known:
        raise InputError(f"--scale {scale}: no such scale", hint=f"choose {', '.join(known)}")
    file = read(find(recipe_name))
    run_seed = file.entry.seed if seed is None else seed
    suffix = "" if run_seed == file.experiment_seed else f"-seed{run_seed}"
    folders = {s: RunFolder(RUNS / f"{file.experiment}-{s}{suffix}") for s in known}
    folders["own"] = RunFolder(RUNS / f"own{suffix}")
    given = None if run_dir is None else RunFolder(run_dir)
    outside = {
        key
        for key, value in (inputs or {}).items()
        for one in ([value] if isinstance(value, str) else value)
        if one != NOTHING and stage_of(one) not in file.entry.stages
    }
    if (settings or {}).get("source", "chains") not in _NOT_FROM_OUTSIDE:
        outside.add("data")
    no_other = [*file.entry.scales] == ["own"]
    chosen = scale or ("own" if no_other else _scale(given, folders, outside))
    folder = given or folders[chosen]
    held = folder.about.get("scale")
    if held not in (None, chosen) and chosen != "own":
        raise InputError(
            f"this run is of scale {held}, not {chosen}",
            where=folder.path,
            hint="leave out --scale, or take another --run-dir",
        )
    return at_scale(file, cast("Scale", chosen), seed), folder


def last_run() -> RunFolder:
    """The run folder in runs/ that was used last. Raises InputError where there is none."""
    from e2h_cli.pipeline.run_folder import RUN_RECORD, RunFolder

    folders = [RunFolder(file.parent) for file in RUNS.glob(f"*/{RUN_RECORD}")]
    if not folders:
        raise InputError("no run here", where=RUNS, hint="name a run folder, or make one: e2h run")
    return max(folders, key=lambda folder: folder.last_used)


def parse_seeds(seed: int | None, seeds: str | None) -> list[int | None]:
    """Seeds of the runs that a command line names; [None] for that of the recipe alone."""
    if seeds is None:
        return [seed]
    if seed is not None:
        raise InputError("--seed and --seeds do not go together")
    numbers = [part.strip() for part in seeds.split(",")]
    if len(set(numbers)) < max(len(numbers), 2) or not all(map(str.isdecimal, numbers)):
        raise InputError(
            f"--seeds {seeds}: not several different whole numbers from 0", hint="as --seeds 3,4,5"
        )
    return list(map(int, numbers))


def run_dir_of(run_dir: Path | None, seed: int | None, seeds: Sequence[int | None]) -> Path | None:
    """The folder of one of several seeds beside the one that the user named."""
    if run_dir is None or len(seeds) == 1:
        return run_dir
    return run_dir.with_name(f"{run_dir.name}-seed{seed}")


def folder_of_seeds(first: Path, seeds: Iterable[int], view: str = "") -> Path:
    """Where results over several runs go: beside the run folder of the first."""
    numbers = "-".join(map(str, seeds))
    return first.with_name(f"{first.name.partition('-seed')[0]}{view}-seeds-{numbers}")


def _scale(given: RunFolder | None, folders: Mapping[str, RunFolder], outside: set[str]) -> str:
    if outside.intersection(_PROBLEMS):
        return "own"
    used = {"": given} if given else folders
    recorded = [folder for folder in used.values() if folder.about]
    if recorded:
        return str(max(recorded, key=lambda folder: folder.last_used).about["scale"])
    return "own" if outside else _default_scale()


def _default_scale() -> str:
    """By the memory of the first GPU."""
    # Importing torch takes seconds; without a device file it would find no GPU.
    if not any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")):
        return "tiny"
    import torch

    if not torch.cuda.is_available():
        return "tiny"
    memory = torch.cuda.get_device_properties(0).total_memory
    return "small" if memory < _SMALL_GPU else "paper"
