"""Splits the prose of a reference solution into steps."""

from __future__ import annotations

import re

from e2h_cli.data.template import one_line

# A full stop after one of these does not end a sentence.
TITLES = ("Mr.", "Mrs.", "Ms.", "Dr.", "St.", "Prof.")
# Inside of these a full stop or a newline does not end a step.
_FORMULA = re.compile(
    r"\[asy\].*?\[/asy\]|\\begin\{(\w+\*?)\}.*?\\end\{\1\}|\\\[.*?\\\]|\$\$.*?\$\$|\$[^$]*\$",
    re.DOTALL,
)
_NOT_TITLE = "".join(f"(?<!{re.escape(title)})" for title in TITLES)
_SENTENCE_END = re.compile(rf"(?<=[.!?]){_NOT_TITLE}\s+(?=[A-Z$\\])|\n+")


def steps_of(text: str) -> list[str]:
    """Split a solution into one-line steps: at newlines and ends of sentences outside formulas."""
    protected: list[str] = []

    def protect(match: re.Match[str]) -> str:
        protected.append(match[0])
        # A formula that closes a sentence carries its full stop inside: "$x = 1.$ Then".
        stop = "." if match[0].rstrip("$\\]").endswith(".") else ""
        return f"\x00{len(protected) - 1}\x01{stop}"

    def restore(piece: str) -> str:
        piece = re.sub(r"\x00(\d+)\x01\.?", lambda m: _restored(m, protected), piece)
        return one_line(piece)

    pieces = _SENTENCE_END.split(
        _FORMULA.sub(protect, text.replace("\x00", "").replace("\x01", ""))
    )
    return [step for piece in pieces if (step := restore(piece))]


def _restored(match: re.Match[str], protected: list[str]) -> str:
    formula = protected[int(match[1])]
    has_stop = formula.rstrip("$\\]").endswith(".")
    return formula + ("." if match[0].endswith(".") and not has_stop else "")
