"""Many changed programs graded at once: do the rules of comparison agree, and does it hold?

    python -m benchmarks.program_mutants --mutants 10000

Changes the reference solutions of the tests' APPS-shaped problems and of tiny ones (operators,
comparisons, constants, ranges, conditions, names, results; statements are left out), one to three
changes each, and grades the mutants by all rules of comparison on one run of each. Prints how
many reference solutions pass, how often the rules
agree, what became of the tests, and the time. Mutants that could not be judged make it exit with 1.
"""

from __future__ import annotations

import argparse
import ast
import copy
import random
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import Any

from e2h_cli.data.apps import apps_tests
from e2h_cli.data.tiny_programs import program_problems
from e2h_cli.grading.programs import (
    COMPARISONS,
    ProgramGrader,
    ProgramJob,
    RunResult,
    get_program_grader,
)
from e2h_cli.grading.programs.program_grader import Runner
from tests.grading.programs.apps_problems import apps_problems

# A change of a copy of a program, at a node of it.
Change = Callable[[Any], None]

_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Mod, ast.Div, ast.Pow)
_COMPARISONS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)


class CountingRunner:
    """Passes jobs on, and counts what became of the tests."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.sandbox, self.limits = runner.sandbox, runner.limits
        self.statuses: Counter[str] = Counter()

    def run(self, jobs: Sequence[ProgramJob]) -> Iterator[tuple[int, tuple[RunResult, ...]]]:
        """The results of the runner."""
        for index, results in self._runner.run(jobs):
            self.statuses.update(result.status for result in results)
            yield index, results

    def close(self) -> None:
        """Close the runner."""
        self._runner.close()


def mutants(program: str, count: int, rng: random.Random) -> list[str]:
    """So many distinct changed programs, or fewer where there are no more, in random order."""
    original = ast.parse(program)
    made = {ast.unparse(original): None}
    for _ in range(8 * count):
        tree = copy.deepcopy(original)
        for _ in range(rng.choice((1, 1, 2, 3))):
            changes = list(_changes(tree, rng))
            rng.choice(changes)()
        made.setdefault(ast.unparse(ast.fix_missing_locations(tree)))
        if len(made) > count:
            break
    return list(made)[1:]


def _changes(tree: ast.Module, rng: random.Random) -> Iterator[Callable[[], None]]:
    """What can be changed in a program, in place."""
    names = sorted({node.id for node in ast.walk(tree) if isinstance(node, ast.Name)})
    for node in ast.walk(tree):
        for change in _changes_of(node, names, rng):
            yield lambda node=node, change=change: change(node)
        for field in ("body", "orelse"):
            statements = getattr(node, field, None)
            if isinstance(statements, list):
                for index in range(len(statements)):
                    yield lambda s=statements, i=index: s.__setitem__(i, ast.Pass())


def _changes_of(node: ast.AST, names: Sequence[str], rng: random.Random) -> Iterator[Change]:
    if isinstance(node, ast.BinOp | ast.AugAssign):
        yield lambda n: setattr(n, "op", rng.choice(_OPERATORS)())
    elif isinstance(node, ast.Compare):
        yield lambda n: setattr(n, "ops", [rng.choice(_COMPARISONS)(), *n.ops[1:]])
    elif isinstance(node, ast.BoolOp):
        yield lambda n: setattr(n, "op", ast.And() if isinstance(n.op, ast.Or) else ast.Or())
    elif isinstance(node, ast.Constant):
        yield lambda n: setattr(n, "value", _constant(n.value, rng))
    elif isinstance(node, ast.If | ast.While | ast.IfExp):
        yield lambda n: setattr(n, "test", ast.UnaryOp(ast.Not(), n.test))
    elif isinstance(node, ast.Return) and node.value is not None:
        yield lambda n: setattr(n, "value", ast.Constant(None))
        yield lambda n: setattr(n, "value", ast.List([n.value], ast.Load()))
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        yield lambda n: setattr(n, "id", rng.choice(names))
    elif isinstance(node, ast.Call) and node.args:
        if isinstance(node.func, ast.Name) and node.func.id == "range":
            yield lambda n: n.args.__setitem__(-1, _one_off(n.args[-1], rng))
        elif isinstance(node.func, ast.Name) and node.func.id == "print":
            yield lambda n: n.args.reverse()
            yield lambda n: setattr(n, "keywords", [ast.keyword("end", ast.Constant(" \n"))])
    elif isinstance(node, ast.Subscript) and not isinstance(node.slice, ast.Slice):
        yield lambda n: setattr(n, "slice", _one_off(n.slice, rng))


def _one_off(value: ast.expr, rng: random.Random) -> ast.expr:
    return ast.BinOp(value, rng.choice((ast.Add, ast.Sub))(), ast.Constant(1))


def _constant(value: object, rng: random.Random) -> object:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return rng.choice((value + 1, value - 1, -value, 0, 2 * value, value + 1e-7))
    if isinstance(value, str):
        return rng.choice((f"{value} ", value.swapcase(), value[1:], ""))
    return 0


def grade_mutants(grader: ProgramGrader, count: int, seed: int) -> list[list[Any]]:
    """The verdicts of each rule on so many mutants, spread over all problems."""
    rng = random.Random(f"mutants {seed}")
    # Short programs have few mutants, which the longer ones make up for.
    solved = sorted(solved_problems(), key=lambda pair: len(pair[1]))
    pairs: list[tuple[str, str]] = []
    for number, (tests, solution) in enumerate(solved):
        share = (count - len(pairs)) // (len(solved) - number)
        pairs += [(tests, mutant) for mutant in mutants(solution, share, rng)]
    return grader.grade_by(COMPARISONS, pairs)


def solved_problems() -> list[tuple[str, str]]:
    """Tests and reference solutions: of the tests' APPS-shaped problems, and of the tiny world."""
    made = [
        (apps_tests(problem.row(number)["input_output"]).text(), problem.solution)
        for number, problem in enumerate(apps_problems())
    ]
    tiny, _ = program_problems([20, 20, 20], [1], 0)
    return made + [(p.answer or "", p.solution or "") for p in tiny]


