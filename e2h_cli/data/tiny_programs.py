"""Tiny programs: made-up tasks on lists of digits, right programs and programs with mistakes.

A task is a chain of named operations on a list ``x``, for example
``a: raise by 3; b: drop the last 2; c: reverse``. Its program is a Python function with a comment
and a line of code per operation:

    def f(x):
        # a: raise by 3
        x = [min(v + 3, 9) for v in x]
        # b: drop the last 2
        x = x[:-2]
        # c: reverse
        x = x[::-1]
        return x

Levels 1, 2 and 3 (the paper's Introductory, Interview and Competition) have 2-3, 4-5 and 6-8
operations. A model of half a million parameters learns it on a CPU.

A careless author reads the neighbour of an operation, "add 3" for "raise by 3": now and then early
in a program, and late nearly always for some operations. So mistakes in long programs are
systematic, but what tells a right line from a wrong one is learned from short programs. The
settings were chosen while looking at the accuracy on levels 2 and 3 for seed 0.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from e2h_cli.common.errors import InputError
from e2h_cli.data import template
from e2h_cli.data.problem import Problem
from e2h_cli.data.program_tests import ProgramTests

FUNCTION = "f"
LENGTHS_BY_LEVEL = {1: (2, 3), 2: (4, 5), 3: (6, 8)}
_NAMES = "abcdefgh"  # one per operation

# Mistakes in the programs of the pre-training corpus.
CARELESS = 0.30  # share of programs that are careless in the first operations
EARLY_OPERATIONS = 3  # in each operation after them carelessness is drawn anew:
CARELESS_LATE = 0.80  # chance for the operations of ``HARD_LATE``, else CARELESS
SLIP = 0.03  # chance of a random other operation or digit, in any line

TESTS = 8
PUBLIC_TESTS = 3


@dataclass(frozen=True, slots=True)
class Operation:
    """One line of a program: its words in the task, its code, and its effect on a list of digits.

    ``{d}`` stands for the digit, one of ``digits``.
    """

    words: str
    code: str
    apply: Callable[[list[int], int], list[int]]
    subject: str
    digits: Sequence[int] = ()


# fmt: off
OPERATIONS = {
    "add": Operation(
        "add {d}", "[(v + {d}) % 10 for v in x]",
        lambda x, d: [(v + d) % 10 for v in x], "arithmetic", (1, 2, 3)),
    "subtract": Operation(
        "subtract {d}", "[(v - {d}) % 10 for v in x]",
        lambda x, d: [(v - d) % 10 for v in x], "arithmetic", (1, 2, 3)),
    "raise": Operation(
        "raise by {d}", "[min(v + {d}, 9) for v in x]",
        lambda x, d: [min(v + d, 9) for v in x], "arithmetic", (1, 2, 3)),
    "lower": Operation(
        "lower by {d}", "[max(v - {d}, 0) for v in x]",
        lambda x, d: [max(v - d, 0) for v in x], "arithmetic", (1, 2, 3)),
    "multiply": Operation(
        "multiply by {d}", "[v * {d} % 10 for v in x]",
        lambda x, d: [v * d % 10 for v in x], "arithmetic", (3, 7, 9)),
    "drop first": Operation(
        "drop the first {d}", "x[{d}:]", lambda x, d: x[d:], "selection", (1, 2)),
    "drop last": Operation(
        "drop the last {d}", "x[:-{d}]", lambda x, d: x[:-d], "selection", (1, 2)),
    "keep from": Operation(
        "keep from {d}", "[v for v in x if v >= {d}]",
        lambda x, d: [v for v in x if v >= d], "selection", (1, 2, 3)),
    "keep above": Operation(
        "keep above {d}", "[v for v in x if v > {d}]",
        lambda x, d: [v for v in x if v > d], "selection", (1, 2, 3)),
    "append": Operation(
        "append {d}", "x + [{d}]", lambda x, d: [*x, d], "order", range(1, 9)),
    "prepend": Operation(
        "prepend {d}", "[{d}] + x", lambda x, d: [d, *x], "order", range(1, 9)),
    "reverse": Operation("reverse", "x[::-1]", lambda x, d: x[::-1], "order"),
}
# fmt: on

# What a careless author reads instead.
NEIGHBOURS = {
    "raise": "add",
    "lower": "subtract",
    "drop last": "drop first",
    "keep above": "keep from",
    "prepend": "append",
}
HARD_LATE = ("raise", "lower", "prepend")


@dataclass(frozen=True, slots=True)
class Task:
    """A task, or what an author made of it: (name of an operation, its digit or 0), in order."""

    operations: tuple[tuple[str, int], ...]

    @property
    def question(self) -> str:
        """The text of the problem: ``a: raise by 3; b: reverse``."""
        named = zip(_NAMES, self.operations, strict=False)
        return "; ".join(f"{x}: {OPERATIONS[key].words.format(d=d)}" for x, (key, d) in named)

    @property
    def program(self) -> str:
        """The program that does these operations. Its comments say what the author read."""
        lines = [f"def {FUNCTION}(x):"]
        for name, (key, digit) in zip(_NAMES, self.operations, strict=False):
            operation = OPERATIONS[key]
            lines.append(f"    # {name}: {operation.words.format(d=digit)}")
            lines.append(f"    x = {operation.code.format(d=digit)}")
        return "\n".join([*lines, "    return x"])

    @property
    def subject(self) -> str:
        """The most frequent subject of its operations; of equal ones the first."""
        return Counter(OPERATIONS[key].subject for key, _ in self.operations).most_common(1)[0][0]

    def run(self, x: list[int]) -> list[int]:
        """The result of the program."""
        for key, digit in self.operations:
            x = OPERATIONS[key].apply(x, digit)
        return x

    def with_operation(self, index: int, key: str, digit: int) -> Task:
        """A copy with another operation at ``index``."""
        before, after = self.operations[:index], self.operations[index + 1 :]
        return Task((*before, (key, digit), *after))


def draw(level: int, rng: random.Random) -> Task:
    """Draw a task of a level: half of its operations have a neighbour, rounded up."""
    count = rng.randint(*LENGTHS_BY_LEVEL[level])
    confusable = list(NEIGHBOURS)
    others = [key for key in OPERATIONS if key not in NEIGHBOURS]
    keys = [rng.choice(confusable if i % 2 == 0 else others) for i in range(count)]
    rng.shuffle(keys)
    return Task(tuple((key, _digit(key, rng)) for key in keys))


def _digit(key: str, rng: random.Random) -> int:
    digits = OPERATIONS[key].digits
    return rng.choice(digits) if digits else 0


def solve_like_a_human(task: Task, rng: random.Random) -> Task:
    """What an author who makes mistakes writes: ``.program`` is its text."""
    careless, written = rng.random() < CARELESS, []
    for i, (key, digit) in enumerate(task.operations):
        if i >= EARLY_OPERATIONS:
            careless = rng.random() < (CARELESS_LATE if key in HARD_LATE else CARELESS)
        if careless:
            key = NEIGHBOURS.get(key, key)
        if rng.random() < SLIP:
            if rng.random() < 0.5:
                key = rng.choice(list(OPERATIONS))
            digit = _digit(key, rng)
        written.append((key, digit))
    return Task(tuple(written))


def tests(task: Task) -> ProgramTests:
    """The tests of a task, the same for the same question: lists of 2 to 7 digits."""
    rng = random.Random(f"tests {task.question}")
    lists = [[rng.randint(0, 9) for _ in range(rng.randint(2, 7))] for _ in range(TESTS)]
    return ProgramTests(
        tuple(json.dumps([x]) for x in lists),
        tuple(json.dumps(task.run(x)) for x in lists),
        FUNCTION,
    )


def mistakes_show(task: Task) -> bool:
    """Whether every operation that is written as its neighbour fails a test."""
    asked = tests(task)
    lists = [json.loads(arguments)[0] for arguments in asked.inputs]
    wrong = [
        task.with_operation(i, NEIGHBOURS[key], digit)
        for i, (key, digit) in enumerate(task.operations)
        if key in NEIGHBOURS
    ]
    right = [task.run(x) for x in lists]
    return all([other.run(x) for x in lists] != right for other in wrong)


def distinct(
    levels: dict[int, int], rng: random.Random, taken: set[str]
) -> Iterator[tuple[int, Task]]:
    """Yield ``levels[level]`` tasks of each level whose mistakes show.

    No question twice or in ``taken``, to which they are added. Raises ValueError where a level has
    too few tasks.
    """
    for level, count in levels.items():
        misses = 0
        while count > 0:
            task = draw(level, rng)
            if task.question not in taken and mistakes_show(task):
                taken.add(task.question)
                misses, count = 0, count - 1
                yield level, task
            elif (misses := misses + 1) > 1000:
                raise ValueError(f"level {level} has no {count} further distinct problems")


def program_problems(
    train_counts: Sequence[int], test_counts: Sequence[int], seed: int
) -> tuple[list[Problem], list[Problem]]:
    """Draw (train, test) problems; counts are per level, from level 1.

    Raises InputError where a level does not exist or has too few problems.
    """
    rng = random.Random(f"programs {seed}")
    taken: set[str] = set()
    parts = []
    for part, counts in (("test", test_counts), ("train", train_counts)):
        if len(counts) > len(LENGTHS_BY_LEVEL):
            has = f"{part}_counts has {len(counts)} numbers"
            raise InputError(f"{has}; programs have levels 1 to {len(LENGTHS_BY_LEVEL)}")
        try:
            drawn = list(distinct(dict(enumerate(counts, 1)), rng, taken))
        except ValueError as error:
            raise InputError(str(error), where=f"{part}_counts", hint="ask for fewer") from error
        parts.append([_problem(f"programs/{part}/{i}", *task) for i, task in enumerate(drawn)])
    return parts[1], parts[0]


def _problem(key: str, level: int, task: Task) -> Problem:
    asked = tests(task)
    public = replace(asked, inputs=asked.inputs[:PUBLIC_TESTS], outputs=())
    return Problem(
        key,
        task.question,
        level,
        task.subject,
        "programs",
        answer=asked.text(),
        solution=task.program,
        public_tests=public.text(),
    )


def corpus(count: int, held_out: set[str], rng: random.Random) -> list[tuple[str, str]]:
    """(prompt, program) of random tasks of all levels, without held-out questions.

    The authors make mistakes, so that the base model makes some, too.
    """
    documents: list[tuple[str, str]] = []
    levels = list(LENGTHS_BY_LEVEL)
    while len(documents) < count:
        task = draw(rng.choice(levels), rng)
        if task.question not in held_out:
            written = solve_like_a_human(task, rng)
            documents.append((template.prompt(task.question), written.program))
    return documents


def pieces() -> list[str]:
    """All pieces of the texts of this world: words between digits, code between names and digits.

    With one token per piece, comment and code of an operation are 4 to 7 tokens.
    """
    texts = ["; ", f"def {FUNCTION}(x):", "\n    # ", "\n    return x", *_NAMES, *"0123456789"]
    for operation in OPERATIONS.values():
        texts += f": {operation.words}".split("{d}")
        texts += f"\n    x = {operation.code}".split("{d}")
    return sorted({text for text in texts if text})
