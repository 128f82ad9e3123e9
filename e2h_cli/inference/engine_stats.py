"""How fast engines are: ``engines.jsonl``, a line per engine that was not killed."""

from __future__ import annotations

import json
import logging
import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, NonNegativeInt, ValidationError

from e2h_cli.common.files import ENGINE_STATS
from e2h_cli.inference.engines.base import Engine, Generation, Request, SamplingParameters

logger = logging.getLogger(__name__)


class _SpeedRecord(BaseModel):
    """What is read of a line of ``engines.jsonl``."""

    model_config = ConfigDict(allow_inf_nan=False)

    engine: str
    samples: NonNegativeInt
    tokens: NonNegativeInt
    busy_seconds: NonNegativeFloat
    idle_seconds: NonNegativeFloat
    gpu_gib: NonNegativeFloat | None = None


@dataclass
class EngineClock:
    """Seconds that an engine worked (busy) and waited for its samples to be stored (idle)."""

    engine: str
    load_seconds: float
    busy_seconds: float = 0.0
    idle_seconds: float = 0.0
    samples: int = 0
    tokens: int = 0

    def timed(
        self, engine: Engine, requests: Sequence[Request], parameters: SamplingParameters
    ) -> Iterator[list[Generation]]:
        """The engine's samples, timed."""
        mark = time.monotonic()
        for generations in engine.generate(requests, parameters):
            self.busy_seconds += time.monotonic() - mark
            self.samples += len(generations)
            self.tokens += sum(g.tokens for g in generations)
            mark = time.monotonic()
            yield generations
            self.idle_seconds += time.monotonic() - mark
            mark = time.monotonic()
        self.busy_seconds += time.monotonic() - mark

    def record(self) -> dict[str, Any]:
        """Seconds, rates, and memory in use on this process's GPU, by all processes, in GiB."""
        import torch

        free, total = torch.cuda.mem_get_info() if torch.cuda.is_available() else (0, 0)
        seconds = max(self.busy_seconds + self.idle_seconds, 1e-9)
        return {
            "engine": self.engine,
            "samples": self.samples,
            "tokens": self.tokens,
            "load_seconds": round(self.load_seconds, 2),
            "busy_seconds": round(self.busy_seconds, 2),
            "idle_seconds": round(self.idle_seconds, 2),
            "samples_per_second": round(self.samples / seconds, 2),
            "tokens_per_second": round(self.tokens / seconds, 1),
            "gpu_gib": round((total - free) / 2**30, 2) if total else None,
        }


def append_engine_stats(folder: Path, record: Mapping[str, Any]) -> None:
    """Append a line; several shards may, since a line is written in one piece.

    A file that is not a regular one (a link that leads elsewhere, a pipe) is logged and left alone.
    """
    file = folder / ENGINE_STATS
    # A pipe that nobody reads would block without O_NONBLOCK.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        with os.fdopen(os.open(file, flags, 0o666), "w", encoding="utf-8") as stream:
            if stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                stream.write(json.dumps(record) + "\n")
                return
        reason = "not a regular file"
    except OSError as error:
        reason = error.strerror or str(error)
    logger.warning(f"{file}: cannot write the speed of this engine: {reason}")


def sum_engine_stats(folder: Path) -> dict[str, Any]:
    """Totals over the engines of a folder; empty if none has finished there.

    A line that tells no speed is logged and left out: samples are worth more than their speed.
    """
    file = folder / ENGINE_STATS
    records = []
    # Of a link or a pipe nothing is read.
    regular = file.is_file() and not file.is_symlink()
    for number, line in enumerate(file.read_bytes().splitlines() if regular else (), 1):
        try:
            records.append(_SpeedRecord.model_validate_json(line).model_dump())
        except ValidationError:
            logger.warning(f"{file}:{number}: not the speed of an engine; left out")
    if not records:
        return {}
    seconds = sum(r["busy_seconds"] + r["idle_seconds"] for r in records) or 1e-9
    return {
        "engines": sorted({r["engine"] for r in records}),
        "engine_seconds": round(seconds, 1),
        "idle_share": round(sum(r["idle_seconds"] for r in records) / seconds, 4),
        "tokens_per_engine_second": round(sum(r["tokens"] for r in records) / seconds, 1),
        "samples_per_engine_second": round(sum(r["samples"] for r in records) / seconds, 2),
        "gpu_gib": max((r["gpu_gib"] or 0 for r in records), default=0) or None,
    }
