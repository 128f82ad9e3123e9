"""What the figures show: lines, looks, legends, ticks and bars."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from e2h_cli.common.errors import InputError
from e2h_cli.reports.figure_style import LOOKS
from e2h_cli.reports.panels import Line, Panel, plot_bars, plot_panels, plot_roc

NS = [2**i for i in range(11)]
TEXTS = {"x_label": "N", "y_label": "Accuracy (%)", "note": "tiny scale"}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures that are drawn, not written: each twice, as PNG and as SVG."""
    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: figures.append(self))
    return figures


def rising(name: str, first: float = 10, **paper: Any) -> Line:
    y = [first + i for i in range(11)]
    return Line(name, NS, y, [v - 1 for v in y], [v + 1 for v in y], **paper)


def texts(labels: Any) -> list[str]:
    return [label.get_text() for label in labels]


def x_labels(axis: Any) -> list[str]:
    return texts(axis.get_xticklabels())


def dashed(axis: Any) -> list[Line2D]:
    return [line for line in axis.lines if line.get_linestyle() == "--"]


def test_grid_of_panels_with_the_papers_curves(drawn: list[Figure]) -> None:
    """One legend entry per name, the paper's curves dashed in the colour of ours."""
    theirs = {"paper_x": NS, "paper_y": [30.0] * 11}
    full = [rising("Majority voting", **theirs), rising("Best-of-n")]
    only_paper = [Line("Best-of-n", [], [], paper_x=NS, paper_y=NS)]
    rows = [
        [Panel(t, full) for t in ("Easy", "Hard", "All")],
        [Panel("Easy", full), Panel("Subject", only_paper)],
    ]
    plot_panels(
        rows, Path("x"), paper_label="Paper, Figure 4", row_titles=["7b", "34b"], **TEXTS
    )  # fmt: skip
    figure = drawn[0]
    (legend,) = figure.legends
    assert texts(legend.texts) == ["Majority voting", "Best-of-n", "Paper, Figure 4"]
    assert legend.get_lines()[2].get_linestyle() == "--"
    axes = [a for a in figure.axes if a.get_visible()]
    assert len(figure.axes) == 6
    assert len(axes) == 5
    assert [len(dashed(a)) for a in axes] == [1, 1, 1, 1, 1]
    looks = {
        (line.get_color(), line.get_marker()) for a in axes for line in a.lines
    }  # fmt: skip
    assert looks == {("#0072B2", "o"), ("#0072B2", "None"), ("#009E73", "^"), ("#009E73", "None")}
    # A title stands once above its column; a row has its title at the left.
    assert [a.get_title() for a in axes] == ["Easy", "Hard", "All", "", "Subject"]
    assert [a.get_ylabel() for a in axes] == ["7b", "", "", "34b", ""]
    below = [a.xaxis.get_tick_params()["labelbottom"] for a in axes]
    assert below == [False, False, True, True, True]
    assert x_labels(axes[2]) == ["1", "4", "16", "64", "256", "1024"]


@pytest.mark.parametrize(
    ("panels", "shape", "labels"),
    [(5, (1, 5), ["1", "32", "1024"]), (7, (2, 4), ["1", "4", "16", "64", "256", "1024"])],
)
def test_long_rows(
    drawn: list[Figure], panels: int, shape: tuple[int, int], labels: list[str]
) -> None:
    """Over five panels go on in the next line, and no label stands over another."""
    row = [Panel("Counting & Probability", [rising("a")]) for _ in range(panels)]
    plot_panels([row], Path("x"), row_titles=["34b"], **TEXTS)
    grid = drawn[0].axes[0].get_subplotspec().get_gridspec()
    assert (grid.nrows, grid.ncols) == shape
    drawn[0].draw_without_rendering()
    for axis in drawn[0].axes[-shape[1] :][:3]:
        assert x_labels(axis) == labels
        boxes = [label.get_window_extent() for label in axis.get_xticklabels()]
        assert all(a.x1 < b.x0 for a, b in pairwise(boxes))
    titles = [a.title.get_window_extent() for a in drawn[0].axes[: shape[1]]]
    assert all(a.x1 < b.x0 for a, b in pairwise(titles))


def test_rows_share_the_y_range_if_it_suits_all(drawn: list[Figure]) -> None:
    rows = [
        [Panel("a", [rising("x", 10)]), Panel("b", [rising("x", 12)])],
        [Panel("a", [rising("x", 10)]), Panel("b", [rising("x", 80)])],
    ]
    plot_panels(rows, Path("x"), **TEXTS)
    plot_panels(rows, Path("x"), y_range=(0, 100), **TEXTS)
    a, b, c, d = (axis.get_ylim() for axis in drawn[0].axes)
    assert a == b == pytest.approx((9 - 0.7, 23 + 0.7))
    assert c == pytest.approx((9 - 0.6, 21 + 0.6))
    assert d == pytest.approx((79 - 0.6, 91 + 0.6))
    left = [axis.yaxis.get_tick_params()["labelleft"] for axis in drawn[0].axes]
    assert left == [True, False, True, True]
    assert {axis.get_ylim() for axis in drawn[-1].axes} == {(0, 100)}


