"""Write docs/reproduction.md and docs/figures/ from the reports of a run.

    python -m docs.build_reproduction runs/experiment-tiny [runs/experiment-tiny-seeds-3-4-5]
    python -m docs.build_reproduction       # include docs/differences.md anew, and no more

The first folder is a run with the reports of its views (``e2h run`` and ``e2h report`` write them),
the second has reports over several seeds. All numbers are read from their files.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from e2h_cli.common.errors import InputError
from e2h_cli.common.files import read_json
from e2h_cli.pipeline.recipe import load
from e2h_cli.pipeline.recipe_file import find, packaged
from e2h_cli.pipeline.run_folder import RunFolder
from e2h_cli.reports.results import shown_p

FOLDER = Path(__file__).parent
PAGE, FIGURES, DIFFERENCES = "reproduction.md", "figures", "differences.md"
# Of all figures together; the first width at which they fit is taken.
MAX_BYTES, WIDTHS, COLOURS = 1_500_000, (1200, 1000, 800, 600), 64
LONGEST = 10
VERDICTS = ("holds", "reversed", "not shown", "not measured")

HEAD = """# Reproduction

<!-- Written by docs/build_reproduction.py from the reports of a run. Do not edit. -->

The results of the paper, Table 1 to Figure 24, as one run has reproduced them, with the paper's
claims tested on our numbers. Tables 3 and 6, on programs, are in
[programs.md](programs.md#results). How claims are tested: [results.md](results.md#claims). What a
view is: [recipes.md](recipes.md#a-view).
"""
CLAIMS = """The difference is that of the side which the paper calls better to the other, in
percentage points; of AUC in its own unit.

* Holds: above 0, and p (Holm, over the claims of the view) below 0.05. Of accuracy and AUC of
  reward models in one run: the two 95 % intervals are apart.
* Reversed: the same below 0.
* Of a claim that both sides are within some points: holds if the whole interval is, reversed if it
  lies outside.
* Not shown: neither. Not measured: a side has no number.

A claim that stands in two views is counted in both.
"""
_BEGIN, _END = f"<!-- {DIFFERENCES} -->\n", f"<!-- end of {DIFFERENCES} -->\n"
_FENCE = re.compile(r"`{3,}")
_IMAGE = re.compile(r"(!\[[^\]]*\]\()([^)/]+)\.png\)")


@dataclass(frozen=True)
class View:
    """A view and its report.

    Attributes:
        name: of the recipe.
        report: content of NAME.json.
        text: NAME.md.
        image: the figure, if there is one.
        stages: all that the view needs, from nothing.
    """

    name: str
    report: dict[str, Any]
    text: str
    image: Path | None
    stages: tuple[str, ...]

    @property
    def heading(self) -> str:
        """The first heading of the text, without its mark."""
        return self.text.partition("\n")[0].lstrip("# ")


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the page and its figures."""
    parser = argparse.ArgumentParser(description="Write docs/reproduction.md and docs/figures/.")
    parser.add_argument("run", nargs="?", type=Path, help="run folder with reports of its views")
    parser.add_argument("seeds", nargs="?", type=Path, help="folder of reports over several seeds")
    given = parser.parse_args(arguments)
    try:
        if given.run is None:
            (FOLDER / PAGE).write_text(
                with_differences((FOLDER / PAGE).read_text("utf-8")), "utf-8"
            )
        else:
            build(given.run, given.seeds, FOLDER)
    except InputError as error:
        print(f"error: {error.line}", file=sys.stderr)
        sys.exit(2)


def build(run: Path, seeds: Path | None, target: Path) -> None:
    """Write the page of a run, and of reports over several seeds, into a folder."""
    about = RunFolder(run).about
    views = read_views(run / "report", about.get("scale", ""))
    records = {
        name: record
        for name in dict.fromkeys(stage for view in views for stage in view.stages)
        if (record := RunFolder(run).stage(name).record).get("status") == "finished"
    }
    parts = [HEAD, _run_section(run, views, records), _time_section(views, records)]
    claims = [(view.name, view.report) for view in views]
    parts.append(f"## Claims\n\n{CLAIMS}\n{_claims(claims)}")
    if seeds is not None:
        parts.append(f"## Claims over several seeds\n\n{_claims(_reports(seeds))}")
    parts += [_BEGIN, _END, *(_demoted(view) for view in views)]
    target.mkdir(parents=True, exist_ok=True)
    (target / PAGE).write_text(with_differences("\n".join(parts)), "utf-8")
    write_figures({view.name: view.image for view in views if view.image}, target / FIGURES)


def read_views(folder: Path, scale: str) -> list[View]:
    """The views with a report in a folder, in the order of the page.

    Raises:
        InputError: there is none.
    """
    views = []
    for name, report in _reports(folder):
        image = folder / f"{name}.png"
        recipe = load(find(name), scale)  # type: ignore[arg-type]
        needs_run = recipe.report is None or recipe.report.kind != "settings"
        stages = tuple(stage.name for stage in recipe.order) if needs_run else ()
        text = (folder / f"{name}.md").read_text("utf-8")
        views.append(View(name, report, text, image if image.is_file() else None, stages))
    return views


def _reports(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """Name and content of the reports in a folder: tables, figures, then the others."""

    def place(name: str) -> tuple[int, int, str]:
        kind = next((i for i, k in enumerate(("table", "fig")) if name.startswith(k)), 2)
        return kind, int("".join(filter(str.isdigit, name)) or 0), name

    files = {file.stem: file for file in folder.glob("*.json") if file.with_suffix(".md").is_file()}
    if not files:
        hint = "e2h run and e2h report write them"
        raise InputError("no reports of tables or figures here", where=folder, hint=hint)
    return [(name, read_json(files[name])) for name in sorted(files, key=place)]


def _run_section(run: Path, views: Sequence[View], records: Mapping[str, Any]) -> str:
    """Command, scale, seed, machine and versions."""
    about = RunFolder(run).about
    scale = about.get("scale", "")
    hosts = dict.fromkeys(_machine(record["host"]) for record in records.values())
    versions: dict[str, dict[str, None]] = {}
    for record in records.values():
        for name, version in record["versions"].items():
            versions.setdefault(name, {})[version] = None
    told = ", ".join(f"{name} {' and '.join(found)}" for name, found in versions.items())
    known = sum("\nreport:" in file.read_text("utf-8") for file in packaged().values())
    rows = [
        ("command", f"`make reproduce-all SCALE={scale}`, then `make reproduction-page`"),
        ("scale", scale),
        ("seed", str(about.get("seed", ""))),
        ("views", f"{len(views)} of {known}"),
        ("machine", "; ".join(hosts)),
        ("versions", told),
    ]
    return "## The run\n\n" + _table(("", ""), rows)


def _machine(host: Mapping[str, Any]) -> str:
    """Cores, operating system and architecture; no name."""
    parts = str(host["platform"]).split("-")
    kinds = [p for p in parts if p in ("x86_64", "aarch64", "arm64", "AMD64", "ARM64")]
    return f"{host['cores']} cores, {' '.join([parts[0], *kinds])}"


def _time_section(views: Sequence[View], records: Mapping[str, Any]) -> str:
    """Seconds of every view from nothing, and the longest stages."""
    seconds = {name: record["seconds"] for name, record in records.items()}
    rows = []
    for view in views:
        missing = sum(stage not in seconds for stage in view.stages)
        count = f"{len(view.stages)}" + (f" ({missing} not made)" if missing else "")
        total = sum(seconds.get(stage, 0) for stage in view.stages)
        rows.append((f"[{view.name}](#{_anchor(view.heading)})", count, _duration(total)))
    longest = sorted(seconds, key=seconds.__getitem__, reverse=True)[:LONGEST]
    slow = [(f"`{n}`", f"`e2h {records[n]['command']}`", _duration(seconds[n])) for n in longest]
    total = _duration(sum(seconds.values()))
    return (
        f"## Time\n\nAll {len(seconds)} stages took {total}. Views share stages: a view after "
        "others takes less than the time in the table, which is that from nothing.\n\n"
        + _table(("view", "stages", "time from nothing"), rows)
        + f"\nThe {len(slow)} longest stages:\n\n"
        + _table(("stage", "command", "time"), slow)
    )


def _claims(reports: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """All claims in one table, and how many of them hold."""
    claims = [(name, claim) for name, report in reports for claim in report["claims"]]
    # A verdict may end with how it was found: "holds (intervals apart)".
    found = Counter(claim["verdict"].partition(" (")[0] for _, claim in claims)
    made_at = dict.fromkeys(report["made_at"] for _, report in reports)
    counts = [(verdict, str(found[verdict])) for verdict in VERDICTS]
    rows = [_claim_row(name, claim) for name, claim in claims]
    header = ("view", "claim", "on", "paper", "ours", "p", "verdict")
    return (
        f"{'; '.join(made_at)}: {len(claims)} claims.\n\n"
        + _table(("verdict", "claims"), counts)
        + "\n"
        + _table(header, rows)
    )


def _claim_row(view: str, claim: Mapping[str, Any]) -> tuple[str, ...]:
    about, mean, differences = claim["claim"], claim["mean"], claim["differences"]
    within = about["within"]
    sides = [about[key].get("metric", "") for key in ("where", "better", "worse")]
    digits = 2 if any("auc" in metric for metric in sides) else 1
    ours = _signed(mean, digits)
    if mean is not None and claim["low"] is not None and claim["high"] is not None:
        ours += f" ({_signed(claim['low'], digits)} to {_signed(claim['high'], digits)})"
    if len(differences) > 1:
        ours += f", above 0 in {sum(d > 0 for d in differences)} of {len(differences)}"
    verdict = claim["verdict"] + (f" (within {within:g})" if within else "")
    p = "-" if within else shown_p(claim["p_holm"])
    paper = _signed(claim["paper"], digits)
    return (view, about["about"], claim["group"], paper, ours, p, verdict)


def _signed(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:+.{digits}f}"


def _demoted(view: View) -> str:
    """The text of a view with lower headings, and its image from the folder of the page."""
    text = _IMAGE.sub(rf"\g<1>{FIGURES}/\g<2>.png)", view.text) if view.image else view.text
    return demote(text)


def demote(text: str) -> str:
    """Markdown with every heading one level lower; lines in code blocks are no headings."""
    return "".join(f"#{line}" if heading else line for line, heading in _lines(text))


def _lines(text: str) -> Iterator[tuple[str, bool]]:
    """Every line, and whether it is a heading."""
    fence = ""
    for line in text.splitlines(keepends=True):
        marks = _FENCE.match(line)
        if fence:
            if marks and marks[0] >= fence and not line.strip("`\n"):
                fence = ""
        elif marks:
            fence = marks[0]
        yield line, not fence and not marks and line.startswith("#")


def with_differences(page: str) -> str:
    """The page with docs/differences.md as it is now."""
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not end:
        raise InputError(f"has no place for {DIFFERENCES}", where=FOLDER / PAGE)
    own = (FOLDER / DIFFERENCES).read_text("utf-8")
    return f"{before}{begin}\n{demote(own)}\n{end}{after}"


def write_figures(images: Mapping[str, Path], folder: Path) -> None:
    """Write small copies of images; others in the folder are removed.

    Raises:
        InputError: they are too large together.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for width in WIDTHS:
        small = {name: _reduced(path, width) for name, path in images.items()}
        if sum(map(len, small.values())) < MAX_BYTES:
            break
    else:
        raise InputError(f"the figures have more than {MAX_BYTES:,} bytes", where=folder)
    for old in folder.glob("*.png"):
        old.unlink()
    for name, data in small.items():
        (folder / f"{name}.png").write_bytes(data)


def _reduced(path: Path, width: int) -> bytes:
    """A PNG at most this wide, with few colours."""
    with Image.open(path) as image:
        plain = image.convert("RGB")
    if plain.width > width:
        size = (width, round(plain.height * width / plain.width))
        plain = plain.resize(size, Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    # Without k-means thin lines of two colours get one.
    few = plain.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, kmeans=3)
    few.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n"
                   for line in lines)  # fmt: skip


def _duration(seconds: float) -> str:
    """``12 s``, ``5 min 52 s`` or ``1 h 3 min``."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if minutes else f"{rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _anchor(heading: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


if __name__ == "__main__":
    main()
