"""docs/reproduction.md is made from the reports of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from docs import build_reproduction as page_of
from e2h_cli.pipeline.run_folder import RunFolder
from e2h_cli.pipeline.stage_record import host
from tests.docs.conftest import ROOT


def claim(about: str, mean: float | None, verdict: str, **further: Any) -> dict[str, Any]:
    """A claim as a report has it."""
    differences = further.pop("differences", [] if mean is None else [mean])
    found = {"low": None, "high": None, "p_holm": None, "paper": None, "within": None} | further
    words = {"about": about, "within": found.pop("within"), "better": {}, "worse": {}}
    words["where"] = {"metric": found.pop("metric", "accuracy")}
    return {
        "claim": words, "group": "hard", "mean": mean, "differences": differences,
        "verdict": verdict, **found,
    }  # fmt: skip


def write_report(folder: Path, name: str, text: str, claims: list[dict[str, Any]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(text)
    report = {"name": name, "made_at": "tiny scale, seed 3", "rows": [], "claims": claims}
    (folder / f"{name}.json").write_text(json.dumps(report))


FIG4 = "# fig4: Votes (paper p.7)\n\n![Votes](fig4.png)\n\n## Claims of the paper\n\n| claim |\n"
FIG22 = "# fig22: A case (paper p.37)\n\n````text\n```\n# Answer\n```\n````\n\n## Rule\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run with two views, of which some stages are made."""
    folder = tmp_path_factory.mktemp("reproduction")
    run = RunFolder(folder / "experiment-tiny")
    run.path.mkdir()
    run.describe("experiment", "tiny", 3)
    for name, seconds in (("split", 2.0), ("pretrain", 113.2), ("sample", 3600.0)):
        stage = run.stage(name)
        stage.start(name, {}, {})
        stage.finish({}, seconds)
    reports = run.path / "report"
    above = claim("votes are better", 39.04, "holds", low=31.1, high=46.1, p_holm=0.00001, paper=8)
    close = claim("both are close", -0.04, "not shown", low=-6.2, high=6.1, within=5)
    auc = claim("its AUC is higher", 0.034, "holds (intervals apart)", metric="step roc auc")
    none = claim("none", None, "not measured")
    write_report(reports, "fig4", FIG4, [above, close, auc, none])
    noise = np.random.default_rng(0).integers(0, 255, (150, 3000, 3), dtype=np.uint8)
    Image.fromarray(noise).save(reports / "fig4.png")
    write_report(reports, "fig22", FIG22, [])
    spread = claim("votes are better", 23.6, "holds", differences=[39.0, -4.0, 35.8], p_holm=0.04)
    write_report(folder / "seeds", "fig4", FIG4, [spread])
    page_of.build(run.path, folder / "seeds", folder / "docs")
    return folder / "docs"


def test_head_and_times(made: Path) -> None:
    text = (made / "reproduction.md").read_text()
    assert "| seed | 3 |" in text
    assert f"| machine | {page_of._machine(host())} |" in text
    assert host()["name"] not in text.split()
    # Of the stages that a view needs, those of the run; three are there.
    assert "All 3 stages took 1 h 1 min." in text
    assert "| [fig22](#fig22-a-case-paper-p37) | 8 (5 not made) | 1 h 1 min |" in text
    assert "| `sample` | `e2h sample` | 1 h 0 min |\n| `pretrain` |" in text


def test_claims_of_one_run_and_of_several(made: Path) -> None:
    one, several = (made / "reproduction.md").read_text().split("## Claims over several seeds")
    assert "| holds | 2 |\n| reversed | 0 |\n| not shown | 1 |\n| not measured | 1 |" in one
    assert (
        "| fig4 | votes are better | hard | +8.0 | +39.0 (+31.1 to +46.1) | <= 0.0001 | holds |\n"
        "| fig4 | both are close | hard | - | -0.0 (-6.2 to +6.1) | - | not shown (within 5) |\n"
        "| fig4 | its AUC is higher | hard | - | +0.03 | - | holds (intervals apart) |\n"
        "| fig4 | none | hard | - | - | - | not measured |\n"
    ) in one
    assert "| +23.6, above 0 in 2 of 3 | 0.0400 | holds |" in several


def test_views_stand_below_with_lower_headings_and_small_figures(made: Path) -> None:
    text = (made / "reproduction.md").read_text()
    assert "\n## fig4: Votes (paper p.7)\n\n![Votes](figures/fig4.png)\n\n### Claims of" in text
    assert "\n## fig22: A case (paper p.37)\n\n````text\n```\n# Answer\n```\n````\n\n### R" in text
    assert text.index("## fig4:") < text.index("## fig22:")
    with Image.open(made / "figures" / "fig4.png") as image:
        assert image.width == page_of.WIDTHS[0]
        assert len(image.getcolors() or ()) <= page_of.COLOURS


def test_a_folder_without_reports_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        page_of.main([str(tmp_path)])
    assert stopped.value.code == 2
    assert "no reports of tables or figures here" in capsys.readouterr().err


def test_the_page_includes_the_differences_of_now() -> None:
    text = (ROOT / "docs" / "reproduction.md").read_text()
    assert page_of.with_differences(text) == text, "include them again with: make docs"


def test_the_figures_of_the_page_are_small() -> None:
    figures = (ROOT / "docs" / "figures").glob("*")
    assert sum(file.stat().st_size for file in figures) < page_of.MAX_BYTES
