"""Families of wrong answers of which none is right: high powers, thousands, tuples, sets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2h_cli.grading import RuleGrader


def high_powers() -> Iterator[tuple[str, str]]:
    """A sum and the same sum without its low terms, in many spellings."""
    for n in (*range(1, 30), *range(30, 201, 10)):
        x = rf"x^{{{n}}}"
        for power in (
            x,
            f"3{x}",
            rf"\frac{{{x}}}{{2}}",
            rf"\pi {x}",
            rf"\left({x}\right)",
            f"{x}y",
        ):
            for low in ("1", "k", rf"\frac{{1}}{{x^{{{n}}}}}", r"\sqrt{2}", "(x-1)"):
                yield power, f"{power}+{low}"
        yield rf"z^{{{n}}}(4z+1)", rf"4z^{{{n + 1}}}"
        yield rf"1+(x/10)^{{{n}}}", "1"
        yield rf"x^{{{n}}}+(x-1)^{{{n}}}", rf"x^{{{n}}}"
        yield rf"10^{{{n}}}+\sqrt{{2}}", rf"10^{{{n}}}+\sqrt{{3}}"
        yield rf"y = x^{{{n}}}+1", rf"y = x^{{{n}}}"
        yield rf"\sqrt{{x^{{{n}}}+1}}", rf"\sqrt{{x^{{{n}}}}}"


def thousands() -> Iterator[tuple[str, str]]:
    """A number and what has the same digits with another meaning."""
    for n in (1_000, 10_000, 25_600, 100_000, 1_200_000, 115_000, 70_110):
        digits, grouped = str(n), f"{n:,}"
        parts = grouped.split(",")
        braced = grouped.replace(",", "{,}")
        for gold in (digits, grouped, braced):
            yield gold, digits[:-1]
            yield gold, f"{digits[:-2]}{{,}}{digits[-2:]}"
            yield gold, f"{digits[:-1]}{{,}}{digits[-1]}"
            yield gold, f"0,{digits[-3:]}"
            yield gold, f"0{{,}}{digits}"
            yield gold, f"({grouped})"[:-1] + ",0)"
            if any(int(part) < 100 for part in parts[1:]):
                yield gold, ", ".join(str(int(part)) for part in parts)
                yield gold, ", ".join(str(int(part)) for part in reversed(parts))
    yield "333", "0,333"
    yield "5100", r"5, \; 100"
    yield "5100", "5, 100"


def others() -> Iterator[tuple[str, str]]:
    for interval in ("[-2,7]", "(0,1)", r"[1,\infty)"):
        yield rf"-x \in {interval}", rf"x \in {interval}"
        yield rf"2x \in {interval}", interval
        yield interval, rf"-x \in {interval}"
    for gold in ("75", "-5", r"\frac{1}{2}", "x"):
        for repeated in (f"{gold},{gold}", f"{gold}^\\circ, {gold}^\\circ", f"{gold} and {gold}"):
            yield gold, repeated
            yield repeated, gold
    yield "1,2", "1,1,2"
    yield "204_5", "204_"
    yield r"\frac{1}{3}", "0.3333"
    yield r"(\frac{1}{3},1)", "(0.33,1)"


@pytest.mark.parametrize("family", [high_powers, thousands, others])
def test_no_wrong_answer_is_right(e2h: RuleGrader, family: object) -> None:
    pairs = [pair for pair in family() if pair[0] != pair[1]]  # type: ignore[operator]
    both = pairs + [(answer, gold) for gold, answer in pairs]
    false = [p for p, v in zip(both, e2h.grade(both), strict=True) if v.right]
    assert false == []


def test_equal_answers_with_high_powers_are_right(e2h: RuleGrader) -> None:
    pairs = [
        pair
        for n in (2, 7, 30, 100, 200)
        for pair in (
            (rf"x^{{{n}}}+1", rf"1+x^{{{n}}}"),
            (rf"x^{{{2 * n}}}-1", rf"(x^{{{n}}}-1)(x^{{{n}}}+1)"),
            (rf"\sqrt{{2}}x^{{{n}}}+1", rf"1+\frac{{2}}{{\sqrt{{2}}}}x^{{{n}}}"),
        )
    ]
    assert [p for p, v in zip(pairs, e2h.grade(pairs), strict=True) if not v.right] == []


def test_a_comma_is_decimal_in_the_answer_only(e2h: RuleGrader) -> None:
    pairs = [("3.5", "3,5"), ("3.5", "3{,}5"), ("3,5", "3.5"), ("1000", "1,00"), ("35", "3,5")]
    assert [verdict.right for verdict in e2h.grade(pairs)] == [True, True, False, False, False]
