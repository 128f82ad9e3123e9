"""Grades pairs, groups equal answers and grades files, by one rule."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from e2h_cli.common.errors import InputError
from e2h_cli.common.files import atomic_file, json_line, read_jsonl
from e2h_cli.grading.grading_workers import WorkerPool
from e2h_cli.grading.verdict import Grader, Question, Rule, Verdict, VerdictCache

_ROWS_AT_ONCE = 4_096


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


def grade_file(source: Path, target: Path, grader: Grader) -> dict[str, int]:
    """Grade the rows of a JSON lines file; returns the number of rows with each verdict.

    Args:
        source: rows with ``gold`` and ``pred``, strings or numbers; ``pred`` is null for no answer.
        target: the same rows with ``verdict``, ``reason`` and ``ms`` added; written atomically.
        grader: the grading rule.

    Raises:
        InputError: for a missing file or an invalid row; it names the line.
    """
    counts: Counter[str] = Counter()
    with atomic_file(target) as output:
        for _, row, (verdict,) in _graded_rows(source, [grader]):
            counts[verdict.verdict] += 1
            row |= {"verdict": verdict.verdict, "reason": verdict.reason}
            output.write(json_line(row | {"ms": round(verdict.ms, 3)}))
    return dict(counts)


def compare_file(
    source: Path, first: Grader, second: Grader
) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """Grade the rows of a JSON lines file by two rules, as ``grade_file`` does by one.

    Returns:
        The numbers of rows by who calls them right and by who cannot read them, and the rows on
        which the rules differ: line number, gold, pred, and a verdict and reason per rule.
    """
    a, b = first.name, second.name
    sides = {(True, True): "both right", (True, False): f"only {a}", (False, True): f"only {b}"}
    counts = dict.fromkeys((*sides.values(), "neither"), 0)
    unread = {f"unreadable by {name}": 0 for name in (a, b)}
    differences = []
    for number, row, verdicts in _graded_rows(source, [first, second]):
        right = (verdicts[0].right, verdicts[1].right)
        counts[sides.get(right, "neither")] += 1
        for key, verdict in zip(unread, verdicts, strict=True):
            unread[key] += verdict.verdict not in ("right", "wrong")
        if right[0] != right[1]:
            said = {
                name: f"{verdict.verdict} ({verdict.reason})"
                for name, verdict in zip((a, b), verdicts, strict=True)
            }
            differences.append({"line": number, "gold": row["gold"], "pred": row["pred"]} | said)
    return counts | unread, differences


def _graded_rows(
    source: Path, graders: Sequence[Grader]
) -> Iterator[tuple[int, dict[str, Any], tuple[Verdict, ...]]]:
    """Line number, row, and the verdict of each grader."""
    rows = _pair_rows(source)
    while part := list(islice(rows, _ROWS_AT_ONCE)):
        pairs = [(_as_text(row["gold"]), _as_text(row["pred"])) for _, row in part]
        graded = [grader.grade(pairs) for grader in graders]
        for (number, row), *verdicts in zip(part, *graded, strict=True):
            yield number, row, tuple(verdicts)


def _pair_rows(source: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, row in read_jsonl(source):
        where = f"{source}:{number}"
        for key, allowed in (("gold", str | int | float), ("pred", str | int | float | None)):
            if key not in row:
                raise InputError(f"no '{key}'", where=where, hint="rows need 'gold' and 'pred'")
            if isinstance(row[key], bool) or not isinstance(row[key], allowed):
                raise InputError(f"'{key}' is neither a string nor a number", where=where)
        yield number, row


def _as_text(value: str | int | float | None) -> str:
    if value is None:
        return ""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)
