"""Does a generator know the questions? Cut a question, and compare what it writes with the rest.

The probe of Wu et al. 2025 (arXiv 2507.10532): the first 60 % of a question, greedy decoding, no
template; exact match and ROUGE-L (Lin 2004) with the rest.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class CutQuestion(NamedTuple):
    """What a generator is given, and what it would have to write."""

    given: str
    rest: str


def cut(question: str, fraction: float) -> CutQuestion | None:
    """Cut a question behind the word that holds this share of its characters; None without a rest.

    The white space at the cut belongs to neither part.
    """
    question = question.strip()
    space = re.compile(r"\s+").search(question, int(fraction * len(question)))
    return CutQuestion(question[: space.start()], question[space.end() :]) if space else None


def writes_exactly(written: str, rest: str) -> bool:
    """Whether a text begins with the rest of a question, but for white space, and goes on or ends.

    A rest that ends in "1" is not written by "12".
    """
    written, rest = (" ".join(text.split()) for text in (written, rest))
    after = written[len(rest) :][:1]
    cut_word = rest[-1:].isalnum() and after.isalnum()
    return written.startswith(rest) and not cut_word


def rouge_l(written: str, rest: str) -> float:
    """ROUGE-L of a text and the rest: F-measure of their longest common subsequence of words.

    Words are what white space separates. The text counts up to as many words as the rest has: what
    follows the question, such as its solution, is no mistake.
    """
    reference = rest.split()
    words = written.split()[: len(reference)]
    # row[j]: length for the words so far and the first j of the reference.
    row = [0] * (len(reference) + 1)
    for word in words:
        before = row
        row = [0]
        for j, other in enumerate(reference):
            row.append(before[j] + 1 if word == other else max(before[j + 1], row[j]))
    return 2 * row[-1] / (len(words) + len(reference)) if words else 0.0
