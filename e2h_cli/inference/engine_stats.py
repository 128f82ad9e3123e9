"""How fast engines are: ``engines.jsonl``, a line per engine that was not killed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2h_cli.common.files import ENGINE_STATS, read_jsonl
from e2h_cli.inference.engines.base import Engine, Generation, Request, SamplingParameters


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
    """Append a line; several shards may, since a line is written in one piece."""
    with (folder / ENGINE_STATS).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(record) + "\n")


def sum_engine_stats(folder: Path) -> dict[str, Any]:
    """Totals over the sampling engines of a folder; empty if none has finished there."""
    file = folder / ENGINE_STATS
    if not file.is_file():
        return {}
    records = [record for _, record in read_jsonl(file)]
    seconds = sum(r["busy_seconds"] + r["idle_seconds"] for r in records) or 1e-9
    return {
        "engines": sorted({r["engine"] for r in records}),
        "engine_seconds": round(seconds, 1),
        "idle_share": round(sum(r["idle_seconds"] for r in records) / seconds, 4),
        "tokens_per_engine_second": round(sum(r["tokens"] for r in records) / seconds, 1),
        "samples_per_engine_second": round(sum(r["samples"] for r in records) / seconds, 2),
        "gpu_gib": max((r["gpu_gib"] or 0 for r in records), default=0) or None,
    }
