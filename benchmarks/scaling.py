"""How e2h's own time and memory grow with the number of samples, without any model.

OMP_NUM_THREADS=1 python -m benchmarks.scaling [--sizes 10000,100000,1000000] [--stages sample,...]

Each stage and size runs in a process of its own, with 1,024 samples per problem (10^4: 10 problems)
and an engine or a reward model that answers at once. CPU seconds and peak memory are printed, and
the exponent of a power law through the times of the two largest sizes: 1 is linear.

sample: requests, answers parsed, part files, one sorted file, counts
score:  distinct solutions found, scores stored as part files, one sorted file
vote:   answers graded and grouped, majority, weighted and best-of-n at powers of two, intervals
"""

from __future__ import annotations

import argparse
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.store import InstantEngine
from e2h_cli.common.parquet_store import SAMPLE_SCHEMA, ShardedParquetStore
from e2h_cli.data.problem import Problem
from e2h_cli.evaluation.measurements import contrasts, measure, values_of_n, voting_methods
from e2h_cli.evaluation.sample_groups import group_samples
from e2h_cli.grading import get_grader
from e2h_cli.inference import scoring
from e2h_cli.inference.batching import Scores
from e2h_cli.inference.engines.base import SamplingParameters
from e2h_cli.inference.sampling import SampleStats, missing_requests, read_samples, sample_row
from e2h_cli.reports.results import problem_groups, summarise

_N = 1024
_PARAMETERS = SamplingParameters()


def main() -> None:
    """Print a line per stage and size, and the exponents."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="10000,100000,1000000", help="numbers of samples")
    parser.add_argument("--stages", default=",".join(_STAGES))
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--one", help=argparse.SUPPRESS)  # stage:problems:folder, in this process
    options = parser.parse_args()
    if options.one:
        _one(*options.one.split(":"), draws=options.draws)
        return
    sizes = [max(1, round(int(size) / _N)) for size in options.sizes.split(",")]
    seconds: dict[str, dict[int, float]] = {}
    for problems in sizes:
        with tempfile.TemporaryDirectory() as folder:
            for stage in options.stages.split(","):
                command = [sys.executable, "-m", "benchmarks.scaling", "--draws"]
                command += [str(options.draws), "--one", f"{stage}:{problems}:{folder}"]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                before, peak, spent = map(float, done.stdout.splitlines()[-1].split())
                seconds.setdefault(stage, {})[problems] = spent
                print(
                    f"{stage:>6}, {problems * _N:>10,} samples: {spent:8.2f} s CPU, "
                    f"{1e6 * spent / problems / _N:6.1f} microseconds each; peak {peak:5.2f} GiB, "
                    f"{peak - before:5.2f} above the imports",
                    flush=True,
                )
    for stage, of in seconds.items():
        if len(of) > 1:
            (small, first), (large, second) = sorted(of.items())[-2:]
            exponent = math.log(second / first) / math.log(large / small)
            print(f"{stage:>6}: time grows with the power {exponent:.2f} of the samples")


def _one(stage: str, problems: str, folder: str, draws: int) -> None:
    """Run a stage; print GiB before, GiB at the peak, CPU seconds."""
    asked = [
        Problem(f"p{i}", "q", 1 + i % 5, "s", "t", answer=str(i % 100))
        for i in range(int(problems))
    ]
    before, begin = _peak(), time.process_time()
    _STAGES[stage](asked, Path(folder), draws)
    print(before, _peak(), time.process_time() - begin)


def _sample(problems: Sequence[Problem], folder: Path, draws: int) -> None:
    store = ShardedParquetStore(folder / "samples.parquet", folder / "samples", SAMPLE_SCHEMA)
    requests = missing_requests(problems, _N, store.keys(), 0)
    for generations in InstantEngine().generate(requests, _PARAMETERS):
        store.add(sample_row(g) for g in generations)
    stats = SampleStats()
    store.merge((p.id for p in problems), stats.add)
    assert stats.counts["samples"] == len(problems) * _N


def _score(problems: Sequence[Problem], folder: Path, draws: int) -> None:
    samples = read_samples(folder / "samples.parquet")
    job = scoring.scoring_job(
        samples, {p.id: p for p in problems}, "instant", folder / "scores", conditions={},
        batch_tokens=None, precision="auto",
    )  # fmt: skip
    scoring.score(job)
    assert scoring.merge_scores(job, [p.id for p in problems]).num_rows == samples.num_rows


def _instant_scores(
    job: Any, solutions: Sequence[scoring.DistinctSolution], *_: Any
) -> tuple[str, Iterator[tuple[list[int], list[Scores]]]]:
    """In the place of a reward model: batches of 32 solutions of ten steps."""
    scores = [Scores([0.1 * (i % 7 + j % 3) for j in range(10)], 0.1 * (i % 9)) for i in range(63)]
    return "instant", (
        ([*range(i, end)], [scores[k % 63] for k in range(i, end)])
        for i in range(0, len(solutions), 32)
        for end in [min(i + 32, len(solutions))]
    )


def _vote(problems: Sequence[Problem], folder: Path, draws: int) -> None:
    samples = read_samples(folder / "samples.parquet")
    scores = scoring.read_table(folder / "scores/scores.parquet", scoring.SCORE_SCHEMA)
    with get_grader("exact") as grader:
        groups = group_samples(samples, {p.id: p for p in problems}, grader)
    measured = measure(
        groups, voting_methods(groups, scores), values_of_n(_N, None), draws=draws, seed=0,
        generator="instant", reward_model="instant",
    )  # fmt: skip
    masks = problem_groups([group.problem for group in groups], max_level=3)
    summarise(measured, contrasts(measured), masks, grader="exact", confidence=0.95)


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


_STAGES: dict[str, Callable[[Sequence[Problem], Path, int], None]] = {
    "sample": _sample, "score": _score, "vote": _vote,
}  # fmt: skip

if __name__ == "__main__":
    # No model is loaded or asked.
    scoring._open_transformers = _instant_scores
    scoring.check_engine = lambda *args: None
    main()
