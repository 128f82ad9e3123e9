"""The page of a run in Chromium, as a reader uses it: links, filters, keys, dark, no error."""

from __future__ import annotations

import importlib.util
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import e2h
from tests.simulated_run import HOSTILE, VIEW, simulated_run

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
if BROWSER is None or DRIVER is None:
    pytest.skip("no chromium and chromium-driver here", allow_module_level=True)
if importlib.util.find_spec("selenium") is None:
    pytest.skip("no selenium here", allow_module_level=True)

# A problem and a generator of the simulated run.
PROBLEM, VOTES = "chains%2Ftest%2F0", "rerank-prm"
MOST_BYTES, MOST_SECONDS = 3_000_000, 60


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    run = simulated_run(folder / "runs" / "page-tiny")
    done = e2h("page", "--view", VIEW, "--out", "run.html", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert run.is_dir()
    return folder / "run.html"


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
                     "--window-size=1300,900"):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    yield browser
    browser.quit()


class Reader:
    """What a reader does on the page."""

    def __init__(self, driver: Any, page: Path) -> None:
        self.driver, self.address = driver, page.as_uri()

    def go(self, fragment: str) -> None:
        """Open a place by its fragment, and wait until it is shown."""
        self.driver.get("about:blank")
        self.driver.get(f"{self.address}{fragment}")
        self.wait(lambda: self.js("return document.getElementById('main').dataset.shown")
                  is not None)  # fmt: skip

    def js(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def wait(self, condition: Callable[[], Any]) -> Any:
        """What a condition gives, as soon as it gives something."""
        end = time.monotonic() + MOST_SECONDS
        while time.monotonic() < end:
            if found := condition():
                return found
            time.sleep(0.05)
        raise AssertionError(f"not within {MOST_SECONDS} s: {self.fragment} {self.title}")

    def one(self, selector: str) -> Any:
        """The first element of a selector, which may be on its way."""
        return self.wait(lambda: next(iter(self.all(selector)), None))

    def all(self, selector: str) -> list[Any]:
        return list(self.driver.find_elements("css selector", selector))

    def press(self, key: str) -> None:
        self.driver.switch_to.active_element.send_keys(key)

    def choose(self, label: str, value: str) -> None:
        """Choose an option of the field with a label."""
        script = (
            "const field = [...document.querySelectorAll('label.field')]"
            ".find((one) => one.firstChild.textContent === arguments[0]);"
            "const select = field.querySelector('select'); select.value = arguments[1];"
            "select.dispatchEvent(new Event('change', {bubbles: true}))"
        )
        self.js(script, label, value)

    @property
    def title(self) -> str:
        # By a script: an element that is found may be replaced before it is read.
        return str(self.wait(lambda: self.js("return document.querySelector('h1')?.textContent")))

    @property
    def fragment(self) -> str:
        return str(self.js("return location.hash"))

    @property
    def count(self) -> tuple[int, int]:
        """Number of problems that the list shows, and of all."""
        words = self.one("#count").text.split()
        return int(words[0]), int(words[2])


@pytest.fixture
def reader(driver: Any, page: Path) -> Iterator[Reader]:
    driver.get_log("browser")
    yield Reader(driver, page)
    assert [entry["message"] for entry in driver.get_log("browser")] == []


def test_the_file_is_small_and_opens_fast(reader: Reader, page: Path) -> None:
    assert page.stat().st_size < MOST_BYTES
    started = time.monotonic()
    reader.go("")
    assert time.monotonic() - started < MOST_SECONDS
    assert reader.title == "Run page-tiny"
    assert len(reader.all("svg.stages a.node")) == 11
    # The reward model's lesson is on the first page.
    assert "hacking" in reader.one("p.warning").text


def test_a_stage_is_found_in_the_graph(reader: Reader) -> None:
    reader.go("")
    reader.js("document.querySelector('a.node[aria-label^=rerank-prm]').focus()")
    reader.press("\ue007")  # Enter
    reader.wait(lambda: reader.fragment == "#/stage/rerank-prm")
    reader.wait(lambda: reader.title == "Stage rerank-prm")
    text = reader.one("main").text
    assert "No hard gold answer or label was used." in text
    assert "grader" in text
    assert {"split", "sample", "train-prm"} <= {link.text for link in reader.all("main table a")}
    assert reader.one("a.node.chosen").get_attribute("aria-current") == "true"


def test_a_table_a_figure_and_its_choices(reader: Reader) -> None:
    reader.go("#/results")
    reader.one('main table a[href="#/results/page"]').click()
    reader.wait(lambda: len(reader.all("svg.plot")) == 6)
    dots = len(reader.all("svg.plot g[data-mark=dot] path"))
    reader.choose("Group", "hard")
    assert len(reader.all("svg.plot")) == 2
    reader.choose("Row", "PRM")
    assert len(reader.all("svg.plot")) == 1
    fewer = len(reader.all("svg.plot g[data-mark=dot] path"))
    assert 0 < fewer < dots
    reader.one("fieldset input").click()
    assert 0 < len(reader.all("svg.plot g[data-mark=dot] path")) < fewer
    reader.choose("Up to", "2")
    assert len(reader.all("svg.plot g[data-mark=dot] path")) == 4
    assert reader.all("span.badge")
    # The number under the pointer.
    plot = reader.one("svg.plot")
    box = plot.rect
    for x in range(20, 100, 4):
        move(reader.driver, box["x"] + box["width"] * x / 100, box["y"] + box["height"] / 2)
        if tips := [tip.text for tip in reader.all("svg.plot g[aria-label=tip] text") if tip.text]:
            break
    assert "N " in tips[0]


def move(driver: Any, x: float, y: float) -> None:
    """Move the mouse to a place of the page."""
    scroll = driver.execute_script("return window.scrollY")
    event = {"type": "mouseMoved", "x": x, "y": y - scroll}
    driver.execute_cdp_cmd("Input.dispatchMouseEvent", event)
    time.sleep(0.05)


def test_metrics_are_explored_by_group_method_and_n(reader: Reader) -> None:
    reader.go("#/explore/fig")
    reader.choose("Group", "easy")
    reader.wait(lambda: "group=easy" in reader.fragment)
    reader.choose("N", "4")
    reader.wait(lambda: any("N = 4" in one.text for one in reader.all("figcaption")))
    reader.choose("Metric", "step roc auc")
    reader.wait(lambda: any("step roc auc" in one.text for one in reader.all("figcaption")))


def test_problems_are_filtered_and_searched(reader: Reader) -> None:
    reader.go(f"#/problems/{VOTES}")
    assert reader.count == (20, 20)
    for show in ("majority-wrong", "weighted-wrong", "fooled", "unsolved", "solved"):
        reader.choose("Show", show)
        assert f"show={show}" in reader.fragment
        shown, _ = reader.count
        marks = [[one.text for one in row.find_elements("css selector", "td")[4:7]]
                 for row in reader.all("tbody tr")]  # fmt: skip
        assert len(marks) == shown
        if show == "majority-wrong":
            assert shown
            assert all(mark[:2] == ["✗", "✓"] for mark in marks)
        if show == "fooled":
            assert all(mark[2] == "✗" for mark in marks)
    reader.choose("Show", "")
    reader.choose("Level", "5")
    assert reader.count == (4, 20)
    reader.choose("Level", "")
    reader.press("/")
    reader.wait(lambda: reader.js("return document.activeElement.id") == "search")
    reader.press("chains/test/27")
    assert reader.count == (1, 20)
    assert "q=chains" in reader.fragment


def test_a_problem_and_its_solutions_by_keys(reader: Reader) -> None:
    reader.go(f"#/problems/{VOTES}")
    reader.one("tbody a").click()
    reader.wait(lambda: reader.title == "Problem chains/test/0")
    assert len(reader.all("article.solution")) == 16
    reader.press("\ue015")  # down
    reader.press("\ue015")
    assert reader.js("return document.activeElement.id") == "solution-1"
    reader.press("\ue014")  # right
    reader.wait(lambda: reader.title == "Problem chains/test/3")
    reader.press("\ue012")  # left
    reader.wait(lambda: reader.title == "Problem chains/test/0")
    reader.press("\ue00c")  # Escape
    reader.wait(lambda: reader.title == "Problems")


def test_a_solution_has_its_own_address(reader: Reader) -> None:
    reader.go(f"#/problem/{VOTES}/{PROBLEM}/6")
    chosen = reader.one("article.chosen")
    assert chosen.get_attribute("id") == "solution-6"
    # Texts of models are texts: no element is made of them, and no script runs.
    assert HOSTILE in chosen.text
    assert reader.js("return document.title").startswith("Problem")
    assert not reader.all("main img, main script")
    # Mathematics is typeset, and can be seen as it was written.
    assert chosen.find_elements("css selector", "math")
    assert "first wrong step, by the oracle" in chosen.text
    # The bar at the top may lie over it.
    reader.js("document.querySelector('main .controls input[type=checkbox]').click()")
    reader.wait(lambda: not reader.all("main math"))
    assert r"$x^2 = \frac{1}{4}$" in reader.one("article.chosen").text


def test_solutions_of_one_answer_and_by_score(reader: Reader) -> None:
    reader.go(f"#/problem/{VOTES}/{PROBLEM}")
    votes = reader.one("main table button").find_element("xpath", "../..").text.split()
    reader.one("main table button").click()
    assert len(reader.all("article.solution")) < 16
    assert str(len(reader.all("article.solution"))) in votes
    reader.one("main table button").click()
    reader.choose("Order by", "best-of-n")
    scores = [float(one.text.split("min ")[1].split()[0]) for one in
              reader.all("article.solution > p")]  # fmt: skip
    assert scores == sorted(scores, reverse=True)


def test_two_reward_models_and_two_generators_side_by_side(reader: Reader) -> None:
    reader.go("#/compare")
    reader.choose("Solutions of", "rerank-prm")
    reader.choose("Compare with", "rerank-orm")
    reader.one("#differences").click()
    reader.wait(lambda: reader.title == "Problems")
    reader.choose("Difference", "")
    reader.wait(lambda: reader.all("tbody tr"))
    next(link for link in reader.all("tbody a") if link.text == "compare").click()
    reader.wait(lambda: "Comparison on problem" in reader.title)
    left, right = reader.all("section[aria-label$=side]")
    # The same solution, with the scores of each.
    assert reader.fragment.count("%3A") == 2
    texts = [side.find_element("css selector", "h3").text for side in (left, right)]
    assert texts[0] == texts[1]
    facts = [side.find_element("css selector", "article > p").text for side in (left, right)]
    assert facts[0] != facts[1]
    reader.choose("Right side", "greedy")
    reader.wait(lambda: "greedy" in reader.fragment)
    reader.go(f"#/compare/{PROBLEM}/{VOTES}%3A3/greedy%3A0")
    assert [one.text for one in reader.all("article h3")] == ["Solution 3", "Solution 0"]


def test_a_training_with_its_warning_and_rollouts(reader: Reader) -> None:
    reader.go("#/training")
    assert "hacking the reward" in reader.one("p.warning").text
    assert len(reader.all("svg.plot")) >= 4
    reader.press("\ue014")  # the next step
    reader.wait(lambda: "Rollouts of step 2" in reader.one("#rollouts").text)
    assert HOSTILE in reader.one("article.solution").text


def test_dark_and_light(reader: Reader) -> None:
    reader.go("")
    light = reader.js("return getComputedStyle(document.documentElement).backgroundColor")
    reader.one("#theme").click()
    dark = reader.js("return getComputedStyle(document.documentElement).backgroundColor")
    assert sum(map(int, dark[4:-1].split(", "))) < 150 < sum(map(int, light[4:-1].split(", ")))
    assert reader.one("#theme").get_attribute("aria-pressed") == "true"
    reader.press("d")
    assert reader.js("return getComputedStyle(document.documentElement).backgroundColor") == light
    media = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    reader.js("localStorage.clear(); delete document.documentElement.dataset.theme")
    reader.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    assert reader.js("return getComputedStyle(document.documentElement).backgroundColor") == dark
    reader.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_keys_and_landmarks(reader: Reader) -> None:
    reader.go("")
    reader.press("?")
    assert reader.one("dialog").get_attribute("open") is not None
    reader.one("dialog button").click()
    reader.wait(lambda: reader.js("return document.getElementById('keys').open") is False)
    assert len(reader.all("main")) == len(reader.all("header h1, main h1")) == 1
    reader.press("\ue004")  # Tab
    names = "button, select, input, a[href]"
    unnamed = reader.js(
        "return [...document.querySelectorAll(arguments[0])].filter((one) => !(one.textContent"
        " || one.getAttribute('aria-label') || one.labels?.length)).length",
        names,
    )
    assert unnamed == 0


def test_an_address_of_nothing_says_so(reader: Reader) -> None:
    for fragment in ("#/stage/x", "#/problem/x/y", f"#/problem/{VOTES}/y", "#/compare/x/y/z", "#/x",
                     "#/results/x", "#/training/x"):  # fmt: skip
        reader.go(fragment)
        assert reader.title == "Not on this page"
