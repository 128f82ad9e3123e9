"""Chain arithmetic: made-up problems with levels, right solutions and solutions with mistakes.

A problem is a start digit and a chain of operations on it modulo 10, for example
``a3 b+4 c*7 d-2``; each step of the solution does one of them: ``b=3+4=7``, ``c=7*7=9``,
``d=9-2=7``. Levels 1 to 5 have 2, 3, 4, 6 and 8 operations. A model of under a million parameters
learns it on a CPU. Mistakes in long chains are systematic: majority voting cannot correct them, but
a process reward model trained on short chains can.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

OPERATIONS_BY_LEVEL = {1: 2, 2: 3, 3: 4, 4: 6, 5: 8}
_LETTERS = "bcdefghi"

# Mistakes in the solutions of the pre-training corpus. A careless author reads "*" as "+".
CARELESS = 0.30  # share of solutions that are careless in the first operations
EARLY_OPERATIONS = 4  # in each operation after them carelessness is drawn anew:
CARELESS_LATE = 0.90  # chance if the factor is large, else CARELESS
LARGE_FACTOR = 3
SLIP = 0.05  # chance of a random wrong result, in any step


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain problem: ``start`` digit and ``operations`` (sign, digit)."""

    start: int
    operations: tuple[tuple[str, int], ...]

    @property
    def question(self) -> str:
        """The text of the problem: ``a3 b+4 c*7``."""
        named = zip(_LETTERS, self.operations, strict=False)
        return " ".join([f"a{self.start}", *(f"{name}{s}{d}" for name, (s, d) in named)])

    @property
    def subject(self) -> str:
        """Whether sums or differences are more frequent; products do not count."""
        signs = [sign for sign, _ in self.operations]
        return f"mostly {'sums' if signs.count('+') >= signs.count('-') else 'differences'}"


def parse(question: str) -> Chain:
    """Parse a question. Raises ValueError where the text is not a chain."""
    head, *rest = question.split()
    if len(head) != 2 or head[0] != "a" or not all(len(part) == 3 for part in rest):
        raise ValueError(f"not a chain of operations: {question!r}")
    return Chain(int(head[1]), tuple((part[1], int(part[2])) for part in rest))


def draw(level: int, rng: random.Random) -> Chain:
    """Draw a problem of a level: half of its operations are products, at least one."""
    count = OPERATIONS_BY_LEVEL[level]
    signs = ["*"] * max(1, count // 2)
    signs += [rng.choice("+-") for _ in range(count - len(signs))]
    rng.shuffle(signs)
    operations = tuple((sign, rng.randint(2, 6)) for sign in signs)
    return Chain(rng.randint(0, 9), operations)


def solve(
    chain: Chain, read: Sequence[str] | None = None, slips: Sequence[int] | None = None
) -> tuple[list[str], str]:
    """Steps and answer: right, unless sign i is read as ``read[i]``, or ``slips[i]`` is added."""
    value, steps = chain.start, []
    for i, (sign, digit) in enumerate(chain.operations):
        sign = read[i] if read else sign
        result = {"+": value + digit, "-": value - digit, "*": value * digit}[sign]
        result = (result + (slips[i] if slips else 0)) % 10
        steps.append(f"{_LETTERS[i]}={value}{sign}{digit}={result}")
        value = result
    return steps, str(value)


def solve_like_a_human(chain: Chain, rng: random.Random) -> tuple[list[str], str]:
    """Steps and answer of an author who makes mistakes, which propagate to the end."""
    careless = rng.random() < CARELESS
    read, slips = [], []
    for i, (sign, digit) in enumerate(chain.operations):
        if i >= EARLY_OPERATIONS:
            careless = rng.random() < (CARELESS_LATE if digit >= LARGE_FACTOR else CARELESS)
        read.append("+" if careless and sign == "*" else sign)
        slips.append(rng.randint(1, 9) if rng.random() < SLIP else 0)
    return solve(chain, read, slips)


def check_steps(question: str, steps: list[str]) -> list[bool]:
    """Whether each step equals the right step at its position; a step too many is wrong."""
    truth, _ = solve(parse(question))
    return [i < len(truth) and step == truth[i] for i, step in enumerate(steps)]


def distinct(
    levels: dict[int, int], rng: random.Random, taken: set[str]
) -> Iterator[tuple[int, Chain]]:
    """Yield ``levels[level]`` problems of each level, no question twice or in ``taken``.

    Adds the questions to ``taken``. Raises ValueError where a level has too few problems.
    """
    for level, count in levels.items():
        misses = 0
        while count > 0:
            chain = draw(level, rng)
            if chain.question not in taken:
                taken.add(chain.question)
                misses, count = 0, count - 1
                yield level, chain
            elif (misses := misses + 1) > 1000:
                raise ValueError(f"level {level} has no {count} further distinct problems")
