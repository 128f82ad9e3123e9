"""Programs per second in a sandbox, against a fresh Python process per test.

python -m benchmarks.program_runs [--programs 60] [--tests 20] [--plain 6]

Short programs as models write them for contest problems: half read standard input, half are called
as functions. Each sandbox that works here runs all of them on one worker and on all cores. The
baseline runs a part of the same tests: ``python -I -S`` for each, with the same limits and nothing
isolated, one after another and on all cores. Its outputs must be the same. Next to the time stands
the CPU time, which depends less on what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from e2h_cli.common.errors import RunError
from e2h_cli.grading.programs.program_run import Limits, ProgramJob
from e2h_cli.grading.programs.program_runner import ProgramRunner
from e2h_cli.grading.programs.sandboxes import SandboxName

_READ = (
    "n = int(input())\na = list(map(int, input().split()))\n"
    "print(sum(i * a[i] for i in range(n)), max(a) - min(a), a.index(max(a)))",
    "import sys\ndata = sys.stdin.read().split()\na = sorted(map(int, data[1:]))\n"
    "print(*a[: len(a) // 2])\nprint('YES' if a[0] % 2 else 'NO')",
)
_CALLED = (
    "class Solution:\n    def solve(self, nums: List[int]) -> int:\n"
    "        best = total = nums[0]\n"
    "        for x in nums[1:]:\n            total = max(x, total + x)\n"
    "            best = max(best, total)\n        return best",
    "def solve(nums):\n    return [x for x in nums if x % 3 == 0]",
)
# The baseline's way to call a function: the names that its program needs, then the call.
_HEAD = "from typing import List\n"
_TAIL = (
    "\nimport json, sys\ntarget = Solution().solve if 'Solution' in globals() else solve\n"
    "print(json.dumps(target(*json.loads(sys.stdin.read()))))"
)


def jobs(programs: int, tests: int, seed: int) -> list[ProgramJob]:
    """Different programs, of the kinds above in turn."""
    r = random.Random(seed)
    made = []
    kinds = [program for pair in zip(_READ, _CALLED, strict=True) for program in pair]
    for number in range(programs):
        program = kinds[number % len(kinds)]
        lists = [[r.randint(-999, 999) for _ in range(r.randint(5, 200))] for _ in range(tests)]
        called = program in _CALLED
        inputs = tuple(
            json.dumps([values]) if called else f"{len(values)}\n{' '.join(map(str, values))}\n"
            for values in lists
        )
        text = f"{program}\n# {number}\n"
        made.append(ProgramJob(text, "solve" if called else None, inputs))
    return made


def sandboxed(
    runner: ProgramRunner, work: Sequence[ProgramJob]
) -> tuple[float, float, list[list[str]]]:
    """Seconds, seconds of CPU time of the sandbox, and the outputs of each job."""
    start, used = time.perf_counter(), _cpu_of_hosts()
    results = dict(runner.run(work))
    seconds = time.perf_counter() - start
    assert all(result.status == "finished" for found in results.values() for result in found)
    outputs = [[r.output.strip() for r in results[n]] for n in range(len(work))]
    return seconds, _cpu_of_hosts() - used, outputs


def _cpu_of_hosts() -> float:
    """CPU seconds of the hosts of this process, and of the children that they had."""
    mark = f"of-process-{os.getpid()}\0".encode()
    ticks = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "cmdline").read_bytes():
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                ticks += sum(map(int, fields[11:15]))  # its own and its children's
        except OSError:
            continue
    return ticks / os.sysconf("SC_CLK_TCK")


def plain(
    work: Sequence[ProgramJob], limits: Limits, workers: int
) -> tuple[float, float, list[list[str]]]:
    """The same with a fresh Python process per test."""
    bounds = ((resource.RLIMIT_AS, limits.memory_bytes), (resource.RLIMIT_CPU, int(limits.seconds)))

    def limit() -> None:
        for kind, most in bounds:
            resource.setrlimit(kind, (most, most))

    def run(test: tuple[ProgramJob, str]) -> str:
        job, text = test
        source = job.program if job.function is None else _HEAD + job.program + _TAIL
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", source],
            input=text,
            capture_output=True,
            text=True,
            check=True,
            timeout=limits.seconds * limits.wall_factor,
            preexec_fn=limit,
            start_new_session=True,
        )
        return done.stdout.strip()

    tests = [(job, text) for job in work for text in job.inputs]
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with ThreadPoolExecutor(workers) as pool:
        outputs = iter(list(pool.map(run, tests)))
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, used, [[next(outputs) for _ in job.inputs] for job in work]


def main() -> None:
    """Print programs and tests per second, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--programs", type=int, default=60)
    parser.add_argument("--tests", type=int, default=20, help="per program")
    parser.add_argument("--plain", type=int, default=6, help="programs of the baseline")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    work = jobs(options.programs, options.tests, options.seed)
    limits = Limits()
    names: list[SandboxName] = ["bubblewrap", "landlock", "none"]
    for workers in dict.fromkeys((1, len(os.sched_getaffinity(0)))):
        some = work[: options.plain]
        seconds, used, expected = plain(some, limits, workers)
        base, base_cpu = len(some) / seconds, 1000 * used / len(some) / options.tests
        print(f"{workers} at once, {options.tests} tests per program")
        print(f"{'a process per test':>40}: {base:6.1f} programs/s, {base_cpu:.1f} ms CPU per test")
        for name in names:
            try:
                runner = ProgramRunner(name, limits=limits, workers=workers)
            except RunError as error:
                print(f"{name:>40}: {error.problem}")
                continue
            with runner:
                sandboxed(runner, work[:workers])  # starts the hosts
                seconds, used, outputs = sandboxed(runner, work)
            assert outputs[: len(some)] == expected
            rate, cpu = len(work) / seconds, 1000 * used / len(work) / options.tests
            print(
                f"{runner.sandbox:>40}: {rate:6.1f} programs/s, {cpu:.1f} ms CPU per test; "
                f"{rate / base:.1f} times the programs/s, {base_cpu / cpu:.1f} times less CPU"
            )


if __name__ == "__main__":
    main()
