"""The wheel, installed outside of the checkout, has all that the program needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable

import pytest

from tests.conftest import TESTS

pytestmark = pytest.mark.slow

Installed = Callable[..., str]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The program of an environment that has the wheel, and the packages of this one."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    built = subprocess.run(
        [*pip, "wheel", str(TESTS.parent), "--no-deps", "--wheel-dir", str(folder)],
        capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    if built.returncode and "hatchling" in built.stderr:
        pytest.skip("the build backend cannot be fetched here")
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("e2h-*.whl")
    venv.create(folder / "venv", with_pip=False, system_site_packages=True)
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    # Packages of this environment, but not the checkout that it may have as an editable install.
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = ["--python", str(folder / "venv" / "bin" / "python"), "install", "--no-deps"]
    subprocess.run(
        [*pip, *install, "--ignore-installed", "--quiet", str(wheel)], check=True, timeout=300
    )
    place = folder / "elsewhere"
    place.mkdir()

    def run(*arguments: str, program: str = "e2h", **variables: str) -> str:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | variables
        done = subprocess.run(
            [folder / "venv" / "bin" / program, *arguments],
            cwd=place, env=environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_recipes_are_those_of_the_wheel(installed: Installed) -> None:
    found = json.loads(installed("recipes", "--json"))
    assert len(found) >= 30
    assert all("site-packages/e2h_cli/recipes" in recipe["path"] for recipe in found)


def test_plan_split_and_ls(installed: Installed) -> None:
    assert "quickstart at tiny scale in runs/experiment-tiny" in installed("plan", "quickstart")
    installed("split", "--scale", "tiny")
    assert "1 of 1 stages up to date" in installed("ls", "runs/experiment-tiny")
    assert "experiment-tiny" in installed("ls")


def test_numbers_of_the_paper_are_in_the_wheel(installed: Installed) -> None:
    code = (
        "from e2h_cli.reports import paper_numbers as p; "
        "print(p.__file__, len(p.paper_table('table1')), len(p.paper_curves(4)))"
    )
    file, rows, curves = installed("-c", code, program="python").split()
    assert "site-packages/e2h_cli" in file
    assert int(rows) > 10
    assert int(curves) > 1


def test_completion(installed: Installed) -> None:
    words = {"_E2H_COMPLETE": "complete_bash", "COMP_WORDS": "e2h run quick", "COMP_CWORD": "2"}
    assert installed(**words) == "quickstart\n"