@pytest.mark.parametrize(
    ("log2", "x", "labels"),
    [
        (False, [0, 1, 2, 3], ["0", "1", "2", "3"]),
        (False, [0, 500, 1000], ["0", "200", "400", "600", "800", "1000"]),
        (True, [1], ["1"]),
        (True, [3, 100], ["4", "8", "16", "32", "64"]),
        (True, [], []),
    ],
)
def test_x_ticks(drawn: list[Figure], log2: bool, x: list[int], labels: list[str]) -> None:
    plot_panels([[Panel("", [Line("a", x, x)])]], Path("x"), log2=log2, **TEXTS)
    assert x_labels(drawn[0].axes[0]) == labels


def test_looks(drawn: list[Figure]) -> None:
    """A method has one colour in all figures; eight lines differ in all ways; nine are too many."""

    def looks(*names: str, **paper: Any) -> list[tuple[str, ...]]:
        panel = Panel("", [rising(name) for name in names] + [Line("a", [], [], **paper)])
        plot_panels([[panel]], Path("x"), **TEXTS)
        ours = [line for line in drawn[-1].axes[0].lines if line.get_marker() != "None"]
        return [(line.get_color(), line.get_marker(), line.get_linestyle()) for line in ours]

    assert looks("a", "Best-of-n")[1] == looks("Majority voting", "Best-of-n")[1]
    colours, markers, styles = zip(*looks(*"abcdefgh"), strict=True)
    assert len(set(colours)) == len(set(markers)) == 8
    assert styles.count("-") == 1
    assert len({str(style) for _, style, _ in LOOKS}) == 8
    # Dashes are the paper's, where it is shown.
    assert {style for _, _, style in looks(*"abcdefgh", paper_x=[1], paper_y=[1])} == {"-"}
    with pytest.raises(InputError, match="at most 8 names in its legend, not 9"):
        looks(*"abcdefghi")


def test_legend_fits(drawn: list[Figure]) -> None:
    """Eight long names stand in several rows, read row by row."""
    names = [f"Weighted voting, reward model {i}" for i in range(8)]
    plot_panels([[Panel("", [rising(name) for name in names])] * 3], Path("x"), **TEXTS)
    (legend,) = drawn[0].legends
    assert legend.get_window_extent().width <= drawn[0].bbox.width
    drawn[0].draw_without_rendering()
    corners = [text.get_window_extent() for text in legend.texts]
    rows: dict[int, list[tuple[float, str]]] = {}
    for corner, text in zip(corners, legend.texts, strict=True):
        rows.setdefault(-round(corner.y0), []).append((corner.x0, text.get_text()))
    assert 1 < len(rows) < 8
    assert [name for _, row in sorted(rows.items()) for _, name in sorted(row)] == names


def test_bars(drawn: list[Figure]) -> None:
    groups = [
        ("Easy", [("ORM", 50.0, 45.0, 56.0), ("PRM", 60.0, None, None)]),
        ("Hard", [("PRM", 20.0, 20.5, 25.0)]),
    ]
    plot_bars(groups, Path("x"), y_label="Accuracy (%)", note="")
    (axis,) = drawn[0].axes
    assert [bar.get_height() for bar in axis.patches] == [50, 60, 20]
    colours = [to_hex(bar.get_facecolor()) for bar in axis.patches]
    assert colours[1] == colours[2] != colours[0]
    assert texts(axis.texts) == ["50.0", "60.0", "20.0"]
    assert [text.xy[1] for text in axis.texts] == [56, 60, 25]
    (ends, clipped) = (bars.get_segments()[0][:, 1].tolist() for bars in axis.collections)
    assert (ends, clipped) == ([45, 56], [20, 25])
    assert x_labels(axis) == ["Easy", "Hard"]
    assert texts(drawn[0].legends[0].texts) == ["ORM", "PRM"]


def test_roc(drawn: list[Figure]) -> None:
    """AUC in the legend, every point, and the diagonal."""
    x, none = np.linspace(0, 1, 400), np.empty(0)
    panels = [
        ("Steps", [("ORM", x, x**0.5, 2 / 3), ("PRM", x, x**0.25, 0.8)]),
        ("Outcomes", [("PRM", none, none, np.nan)]),
    ]
    plot_roc(panels, Path("x"), note="")
    steps, outcomes = drawn[0].axes
    assert texts(steps.get_legend().texts) == ["ORM, AUC 0.67", "PRM, AUC 0.80"]
    assert texts(outcomes.get_legend().texts) == ["PRM, only one kind"]
    assert steps.lines[1].get_color() == outcomes.lines[0].get_color()
    assert np.array_equal(steps.lines[0].get_xydata(), np.column_stack([x, x**0.5]))
    assert steps.lines[-1].get_xydata().tolist() == [[0, 0], [1, 1]]


def test_the_same_data_gives_the_same_file(tmp_path: Path) -> None:
    """Both files, under a name with a dot in it, too."""
    bars = [("Easy", [("ORM", 50.0, 45.0, 56.0)])]
    first, again = (
        [
            *plot_panels([[Panel("", [rising("a")])]], tmp_path / run / "fig.1", **TEXTS),
            *plot_bars(bars, tmp_path / run / "bars", y_label="", note=""),
        ]
        for run in "ab"
    )
    assert [path.name for path in first] == ["fig.1.png", "fig.1.svg", "bars.png", "bars.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
