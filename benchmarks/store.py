"""The overhead of e2h per sample: half a million samples of an engine that takes no time.

python -m benchmarks.store [--problems 500] [--n 1024]

Written as part files, interrupted half way, resumed, merged and read back; prints seconds,
microseconds per sample, memory and file size. Texts are solutions of 6 to 14 steps, as MATH's.
"""

from __future__ import annotations

import argparse
import random
import resource
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from e2h_cli.common import parquet_store
from e2h_cli.data import template
from e2h_cli.data.problem import Problem
from e2h_cli.inference.engine_stats import EngineClock
from e2h_cli.inference.engines.base import Generation, Request, SamplingParameters
from e2h_cli.inference.sampling import SampleStats, missing_requests, sample_row

TARGET_SECONDS = 60
_PARAMETERS = SamplingParameters()


class InstantEngine:
    """Returns prepared solutions."""

    name = "instant"

    def __init__(self) -> None:
        rng = random.Random(0)
        words = ["so", "we", "have", "that", "the", "sum", "of", "all", "terms", "is", "then"]
        self._texts = [
            template.completion(
                [
                    f"Step {i}: {' '.join(rng.choices(words, k=16))} $x_{{{i}}} = {rng.random()}$."
                    for i in range(rng.randint(6, 14))
                ],
                str(rng.randint(0, 99)),
            )
            for _ in range(997)
        ]

    def generate(
        self, requests: Iterable[Request], parameters: SamplingParameters
    ) -> Iterator[list[Generation]]:
        """64 samples at a time."""
        for position, request in enumerate(requests):
            yield [
                Generation(
                    request.id, sample, f"{request.id} {self._texts[(position + sample) % 997]}",
                    "stop", 300, -40.0,
                )
                for sample in request.samples
            ]  # fmt: skip


def main() -> None:
    """Print the seconds and memory of each phase."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=500)
    parser.add_argument("--n", type=int, default=1024)
    options = parser.parse_args()
    problems = [Problem(f"p{i}", "q", 1, "s", "t") for i in range(options.problems)]
    engine = InstantEngine()
    total = options.problems * options.n

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        start = time.perf_counter()
        marks = [("start", start, _peak())]

        def mark(name: str) -> None:
            marks.append((name, time.perf_counter(), _peak()))

        for name, until in (("written to one half", total // 2), ("resumed and written", total)):
            store = parquet_store.ShardedParquetStore(
                folder / "all.parquet", folder / "work", parquet_store.SAMPLE_SCHEMA
            )
            done = store.keys()
            requests = list(missing_requests(problems, options.n, done, 0))
            clock, stored = EngineClock("instant", 0.0), len(done)
            for generations in clock.timed(engine, requests, _PARAMETERS):
                store.add(sample_row(g) for g in generations)
                stored += len(generations)
                if stored >= until:
                    break
            if until == total:
                store.flush()
            mark(name)
        size = sum(f.stat().st_size for f in (folder / "work").iterdir())
        store = parquet_store.ShardedParquetStore(
            folder / "all.parquet", folder / "work", parquet_store.SAMPLE_SCHEMA
        )
        stats = SampleStats()
        store.merge((p.id for p in problems), stats.add)
        mark("merged and counted")
        assert stats.counts["samples"] == total, stats.counts
        assert len(store.keys()) == total
        mark("read back (keys)")
        merged = (folder / "all.parquet").stat().st_size

    before = start
    for name, at, peak in marks[1:]:
        print(f"{name:>22}: {at - before:6.1f} s, peak {peak:.2f} GiB")
        before = at
    seconds = before - start
    print(f"{'all':>22}: {seconds:6.1f} s, {1e6 * seconds / total:.0f} microseconds per sample"
          f"{'' if seconds < TARGET_SECONDS else '   OVER THE TARGET'}")  # fmt: skip
    print(f"{total:,} samples: part files {size / 2**20:.0f} MiB, merged {merged / 2**20:.0f} MiB")


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
