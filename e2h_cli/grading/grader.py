"""A rule with what it needs to be fast and safe: distinct pairs once, workers, a cache."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from e2h_cli.grading.classes import partition
from e2h_cli.grading.rule import Question, Rule
from e2h_cli.grading.verdict import Verdict
from e2h_cli.grading.verdict_cache import VerdictCache
from e2h_cli.grading.workers import DEFAULT_TIMEOUT, Pool


class RuleGrader:
    """Grades pairs and groups answers by one rule.

    Most pairs are decided in this process in well under a millisecond; only what needs a large
    library goes to worker processes, which start when the first such pair comes.

    Args:
        rule: the rule.
        workers: how many worker processes at most; by default half of the cores, at most 8.
        timeout: seconds per pair in a worker, after which the pair is ``timed out``.
        cache: a file that keeps workers' verdicts for later runs, or None.
    """

    def __init__(
        self,
        rule: Rule,
        *,
        workers: int | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        cache: Path | None = None,
    ) -> None:
        self.rule = rule
        self.name = rule.name
        self.version = rule.version
        self._pool = Pool(workers, timeout)
        self._cache = VerdictCache(cache, f"{rule.name} {rule.version}") if cache else None

    def grade(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        """Judge pairs of (gold, answer), in order. Each distinct pair is judged once.

        Raises:
            RunError: if no worker process can be started.
        """
        verdicts: dict[tuple[str, str], Verdict] = {}
        open_pairs: dict[tuple[str, str], Question] = {}
        for pair in dict.fromkeys(pairs):
            start = time.perf_counter()
            decision = self.rule.decide(*pair)
            if isinstance(decision, Question):
                open_pairs[pair] = decision
            else:
                elapsed = (time.perf_counter() - start) * 1000
                verdicts[pair] = Verdict(decision.verdict, decision.reason, elapsed)
        answered = self._ask(list(open_pairs.values()))
        verdicts.update(zip(open_pairs, answered, strict=True))
        return [verdicts[pair] for pair in pairs]

    def classes(self, answers: Sequence[str]) -> list[int]:
        """Label equal answers with equal numbers, 0, 1, ... in order of first appearance.

        The partition does not depend on the order of the answers.

        Raises:
            RunError: if no worker process can be started.
        """
        distinct = sorted(set(answers))
        position = {answer: index for index, answer in enumerate(distinct)}
        doubtful = self.rule.doubtful(distinct)
        both_ways = [(a, b) for a, b in doubtful] + [(b, a) for a, b in doubtful]
        judged = self.grade([(distinct[a], distinct[b]) for a, b in both_ways])
        half = len(doubtful)
        equal = [
            pair
            for pair, one, other in zip(doubtful, judged[:half], judged[half:], strict=True)
            if one.right and other.right
        ]
        groups = partition(self.rule.keys(distinct), equal)
        labels: dict[int, int] = {}
        return [labels.setdefault(groups[position[a]], len(labels)) for a in answers]

    def close(self) -> None:
        """End the worker processes and close the cache."""
        self._pool.close()
        if self._cache is not None:
            self._cache.close()

    def __enter__(self) -> RuleGrader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(self, questions: Sequence[Question]) -> list[Verdict]:
        if self._cache is None or not questions:
            return self._pool.ask(questions)
        known = self._cache.get(questions)
        rest = [index for index in range(len(questions)) if index not in known]
        fresh = self._pool.ask([questions[index] for index in rest])
        self._cache.put({questions[i]: verdict for i, verdict in zip(rest, fresh, strict=True)})
        known.update(zip(rest, fresh, strict=True))
        return [known[index] for index in range(len(questions))]
