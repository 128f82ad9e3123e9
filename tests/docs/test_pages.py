"""The pages agree with the program: commands, options, make targets, recipes, links, names."""

from __future__ import annotations

import importlib
import itertools
import re
from pathlib import Path

import pytest
import typer.main
import yaml

from docs.build_commands import TARGET, page
from e2h_cli.cli.app import app
from e2h_cli.pipeline.recipe import load
from e2h_cli.pipeline.recipe_file import packaged
from e2h_cli.pipeline.registry import COMMANDS
from e2h_cli.reports.spec import ReportSpec, places
from e2h_cli.reports.view import paper_value
from tests.docs.conftest import CODE, PAGES, README, ROOT, code_blocks, name_of

ARCHITECTURE = ROOT / "docs" / "architecture.md"
# Commands that run no stage.
OTHERS = {
    "run", "report", "page", "plan", "grade", "validate", "recipes", "doctor", "ls", "diff",
    "clean", "push", "sync",
}  # fmt: skip
# Options of other programs: accelerate, benchmarks, hf.
FOREIGN_OPTIONS = {
    "--config_file", "--multi_gpu", "--size", "--solutions", "--records", "--reward", "--repeats",
    "--same-length", "--local-dir", "--repo-type", "--no-deps", "--wheel-dir", "--cpu-seconds",
}  # fmt: skip

_OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")
_MAKE = re.compile(r"(?:`|^)make ([a-z0-9-]+)", re.MULTILINE)
_RECIPE = re.compile(r"e2h run ([a-z0-9][a-z0-9-]*)(?![\w.-])")
_COMMAND = re.compile(r"(?:`|^)e2h ([a-z][a-z-]*)", re.MULTILINE)
_LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
_DOTTED = re.compile(r"`(e2h_cli(?:\.\w+)+)`")
_PATH = re.compile(r"`(e2h_cli/[\w/.]*)`")

# They may stand anywhere on a line.
_GLOBAL = {option for one in typer.main.get_command(app).params for option in one.opts}

every_page = pytest.mark.parametrize("path", PAGES, ids=name_of)


def test_commands_page_is_what_the_program_says() -> None:
    assert TARGET.read_text() == page(), "write it again with: make docs"


def test_readme_has_at_most_900_words() -> None:
    assert len(README.read_text().split()) <= 900


def test_readme_links_every_page() -> None:
    linked = {(ROOT / target).resolve() for target in _links(README)}
    pages = {*(ROOT / "docs").glob("*.md")} - {ROOT / "docs" / "index.md"}
    assert pages <= linked


def test_every_command_and_recipe_is_documented() -> None:
    text = "\n".join(path.read_text() for path in PAGES if path != TARGET)
    assert {f"e2h {name}" for name in [*COMMANDS, *OTHERS]} <= {
        f"e2h {name}" for name in _COMMAND.findall(text)
    }
    listed = (ROOT / "recipes" / "README.md").read_text()
    assert [r.stem for r in (ROOT / "recipes").glob("*.yaml") if f"`{r.stem}`" not in listed] == []


@every_page
def test_make_targets_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    views = {f"reproduce-{name}" for name in packaged()}
    assert set(_MAKE.findall(path.read_text())) <= targets | views


@every_page
def test_recipes_exist(path: Path) -> None:
    recipes = {recipe.stem for recipe in (ROOT / "recipes").glob("*.yaml")}
    assert set(_RECIPE.findall(path.read_text())) <= recipes


@pytest.mark.parametrize("number", [0, 1])
def test_the_recipes_of_the_recipes_page_are_valid(number: int, tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(code_blocks(ROOT / "docs" / "recipes.md", "yaml")[number])
    for scale in ("tiny", "paper"):
        assert load(file, scale).order


def test_the_report_of_the_results_page_selects_what_its_table_says() -> None:
    page_text = (ROOT / "docs" / "results.md").read_text()
    spec = ReportSpec(
        **yaml.safe_load(code_blocks(ROOT / "docs" / "results.md", "yaml")[0])["report"]
    )
    rows = []
    for of_table, of_row, of_column in itertools.product(
        *(places(axis, {}) for axis in (spec.tables, spec.rows, spec.columns))
    ):
        chosen = of_table[1] | of_row[1] | of_column[1]
        words = ", ".join(f"{key}: {value}" for key, value in chosen.items())
        paper = paper_value(spec, {**spec.where, **chosen})
        rows.append(f"| {of_row[0][0]} | {of_column[0][0]} | {words} | {paper} |\n")
    assert "".join(rows) in page_text


@every_page
def test_commands_exist(path: Path) -> None:
    assert set(_COMMAND.findall(path.read_text())) <= OTHERS | {*COMMANDS}


@every_page
def test_options_exist(path: Path) -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    known = _GLOBAL | {
        option
        for command in commands.values()
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    text = re.sub(r"<!--.*?-->", "", path.read_text(), flags=re.DOTALL)
    assert set(_OPTION.findall(text)) - known - FOREIGN_OPTIONS - {"--help"} == set()


@every_page
def test_options_belong_to_the_command_of_their_line(path: Path) -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    wrong = []
    for block in CODE.finditer(path.read_text()):
        for line in block["code"].splitlines():
            call = re.search(r"(?:^e2h|-m e2h_cli) ([a-z][a-z-]*)([^#]*)", line)
            if call is None:
                continue
            parameters = commands[call[1]].params
            known = _GLOBAL | {o for p in parameters for o in (*p.opts, *p.secondary_opts)}
            wrong += [f"{line}: {o}" for o in _OPTION.findall(call[2]) if o not in known]
    assert wrong == []


@every_page
def test_relative_links_lead_somewhere(path: Path) -> None:
    broken = []
    for target in _links(path):
        file, _, anchor = target.partition("#")
        aim = (path.parent / file).resolve() if file else path
        if not aim.exists() or (anchor and anchor not in _anchors(aim)):
            broken.append(target)
    assert broken == []


@every_page
def test_names_of_the_code_exist(path: Path) -> None:
    text = path.read_text()
    assert [name for name in _DOTTED.findall(text) if not _exists(name)] == []
    assert [name for name in _PATH.findall(text) if not (ROOT / name).exists()] == []


def test_the_architecture_page_names_the_packages_and_stages() -> None:
    text = ARCHITECTURE.read_text()
    tree = re.search(r"```\ne2h_cli/\n(.*?)```", text, re.DOTALL)
    assert tree is not None
    named = {line.split()[0].rstrip("/") for line in tree[1].splitlines()}
    package = ROOT / "e2h_cli"
    assert named == {p.name for p in package.iterdir() if (p / "__init__.py").is_file()}
    assert len(_DOTTED.findall(text)) > 10
    for stage in ("split", "sft", "sample", "supervise", "train_rm", "rerank", "evaluate", "rl"):
        assert f"`e2h_cli/stages/{stage}.py`" in text


def test_the_pages_of_this_test_are_there() -> None:
    assert len(PAGES) > 10
    assert _links(README)
    assert _OPTION.findall(README.read_text())


def _links(path: Path) -> list[str]:
    """Link targets inside the repository."""
    text = CODE.sub("", path.read_text())
    targets = [text or image for text, image in _LINK.findall(text)]
    return [target for target in targets if "://" not in target]


def _anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", CODE.sub("", path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def _exists(name: str) -> bool:
    """Whether a dotted name is a module or something in one."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError as error:
            if error.name and not name.startswith(error.name):
                raise
            continue
        for part in parts[end:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False
