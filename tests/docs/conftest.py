"""The pages of the documentation, as the tests of this folder read them."""

from __future__ import annotations

import re
from pathlib import Path

from tests.conftest import TESTS

ROOT = TESTS.parent
README = ROOT / "README.md"
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "recipes" / "README.md"],
)
CODE = re.compile(r"^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)


def name_of(page: Path) -> str:
    """The page's path in the repository, for messages."""
    return str(page.relative_to(ROOT))


def code_blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return [m["code"] for m in CODE.finditer(page.read_text()) if m["language"] == language]
