"""The look that all plots share, and the files that they end in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from e2h_cli.common.files import make_folder

_STYLE = {
    "font.family": "serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "e2h",  # the same figures give the same file
}


@contextmanager
def drawn(panels: int, width: float, height: float) -> Iterator[tuple[Any, Any]]:
    """A drawing and its panels, side by side, in the shared style; ``width`` in inches, of each."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    with matplotlib.rc_context(_STYLE):
        drawing, axes = plt.subplots(
            1, panels, figsize=(width * panels, height), squeeze=False, layout="constrained"
        )
        try:
            yield drawing, axes[0]
        finally:
            plt.close(drawing)


def save(drawing: Any, target: Path, note: str) -> list[Path]:
    """Write ``target`` (a path without suffix) as PNG and SVG, with a note under the panels."""
    drawing.supxlabel(note, fontsize=7, color="0.4")
    make_folder(target.parent)
    paths = [target.with_suffix(suffix) for suffix in (".png", ".svg")]
    for path in paths:
        metadata = {"Date": None} if path.suffix == ".svg" else None
        drawing.savefig(path, dpi=200, metadata=metadata)
    return paths
