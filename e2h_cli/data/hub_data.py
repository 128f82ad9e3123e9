"""Data sets of the Hub by name, and folders with the files of one.

A name is OWNER/NAME, or OWNER/NAME:CONFIG where the data set has several configurations.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from e2h_cli.common.errors import InputError, reason_of

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(?P<config>:[\w.,-]+)?")
# Configurations that together are one data set; known without asking the Hub.
_TOGETHER = {
    "EleutherAI/hendrycks_math": (
        "algebra", "counting_and_probability", "geometry", "intermediate_algebra",
        "number_theory", "prealgebra", "precalculus",
    )
}  # fmt: skip


class Configuration(NamedTuple):
    """Rows of each split; ``name`` is empty for the only configuration of a data set."""

    name: str
    splits: Mapping[str, Any]


def load_data_set(given: str, *, together: bool = False) -> list[Configuration]:
    """The configuration of a data set that is named or its only one; from the cache if offline.

    Args:
        given: a name on the Hub, or a folder.
        together: all configurations, where they are parts of one data set or of a folder.

    Raises:
        InputError: there is no such data set, it cannot be reached, or no configuration is chosen.
    """
    import datasets

    datasets.disable_progress_bars()
    datasets.utils.logging.set_verbosity_error()
    is_folder = Path(given).is_dir()
    name, _, config = (given, "", "") if is_folder else given.partition(":")
    try:
        configs = [config] if config or not together else list(_TOGETHER.get(name, [""]))
        if is_folder and together:
            configs = datasets.get_dataset_config_names(name)
        return [Configuration(c, datasets.load_dataset(name, c or None)) for c in configs]
    except Exception as error:
        # The library raises whatever its transport and the readers of files raise.
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = " ".join(lines[:2]) or type(error).__name__
        raise InputError(
            f"cannot load this data set: {reason}", where=given, hint=_hint(name, config, is_folder)
        ) from error


def hub_file(name: str, file: str) -> Path:
    """A file of a data set of the Hub; from the cache if offline. Raises InputError."""
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(name, file, repo_type="dataset"))
    except Exception as error:
        # As above: whatever the transport raises.
        raise InputError(
            f"cannot load {file} of this data set: {reason_of(error)}",
            where=name,
            hint=f"without network fetch it elsewhere (hf download {name} {file} --repo-type "
            "dataset --local-dir FOLDER), and give FOLDER in place of the name",
        ) from error


def is_data_set(given: str) -> bool:
    """Whether this is a folder, or no file and a name as on the Hub."""
    path = Path(given)
    return path.is_dir() or (not path.exists() and HUB_NAME.fullmatch(given) is not None)


def rows_of(given: str, split: str) -> Any:
    """The rows of a split of a data set, or of its only one. Raises InputError."""
    [configuration] = load_data_set(given)
    splits = configuration.splits
    if split not in splits and len(splits) > 1:
        raise InputError(f"no split {split} here, but {', '.join(splits)}", where=given)
    return splits[split] if split in splits else next(iter(splits.values()))


def title_of(given: str | Path) -> str:
    """What a file or data set is called in tables: the name without folder or configuration."""
    path = Path(given)
    return path.stem if path.exists() else path.name.partition(":")[0]


def _hint(name: str, config: str, is_folder: bool) -> str:
    if is_folder:
        return "give one of its files"
    several = "" if config else f"of several configurations give {name}:CONFIG; "
    chosen = f" --include '*{config}*'" if config else ""
    fetch = f"hf download {name} --repo-type dataset{chosen} --local-dir FOLDER"
    instead = "give FOLDER or a file of it in place of the name"
    return f"{several}without network fetch the files elsewhere ({fetch}), and {instead}"