def main() -> None:
    """Grade, and print what came out."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mutants", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sandbox", default="auto")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--workers", type=int)
    options = parser.parse_args()
    made = get_program_grader(
        "apps", options.sandbox, seconds=options.seconds, workers=options.workers
    )
    counting = CountingRunner(made.runner)
    with ProgramGrader("apps", counting) as grader:
        right = grader.grade_by(COMPARISONS, solved_problems())
        passed = [sum(verdict.right for verdict in found) for found in right]
        print(f"reference solutions that pass, by rule: {passed} of {len(right[0])}")
        start = time.perf_counter()
        verdicts = grade_mutants(grader, options.mutants, options.seed)
        seconds = time.perf_counter() - start
    total = len(verdicts[0])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{grader.version}: {total:,} mutants in {seconds:.0f} s, {total / seconds:.1f}/s")
    print(f"peak memory of this process: {peak:.0f} MiB")
    print(f"tests: {dict(counting.statuses.most_common())}")
    for rule, found in zip(COMPARISONS, verdicts, strict=True):
        print(f"{rule}: {dict(Counter(v.verdict for v in found).most_common())}")
    for (a, first), (b, second) in combinations(zip(COMPARISONS, verdicts, strict=True), 2):
        sides = Counter((x.right, y.right) for x, y in zip(first, second, strict=True))
        agreed = (sides[True, True] + sides[False, False]) / total
        only = f"only {a} {sides[True, False]:,}, only {b} {sides[False, True]:,}"
        print(f"{a} and {b}: {100 * agreed:.2f} % agree; {only}")
    if any(v.verdict == "not judged" for v in verdicts[0]):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
