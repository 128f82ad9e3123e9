r"""The final answer of a whole solution: last boxes, what it calls the answer, last formula.

Outside of boxes only the end of a long text is searched, so that hostile texts cost milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

MAX_TAIL = 6_000  # characters at the end of a text that may state the answer

Span = tuple[int, int, str]
"""Start and end of a box or formula with its delimiters, and what stands in it."""

_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_FORMULA = re.compile(
    r"\$\$(.+?)\$\$|\\\((.+?)\\\)|\\\[(.+?)\\\]"
    # A dollar sign may also be one of currency, as in "$5 and $6".
    r"|(?<!\\)\$(?=\S)([^$]*[^$\s\\])\$(?!\d)|(?<!\\)\$\s([^$]+)\s\$",
    re.DOTALL,
)
_NO_SEPARATOR = re.compile(  # what may stand between two answers besides a separator
    r"\\text\s*\{([^{}]*)\}|\\[()\[\]!,;: ]|\\q?quad|[$~\s]|[A-Za-z](?:_\w|_\{\w+\})?\s*="
)
_SEPARATOR = re.compile(r"[,;](?:and|or)?|and|or")
_STATED = re.compile(
    r"\banswers?\b[^.\n$\\]{0,40}?(?:\bis\b|\bare\b|:|=|(?=\s\s?(?:\$|\\[(\[])))[:*\s]*|####\s*"
    r"|(?<![^\n])#\s*answer\s*\n\s*",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"\n|(?<=[^.\s])\.(?=\s)")
_ENDS_IN = re.compile(  # after the last of these words
    r".*(?:\b(?:is|are|equals?|gives?|get)\b|:)\s*((?:\w+\s*=\s*)?[-+]?[\d(\[\\|].*)"
)
_NEGATED = re.compile(r"(?:\bnot|n't|\bnever|\bneither|\bexcept|\bunless)\s+(?:\w+\s+){0,3}\Z")
_WORD = re.compile(r"(?<![\\A-Za-z])(?!and\b|or\b)[A-Za-z]{2,}")


def closing_brace(text: str, start: int) -> int:
    """The index of the brace that closes the one at ``start``, or -1."""
    level = 0
    for match in re.compile(r"[{}]").finditer(text, start):
        level += 1 if match[0] == "{" else -1
        if level == 0:
            return match.start()
    return -1


def boxed_answer(text: str) -> str | None:
    r"""What stands in the last ``\boxed{..}``; None without one.

    Several are a list if only commas, "and" or "or" stand between.
    """
    boxes = [
        (match.start(), end + 1, text[match.end() : end])
        for match in list(_BOX.finditer(text))[-16:]
        if (end := closing_brace(text, match.end() - 1)) > 0
    ]
    return _joined(text, boxes[::-1]) if boxes else None


def stated_answer(text: str) -> str | None:
    r"""The answer that a text states, without what stands around it; None if nothing stands out.

    ``boxed_answer``; else what follows the last "answer is", "answer:", "####" or "# Answer"; else,
    in prose, the last formula, or the value in which the last line ends.
    """
    tail = _tail(text)
    if boxed_answer(text) is None and not _STATED.search(tail):
        return _end_of_prose(tail)
    return named_answer(text)


def named_answer(text: str) -> str | None:
    """As ``stated_answer``, but an answer that is neither boxed nor called so is none."""
    if (boxed := boxed_answer(text)) is not None:
        return boxed
    text = _tail(text)
    anchors = list(_STATED.finditer(text))
    if not anchors:
        return None
    rest = text[anchors[-1].end() :].strip()
    formulas = _formulas(rest)
    before = rest[: formulas[0][0]] if formulas else ""
    if _NEGATED.search(f"{anchors[-1][0]} {before}"):
        return None
    if formulas and len(_WORD.findall(before)) < 3:
        return _joined(rest, formulas)
    return _SENTENCE_END.split(rest, maxsplit=1)[0].strip("* ").removesuffix(".") or None


def _tail(text: str) -> str:
    """The end of a long text, from a whole line on, so that dollar signs pair."""
    return text if len(text) <= MAX_TAIL else text[-MAX_TAIL:].partition("\n")[2]


def _formulas(text: str) -> list[Span]:
    found = _FORMULA.finditer(text)
    return [(m.start(), m.end(), (m[m.lastindex or 0]).strip()) for m in found]


def _joined(text: str, spans: Sequence[Span]) -> str:
    """The first span, and those next to it with only a separator between, as a list."""
    group = [spans[0]]
    for span in spans[1:]:
        first, second = sorted((group[-1], span))
        between = _NO_SEPARATOR.sub(lambda m: (m[1] or "").strip(), text[first[1] : second[0]])
        if not _SEPARATOR.fullmatch(between):
            break
        group.append(span)
    return ", ".join(content for _, _, content in sorted(group))


def _end_of_prose(text: str) -> str | None:
    formulas = _formulas(text)
    outside = _FORMULA.sub(" ", text)
    if len(_WORD.findall(outside)) < 2:
        return None
    if formulas and not re.search(r"\d", text[formulas[-1][1] :]):
        negated = _NEGATED.search(text[max(0, formulas[-1][0] - 60) : formulas[-1][0]])
        return None if negated else _joined(text, formulas[::-1])
    match = _ENDS_IN.match(text.strip().rpartition("\n")[2])
    return match[1] if match and len(_WORD.findall(match[1])) < 3 else None
