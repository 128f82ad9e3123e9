"""How often intervals hold the truth, and how often tests err: exactly, or by simulation.

python -m benchmarks.interval_coverage [--repeats 4000] [--others]

Prints, as Markdown: coverage of the 95 % intervals of means, and of differences; the share of
p-values at or below 0.05 where two methods are equally good. ``--others`` adds the percentile and
the BCa bootstrap of scipy (500 repeats, 1,000 resamples).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import numpy as np
from scipy import optimize, stats

from e2h_cli.evaluation.statistics import Floats, compare, mean_interval

MEANS = (0.12, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99, 0.995)
SIZES = (40, 120, 200, 500)
# The smallest group that gets a p-value, and level 1 of MATH500.
TESTED_SIZES = (20, 43, 120, 200, 500)
CONFIDENCE = 0.95
_OTHER_REPEATS, _OTHER_DRAWS = 500, 1000

# Values of a problem, and the share of problems with each.
Population = tuple[Floats, Floats]


def _tilted(values: Floats, shares: Floats, mean: float) -> Population:
    """The same values, their shares tilted exponentially so that they have this mean."""

    def weights(slope: float) -> Floats:
        tilted = shares * np.exp(slope * (values - values.max() * (slope > 0)))
        return tilted / tilted.sum()

    slope = optimize.brentq(lambda s: weights(s) @ values - mean, -300, 300)
    return values, weights(slope)


_GRID = np.linspace(0, 1, 65)
# Before they are tilted. Votes over a part of the samples: most problems are at 0 or 1.
_ACCURACIES: dict[str, Population] = {
    "0 or 1": (np.array([0.0, 1.0]), np.array([0.5, 0.5])),
    "votes": (_GRID, np.where(_GRID % 1 == 0, 0.4, 0.2 / 63)),
    "single samples": (_GRID, 1 / (_GRID * (1 - _GRID) + 0.02) ** 0.7),
}


def accuracies(kind: str, mean: float) -> Population:
    """Accuracy per problem of one method, with this mean over all problems."""
    return _tilted(*_ACCURACIES[kind], mean)


def right_or_wrong(won: float, lost: float) -> Population:
    """Differences of 0/1 accuracies: shares of problems that only one of two methods solves."""
    return np.array([1.0, 0.0, -1.0]), np.array([won, 1 - won - lost, lost])


# Differences of two methods of equal accuracy, as between votes, or a vote and best-of-n.
EQUAL: dict[str, Population] = {
    "0/1, 2 % of the problems differ": right_or_wrong(0.01, 0.01),
    "0/1, 10 % differ": right_or_wrong(0.05, 0.05),
    "0/1, 40 % differ": right_or_wrong(0.2, 0.2),
    "many small losses, some gains (skewness 2)": _tilted(
        np.concatenate([np.linspace(-0.2, 0, 21), np.linspace(0.05, 1, 20)]),
        np.concatenate([np.full(20, 0.02), [0.5], np.full(20, 0.005)]),
        0.0,
    ),
    "90 % gain 0.09, 10 % lose 0.8 (skewness -2.7)": (
        np.array([0.8 / 9, -0.8]),
        np.array([0.9, 0.1]),
    ),
    "half equal, 5 % lose 0.8 (skewness -3.8)": (
        np.array([0.8 / 9, 0.0, -0.8]),
        np.array([0.45, 0.5, 0.05]),
    ),
}
# Shares won and lost.
DIFFERENT = ((0.02, 0.0), (0.1, 0.0), (0.05, 0.01), (0.2, 0.05), (0.4, 0.05), (0.9, 0.0))


def exact_coverage(mean: float, size: int) -> float:
    """Probability that the interval of 0/1 values holds their mean, summed over all counts."""
    total = 0.0
    for count in range(size + 1):
        low, high = mean_interval((np.arange(size) < count) * 1.0, CONFIDENCE)
        total += stats.binom.pmf(count, size, mean) * (low <= mean <= high)
    return float(total)


def drawn(population: Population, size: int, repeats: int, seed: int) -> Floats:
    """(repeats, size) values of the population."""
    values, shares = population
    picked = np.random.default_rng(seed).choice(len(values), size=(repeats, size), p=shares)
    return values[picked]


def mean_coverage(population: Population, size: int, repeats: int, seed: int = 0) -> float:
    """Share of intervals that hold the mean."""
    mean = float(population[0] @ population[1])
    samples = drawn(population, size, repeats, seed)
    intervals = [mean_interval(values, CONFIDENCE) for values in samples]
    return float(np.mean([low <= mean <= high for low, high in intervals]))


def paired(population: Population, size: int, repeats: int, seed: int = 0) -> tuple[float, float]:
    """Share of intervals that hold the difference, and of p-values of at most 0.05."""
    mean = float(population[0] @ population[1])
    none = np.zeros(size)
    tests = [compare(d, none, CONFIDENCE) for d in drawn(population, size, repeats, seed)]
    held = np.mean([t.low <= mean + 1e-12 and mean - 1e-12 <= t.high for t in tests])
    return float(held), float(np.mean([t.p <= 0.05 for t in tests]))


def bootstrap_coverage(population: Population, size: int, method: str) -> float:
    """Share of bootstrap intervals that hold the mean; ``method`` as in ``scipy.stats``."""
    mean = float(population[0] @ population[1])
    held = 0
    for values in drawn(population, size, _OTHER_REPEATS, 0):
        if np.ptp(values) == 0:  # no spread: the interval is one point
            held += abs(values[0] - mean) < 1e-12
            continue
        found = stats.bootstrap(
            (values,), np.mean, n_resamples=_OTHER_DRAWS, method=method, rng=0, axis=0
        ).confidence_interval
        held += found.low <= mean <= found.high
    return held / _OTHER_REPEATS


def print_table(
    title: str, columns: Sequence[object], rows: Sequence[tuple[str, Callable[[int], float]]]
) -> None:
    """A row per name, a column per index of ``columns``, in percent."""
    print(f"\n{title}\n\n| | {' | '.join(map(str, columns))} |\n| ---{' | ---' * len(columns)} |")
    for name, share in rows:
        cells = " | ".join(f"{100 * share(i):.1f}" for i in range(len(columns)))
        print(f"| {name} | {cells} |", flush=True)


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=4000, help="simulated data sets per number")
    parser.add_argument("--others", action="store_true", help="bootstrap intervals as well")
    options = parser.parse_args()
    repeats = options.repeats
    rows: list[tuple[str, Callable[[int], float]]] = [
        (f"0 or 1, n = {n}", lambda i, n=n: exact_coverage(MEANS[i], n)) for n in SIZES
    ]
    for kind in ("votes", "single samples"):
        rows += [
            (
                f"{kind}, n = {n}",
                lambda i, kind=kind, n=n: mean_coverage(accuracies(kind, MEANS[i]), n, repeats),
            )
            for n in SIZES
        ]
    print_table("Coverage of the interval of a mean, by the mean", MEANS, rows)
    for method in ("percentile", "BCa") if options.others else ():
        rows = [
            (
                f"{kind}, n = {n}",
                lambda i, kind=kind, n=n, method=method: bootstrap_coverage(
                    accuracies(kind, MEANS[i]), n, method
                ),
            )
            for kind in ("0 or 1", "votes")
            for n in SIZES
        ]
        print_table(f"Coverage of the {method} bootstrap, by the mean", MEANS, rows)
    rows = [
        (
            f"n = {n}",
            lambda i, n=n: paired(right_or_wrong(*DIFFERENT[i]), n, repeats)[0],
        )
        for n in SIZES
    ]
    names = [f"{won:.0%} won, {lost:.0%} lost" for won, lost in DIFFERENT]
    print_table("Coverage of the interval of a difference of 0/1 values", names, rows)
    results = {(name, n): paired(EQUAL[name], n, repeats) for name in EQUAL for n in TESTED_SIZES}
    for title, part in (("Coverage at no difference", 0), ("p <= 0.05 at no difference", 1)):
        rows = [
            (name, lambda i, name=name, part=part: results[name, TESTED_SIZES[i]][part])
            for name in EQUAL
        ]
        print_table(title, [f"n = {n}" for n in TESTED_SIZES], rows)


if __name__ == "__main__":
    main()
