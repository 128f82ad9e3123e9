"""Grades pairs and groups equal answers, by one rule."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable, Sequence

from e2h_cli.grading.grading_workers import WorkerPool
from e2h_cli.grading.verdict import Question, Rule, Verdict, VerdictCache


class RuleGrader:
    """Grades pairs and groups equal answers by one rule.

    Most pairs are decided in this process in well under a millisecond. Only pairs that need
    math-verify or sympy go to worker processes, which start with the first such pair. The methods
    raise ``RunError`` if they cannot be started.

    Args:
        rule: the rule.
        workers: the worker processes.
        cache: keeps the verdicts of the workers for later runs.
    """

    def __init__(self, rule: Rule, workers: WorkerPool, cache: VerdictCache | None = None) -> None:
        self.rule = rule
        self.name = rule.name
        self.version = rule.version
        self._workers = workers
        self._cache = cache

    def grade(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        """Grade pairs of (gold, answer), in order. Each distinct pair is graded once."""
        verdicts: dict[tuple[str, str], Verdict] = {}
        deferred: dict[tuple[str, str], Question] = {}
        for pair in dict.fromkeys(pairs):
            start = time.perf_counter()
            decision = self.rule.decide(*pair)
            if isinstance(decision, Question):
                deferred[pair] = decision
            else:
                elapsed = (time.perf_counter() - start) * 1000
                verdicts[pair] = Verdict(decision.verdict, decision.reason, elapsed)
        answered = self._ask(list(deferred.values()))
        verdicts.update(zip(deferred, answered, strict=True))
        return [verdicts[pair] for pair in pairs]

    def classes(self, answers: Sequence[str]) -> list[int]:
        """Label equal answers with equal numbers, 0, 1, ... in order of first appearance.

        The partition does not depend on the order of the answers.
        """
        distinct = sorted(set(answers))
        class_of = dict(zip(distinct, partition(self.rule.keys(distinct)), strict=True))
        labels: dict[int, int] = {}
        return [labels.setdefault(class_of[answer], len(labels)) for answer in answers]

    def classes_of(self, groups: Sequence[tuple[Sequence[str], str | None]]) -> list[list[int]]:
        """The classes of each group of answers, which have no public tests."""
        return [self.classes(answers) for answers, _ in groups]

    def close(self) -> None:
        """End the worker processes."""
        self._workers.close()

    def __enter__(self) -> RuleGrader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _ask(self, questions: Sequence[Question]) -> list[Verdict]:
        if self._cache is None or not questions:
            return self._workers.ask(questions)
        known = self._cache.get(questions)
        missing = [index for index in range(len(questions)) if index not in known]
        fresh = self._workers.ask([questions[index] for index in missing])
        self._cache.put({questions[i]: verdict for i, verdict in zip(missing, fresh, strict=True)})
        known.update(zip(missing, fresh, strict=True))
        return [known[index] for index in range(len(questions))]


def partition(keys: Sequence[Iterable[Hashable]]) -> list[int]:
    """Label items that share a key, transitively (union-find).

    The labels are 0, 1, ... in order of first appearance.
    """
    parent = list(range(len(keys)))

    def root(item: int) -> int:
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    first_with: dict[Hashable, int] = {}
    for item, keys_of_item in enumerate(keys):
        for key in keys_of_item:
            parent[root(item)] = root(first_with.setdefault(key, item))
    labels: dict[int, int] = {}
    return [labels.setdefault(root(item), len(labels)) for item in range(len(keys))]
