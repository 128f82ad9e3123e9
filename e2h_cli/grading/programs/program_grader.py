"""Grades programs by their tests, and groups programs that do the same."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

from e2h_cli.common.escapes import one_line
from e2h_cli.data.program_tests import ProgramTests
from e2h_cli.grading.programs.output_rules import (
    accepted_outputs,
    normal_form,
    same_output,
)
from e2h_cli.grading.programs.program_run import Limits, ProgramJob, RunResult
from e2h_cli.grading.verdict import Question, Verdict, VerdictCache, digest_of
from e2h_cli.settings.base import ComparisonName

logger = logging.getLogger(__name__)

# Raised where a change gives a program another verdict: what was stored before is not read then.
_VERSION = 1
# A kill loses the verdicts of so many seconds.
_SECONDS_BETWEEN_WRITES = 2.0

Pair = tuple[str, str]  # the text of tests, and a program


class Runner(Protocol):
    """Runs programs within limits. ``sandbox`` is name and version of what isolates them."""

    sandbox: str
    limits: Limits

    def run(self, jobs: Sequence[ProgramJob]) -> Iterator[tuple[int, tuple[RunResult, ...]]]:
        """Index of the job and a result per input, in order of completion."""

    def close(self) -> None:
        """End the processes."""


class ProgramGrader:
    """Grades programs by a rule of comparison; see ``Grader``. The gold answers are tests.

    Each distinct pair of tests and program is run once, and on all tests, since the share of tests
    passed counts, too. Expected outputs stay in this process.

    Args:
        comparison: the rule by which outputs are compared.
        runner: runs the programs; closed with the grader.
        cache: a file that keeps verdicts for later runs; processes may share it.
        on_judged: called with the numbers of programs that have been run and that are to be.
    """

    name = "programs"

    def __init__(
        self,
        comparison: ComparisonName,
        runner: Runner,
        cache: Path | None = None,
        on_judged: Callable[[int, int], None] | None = None,
    ) -> None:
        self.comparison = comparison
        self.runner = runner
        self._cache = cache
        self._on_judged = on_judged
        self.version = self.version_by(comparison)

    @property
    def sandbox(self) -> str:
        """Name and version of what isolates the programs."""
        return self.runner.sandbox

    def version_by(self, comparison: ComparisonName) -> str:
        """What stands in results: a rule of comparison, limits and sandbox."""
        limits = self.runner.limits
        memory = limits.memory_bytes // 2**20
        return f"{comparison}, {limits.seconds:g} s, {memory} MiB, {self.sandbox}"

    def grade(self, pairs: Sequence[Pair]) -> list[Verdict]:
        """Grade pairs of (tests, program), in order.

        Programs run side by side; ``ms`` is the time since the verdict before, so that the sum is
        the time of all.
        """
        return self.grade_by([self.comparison], pairs)[0]

    def grade_by(
        self, comparisons: Sequence[ComparisonName], pairs: Sequence[Pair]
    ) -> list[list[Verdict]]:
        """The verdicts by several rules of comparison on the same runs of the programs."""
        distinct = list(dict.fromkeys(pairs))
        kept = [self._kept(comparison, "tests", distinct) for comparison in comparisons]
        read: dict[str, ProgramTests | Verdict] = {}
        expected: dict[str, list[list[tuple[str, ...]]]] = {}
        jobs: dict[Pair, ProgramJob] = {}
        for pair in distinct:
            if all(pair in one.known for one in kept):
                continue
            text, program = pair
            tests = read[text] if text in read else read.setdefault(text, _read(text))
            if isinstance(tests, ProgramTests) and program.strip():
                jobs[pair] = ProgramJob(program, tests.function, tests.inputs)
                if text not in expected:
                    expected[text] = [accepted_outputs(rule, tests) for rule in comparisons]
                continue
            if isinstance(tests, ProgramTests):
                tests = Verdict("wrong", "empty program", run=len(tests.inputs))
            for one in kept:
                one.known[pair] = tests
        with _Written(kept) as written:
            for pair, results, ms in self._results(jobs):
                function = jobs[pair].function is not None
                for rule, one, outputs in zip(comparisons, kept, expected[pair[0]], strict=True):
                    right = [
                        result.status == "finished"
                        and any(same_output(rule, function, text, result.output) for text in texts)
                        for result, texts in zip(results, outputs, strict=True)
                    ]
                    one.add(pair, _verdict(results, right, ms), results)
                written.now_and_then()
        return [[one.known[pair] for pair in pairs] for one in kept]

    def classes(self, answers: Sequence[str], public_tests: str | None = None) -> list[int]:
        """Label programs that do the same on public tests with equal numbers, 0, 1, ...

        Outputs are equal by ``strict`` here: nearly equal ones make no classes. A program that
        fails on an input is in no class with others. Without public tests all are classes of
        their own. Raises ValueError for malformed public tests.
        """
        return self.classes_of([(answers, public_tests)])[0]

    def classes_of(self, groups: Sequence[tuple[Sequence[str], str | None]]) -> list[list[int]]:
        """The classes of each group of (programs, public tests); all programs run side by side."""
        behaviours = self._behaviours(
            [
                (public, program)
                for programs, public in groups
                if public is not None
                for program in dict.fromkeys(programs)
                if program.strip()
            ]
        )
        classes = []
        for programs, public in groups:
            labels: dict[Hashable, int] = {}
            keys: list[Hashable] = []
            for program in programs:
                does = behaviours.get((public, program)) if public is not None else None
                keys.append(("does", does) if does else ("is", program))
            classes.append([labels.setdefault(key, len(labels)) for key in keys])
        return classes

    def close(self) -> None:
        """End the processes that run programs."""
        self.runner.close()

    def __enter__(self) -> ProgramGrader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _behaviours(self, pairs: Sequence[Pair]) -> dict[Pair, str]:
        """A hash of the outputs of each program, "" where it failed on an input.

        They are kept as verdicts whose reason is the hash.
        """
        distinct = list(dict.fromkeys(pairs))
        kept = self._kept("behaviour", "public tests", distinct)
        texts = dict.fromkeys(text for text, _ in distinct)
        tests = {text: ProgramTests.parse(text) for text in texts}
        jobs = {
            (text, program): ProgramJob(program, tests[text].function, tests[text].inputs)
            for text, program in distinct
            if (text, program) not in kept.known
        }
        with _Written([kept]) as written:
            for pair, results, _ in self._results(jobs):
                function = jobs[pair].function is not None
                if all(result.status == "finished" for result in results):
                    outputs = (normal_form(function, result.output) for result in results)
                    kept.add(pair, Verdict("right", digest_of(*outputs).hex()), results)
                elif any(result.status == "not judged" for result in results):
                    kept.add(pair, Verdict("not judged", ""), results)
                else:
                    kept.add(pair, Verdict("wrong", ""), results)
                written.now_and_then()
        return {pair: verdict.reason for pair, verdict in kept.known.items()}

    def _results(
        self, jobs: Mapping[Pair, ProgramJob]
    ) -> Iterator[tuple[Pair, tuple[RunResult, ...], float]]:
        """Run jobs: the results of each and the milliseconds since those before."""
        pairs = list(jobs)
        failures: list[str] = []
        before = time.perf_counter()
        for done, (index, results) in enumerate(self.runner.run(list(jobs.values())), 1):
            now = time.perf_counter()
            yield pairs[index], results, (now - before) * 1000
            before = now
            if self._on_judged:
                self._on_judged(done, len(jobs))
            failures += [r.detail for r in results if r.status == "not judged"][:1]
        if failures:
            logger.warning(
                f"{len(failures):,} of {len(pairs):,} programs were not judged: {failures[0]}"
            )

    def _kept(
        self, rule: str, task: Literal["tests", "public tests"], pairs: Sequence[Pair]
    ) -> _Kept:
        """The verdicts by a rule that are known already."""
        if self._cache is None:
            return _Kept(None, task, [])
        means = f"{self.runner.limits}, {self.sandbox}, Python {platform.python_version()}"
        # Time-outs by CPU time are stored: it depends little on the load, and to wait again for
        # each program that does not end costs more than all others.
        cache = VerdictCache(self._cache, f"programs {_VERSION}, {rule}, {means}", timeouts=True)
        return _Kept(cache, task, pairs)


class _Kept:
    """Verdicts by pair, some of them from the cache, and those that are not in there yet."""

    def __init__(
        self,
        cache: VerdictCache | None,
        task: Literal["tests", "public tests"],
        pairs: Sequence[Pair],
    ) -> None:
        self.known: dict[Pair, Verdict] = {}
        self._cache = cache
        self._task = task
        self._fresh: dict[Question, Verdict] = {}
        self._digests: dict[str, str] = {}
        if cache is not None:
            found = cache.get([self._question(pair) for pair in pairs])
            self.known = {pairs[index]: verdict for index, verdict in found.items()}

    def add(self, pair: Pair, verdict: Verdict, results: Sequence[RunResult]) -> None:
        self.known[pair] = verdict
        if self._cache is not None and not any(result.by_load for result in results):
            self._fresh[self._question(pair)] = verdict

    def write(self) -> None:
        """Store the new verdicts."""
        if self._cache is not None and self._fresh:
            self._cache.put(self._fresh)
            self._fresh = {}

    def _question(self, pair: Pair) -> Question:
        """The question by which a pair is stored. Tests are long, and hashed once here."""
        text, program = pair
        if text not in self._digests:
            self._digests[text] = digest_of(text).hex()
        return Question(self._task, self._digests[text], program)


class _Written:
    """Writes new verdicts every few seconds, and at the end, also where that is an error."""

    def __init__(self, kept: Sequence[_Kept]) -> None:
        self._kept = kept
        self._last = time.monotonic()

    def now_and_then(self) -> None:
        if time.monotonic() - self._last > _SECONDS_BETWEEN_WRITES:
            self._write()

    def _write(self) -> None:
        for one in self._kept:
            one.write()
        self._last = time.monotonic()

    def __enter__(self) -> _Written:
        return self

    def __exit__(self, *error: object) -> None:
        self._write()


def _read(text: str) -> ProgramTests | Verdict:
    """The tests of a text, or the verdict where it holds none."""
    try:
        tests = ProgramTests.parse(text)
    except (ValueError, RecursionError) as error:
        return Verdict("unreadable", one_line(f"tests: {error}"))
    return tests if tests.outputs else Verdict("unreadable", "tests: no outputs")


def _verdict(results: Sequence[RunResult], right: Sequence[bool], ms: float) -> Verdict:
    """The verdict on a program: its results, and which of them are right outputs."""
    for result in results:
        if result.status == "not judged":
            return Verdict("not judged", one_line(result.detail) or "the sandbox failed", ms)
    passed, run = sum(right), len(right)
    reason = f"passes {passed:,} of {run:,} tests"
    if passed == run:
        return Verdict("right", reason, ms, passed, run)
    first = right.index(False)
    status, detail = results[first].status, one_line(results[first].detail)
    said = "wrong output" if status == "finished" else str(status)
    if status == "error" and detail:
        said = f"error: {detail}"
    reason = f"{reason}; first failure: test {first + 1:,}, {said}"
    late = any(result.status == "timed out" for result in results)
    return Verdict("timed out" if late else "wrong", reason, ms, passed, run)
