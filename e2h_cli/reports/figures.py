"""The paper's figure: accuracy against the number of samples, one panel per group of problems."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from e2h_cli.reports.results import Metric
from e2h_cli.reports.style import drawn, save
from e2h_cli.reports.tables import MAIN_GROUPS, main_lines

# Colours of Okabe and Ito: told apart by colour-blind readers and in grey.
_STYLES = {
    "majority": ("Majority voting", "#0072B2", "o"),
    "weighted-voting": ("Weighted voting", "#D55E00", "s"),
    "best-of-n": ("Best-of-n", "#009E73", "^"),
}
_TITLES = {"easy": "Easy", "hard": "Hard", "all": "All"}


def accuracy_against_n(
    figures: Sequence[Metric], target: Path, *, max_level: int, note: str
) -> list[Path]:
    """Draw the curves with their intervals; write ``target`` as PNG and SVG, return both paths.

    Args:
        figures: drawn are majority, weighted voting and best-of-n, each with the first reward
            model and aggregation that it stands with.
        target: path without suffix.
        max_level: the last easy level, for the titles.
        note: a line under the panels: where the numbers come from.
    """
    from matplotlib.ticker import FixedLocator, NullLocator

    curves = _main_curves(main_lines(figures))
    groups = [g for g in MAIN_GROUPS if any(f.group == g for f in curves)]
    ks = sorted({f.k for f in curves})
    with drawn(len(groups), 2.9, 2.9) as (drawing, axes):
        for axis, group in zip(axes, groups, strict=True):
            for method, (name, colour, marker) in _STYLES.items():
                line = sorted(
                    (f for f in curves if f.group == group and f.method == method),
                    key=lambda f: f.k,
                )
                if not line:
                    continue
                x = [f.k for f in line]
                axis.fill_between(
                    x, [f.low for f in line], [f.high for f in line], color=colour, alpha=0.15, lw=0
                )
                axis.plot(
                    x,
                    [f.accuracy for f in line],
                    color=colour,
                    marker=marker,
                    ms=3.5,
                    lw=1.4,
                    label=name,
                )
            levels = {"easy": f" (levels 1-{max_level})", "hard": f" (levels {max_level + 1}+)"}
            axis.set_title(_TITLES[group] + levels.get(group, ""))
            axis.set_xscale("log", base=2)
            axis.xaxis.set_major_locator(FixedLocator(ks if len(ks) <= 7 else ks[::2]))
            axis.xaxis.set_minor_locator(NullLocator())
            axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axis.set_xlabel("N = number of solutions per problem")
            axis.grid(axis="y", color="0.9", lw=0.6)
            axis.set_axisbelow(True)
        axes[0].set_ylabel("Accuracy (%)")
        handles, labels = axes[0].get_legend_handles_labels()
        drawing.legend(
            handles, labels, loc="outside upper center", ncols=len(labels), frameon=False
        )
        return save(drawing, target, note)


def _main_curves(figures: Sequence[Metric]) -> list[Metric]:
    """The figures to draw: of each method the first generator and reward model."""
    first: dict[str, tuple[str, str, str]] = {}
    return [
        f
        for f in figures
        if f.method in _STYLES
        and f.group in MAIN_GROUPS
        and first.setdefault(f.method, (f.generator, f.reward, f.aggregate))
        == (f.generator, f.reward, f.aggregate)
    ]
