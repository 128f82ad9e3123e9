"""Files that survive a kill: the newest whole checkpoint, and weights written atomically."""

from __future__ import annotations

import json
import logging
import os
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch

from e2h_cli.common.errors import RunError
from e2h_cli.common.files import fsync_folder, make_folder

STATE_FILE = "trainer_state.json"

logger = logging.getLogger(__name__)


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint of a Trainer; those that a kill left half written are removed.

    The Trainer writes its state file last, so a checkpoint with that file is whole. One with a
    damaged file (a torn disk) is renamed to ``torn-checkpoint-N``, and an older one is taken.
    """
    whole: dict[int, Path] = {}
    for path in folder.glob("checkpoint-*"):
        try:
            whole[int(json.loads((path / STATE_FILE).read_text())["global_step"])] = path
        except (OSError, ValueError, KeyError):
            shutil.rmtree(path)
    for _, path in sorted(whole.items(), reverse=True):
        if all(map(_is_intact, path.iterdir())):
            return path
        logger.warning(f"{path.name} is damaged; it is set aside as torn-{path.name}")
        path.rename(path.with_name(f"torn-{path.name}"))
    return None


def _is_intact(file: Path) -> bool:
    """Whether a file of tensors is whole: sizes of safetensors, checksums of torch archives."""
    from safetensors import SafetensorError, safe_open

    try:
        if file.suffix == ".safetensors":
            with safe_open(file, "pt"):
                return True
        if file.suffix in (".pt", ".pth", ".bin"):
            with zipfile.ZipFile(file) as archive:
                return archive.testzip() is None
    except (SafetensorError, OSError, zipfile.BadZipFile):
        return False
    return True


def save_weights(weights: Mapping[str, torch.Tensor], file: Path) -> None:
    """Write weights as safetensors, atomically. Raises RunError if that fails."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    make_folder(file.parent)
    temporary = file.with_name(f".{file.name}.tmp")
    try:
        # The library writes the file itself: serialised to bytes first, a large model would be in
        # memory twice.
        save_file({name: w.cpu().contiguous() for name, w in weights.items()}, temporary)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(file)
        fsync_folder(file.parent)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise RunError(
            f"cannot write: {str(error).splitlines()[0]}", where=file, hint="free space"
        ) from error
