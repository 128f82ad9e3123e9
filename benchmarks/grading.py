"""Speed of grading and of voting classes, against math-verify used with care.

    python benchmarks/grading.py --problems 500 --samples 1024

Makes problems with a few hundred distinct answers each, as samples of a model look: a few common
answers and a long tail, of integers, fractions, decimals, radicals, polynomials, tuples and
words, some in another spelling than the gold answer. Grades all of them through ``get_grader``
in one go per problem. The baseline gets some of these problems: math-verify parses each text once
and verifies each distinct pair of gold answer and answer once. Prints samples per second of both.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence

from e2h_cli.grading import RULES, get_grader

TARGET = 20


def _integer(r: random.Random) -> list[str]:
    n = r.randint(-2_000, 20_000)
    return [f"{n}", f"{n}.0", f"x = {n}", rf"{n}\text{{ cm}}", f"{n:,}"]


def _fraction(r: random.Random) -> list[str]:
    a, b = r.randint(1, 60), r.randint(2, 60)
    return [rf"\frac{{{a}}}{{{b}}}", f"{a}/{b}", rf"\dfrac{{{2 * a}}}{{{2 * b}}}", f"{a / b:.3f}"]


def _radical(r: random.Random) -> list[str]:
    a, b, c = r.randint(2, 30), r.randint(2, 40), r.randint(1, 50)
    return [rf"{a}\sqrt{{{b}}} + {c}", rf"{c}+{a}\sqrt{{{b}}}", rf"\sqrt{{{a * a * b}}}+{c}"]


def _polynomial(r: random.Random) -> list[str]:
    a, b = r.randint(1, 20), r.randint(1, 20)
    return [f"x^2+{a + b}x+{a * b}", f"(x+{a})(x+{b})", f"{a * b}+{a + b}x+x^2"]


def _pair(r: random.Random) -> list[str]:
    a, b = r.randint(-30, 30), r.randint(1, 30)
    return [
        f"({a},{b})",
        rf"\left( {a}, {b} \right)",
        rf"[{a},{b})",
        rf"(-\infty,{a})\cup({b},\infty)",
    ]


def _word(r: random.Random) -> list[str]:
    word = r.choice(["Monday", "Friday", "east", "none", "ellipse", "no solution"])
    return [word, rf"\text{{{word}}}", "I am not sure about the answer"]


def _broken(r: random.Random) -> list[str]:
    n = r.randint(1, 99)
    return [rf"\frac{{{n}}}{{", rf"{n} \le f({n}) \to x", rf"\lim_{{x \to {n}}}"]


_MAKERS = [_integer, _integer, _integer, _fraction, _fraction, _radical, _polynomial, _pair, _word]


def problem(r: random.Random, samples: int) -> tuple[str, list[str]]:
    """A gold answer and the answers of so many samples."""
    maker = r.choice(_MAKERS)
    gold = maker(r)
    distinct = list(gold)
    for _ in range(r.randint(100, 300) - len(distinct)):
        source = maker if r.random() < 0.7 else r.choice(_MAKERS)
        distinct.append(r.choice(source(r)))
    distinct += [r.choice(_broken(r)) for _ in range(2)]
    weights = [1 / (rank + 1) for rank in range(len(distinct))]
    return gold[0], distinct[:2] * 2 + r.choices(distinct, weights, k=samples - 4)


def plain_rate(problems: Sequence[tuple[str, list[str]]]) -> float:
    """Samples per second of math-verify alone: no text parsed twice, no pair verified twice."""
    from math_verify import parse, verify

    parse("$1$")
    start = time.perf_counter()
    texts = {text for gold, answers in problems for text in (gold, *answers)}
    parsed = {text: parse(f"${text}$") for text in texts}
    for gold, answer in {(gold, answer) for gold, answers in problems for answer in answers}:
        verify(parsed[gold], parsed[answer])
    return sum(len(answers) for _, answers in problems) / (time.perf_counter() - start)


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=50, help="number of problems")
    parser.add_argument("--samples", type=int, default=1024, help="samples per problem")
    parser.add_argument("--plain", type=int, default=5, help="problems given to math-verify alone")
    parser.add_argument("--rule", choices=sorted(RULES), default="e2h")
    parser.add_argument("--workers", type=int, default=1, help="worker processes")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    r = random.Random(options.seed)
    batches = [problem(r, options.samples) for _ in range(options.problems)]
    total = sum(len(answers) for _, answers in batches)
    pairs = [(gold, answer) for gold, answers in batches for answer in answers]
    distinct = len(set(pairs)) / len(batches)

    with get_grader(options.rule, workers=options.workers) as grader:
        start = time.perf_counter()
        verdicts = grader.grade(pairs)
        graded = time.perf_counter() - start
        asked = {
            pair
            for pair, verdict in zip(pairs, verdicts, strict=True)
            if verdict.reason.startswith(("math-verify", "sympy"))
        }
        right = sum(verdict.right for verdict in verdicts) / total
        start = time.perf_counter()
        for _, answers in batches:
            grader.classes(answers)
        warm = (time.perf_counter() - start) / len(batches) * 1000
    with get_grader(options.rule, workers=options.workers) as grader:
        fresh = random.Random(options.seed + 1)
        others = [problem(fresh, options.samples)[1] for _ in range(min(20, options.problems))]
        grader.classes([r"\lim_{x \to 1}", r"\lim_{1 \to x}"])  # starts the worker
        start = time.perf_counter()
        for answers in others:
            grader.classes(answers)
        cold = (time.perf_counter() - start) / len(others) * 1000
    plain = plain_rate(r.sample(batches, min(options.plain, len(batches))))
    ratio = total / graded / plain

    print(f"rule {grader.name}, version {grader.version}")
    print(
        f"{len(batches)} problems, {total:,} samples, {distinct:.0f} distinct answers per problem"
    )
    print(f"right: {right:.1%}; distinct pairs that went to a worker: {len(asked):,}")
    print(f"e2h:         {total / graded:12,.0f} samples/s ({graded:.2f} s in all)")
    print(f"math-verify: {plain:12,.0f} samples/s, each text and pair once")
    short = "" if ratio >= TARGET else "   BELOW TARGET"
    print(f"ratio:       {ratio:12,.0f} (target {TARGET}){short}")
    print(f"classes:     {cold:12.1f} ms per problem ({warm:.1f} ms after grading it)")


if __name__ == "__main__":
    main()
