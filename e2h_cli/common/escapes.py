"""Text of files, ids and paths as a terminal may show it."""

from __future__ import annotations

import re

# Control characters but for newline and tab, marks that turn the direction of writing, and
# surrogates, which UTF-8 cannot encode.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_LONGEST_LINE = 1500


def printable(text: str) -> str:
    r"""The text with characters that a terminal would obey written out, as ``\x1b``."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """The text on one line, printable; of a very long one the beginning and the end."""
    line = printable(" ".join(text.split()))
    if len(line) > _LONGEST_LINE:
        line = f"{line[: _LONGEST_LINE // 2]} ... {line[-_LONGEST_LINE // 2 :]}"
    return line
