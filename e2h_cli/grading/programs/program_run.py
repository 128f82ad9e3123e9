"""What a program is run on, within which limits, and what came out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

RunStatus = Literal[
    "finished", "error", "timed out", "too much memory", "too much output", "not judged"
]


@dataclass(frozen=True, slots=True)
class ProgramJob:
    """A program and its inputs.

    Attributes:
        program: source text.
        function: name of the function, or method of ``class Solution``, that is called; None for
            a program that reads standard input and writes standard output.
        inputs: texts for standard input or, with ``function``, JSON lists of its arguments.
    """

    program: str
    function: str | None
    inputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a program did on one input.

    Attributes:
        status: ``not judged`` is a failure of the sandbox or of the input, never of the program.
        output: what it wrote to standard output or, with a function, the result as JSON; empty
            unless ``finished``. Bytes that are no UTF-8 are replaced.
        detail: the last line of the error, at most 200 characters.
    """

    status: RunStatus
    output: str = ""
    detail: str = ""

    @property
    def by_load(self) -> bool:
        """Whether it may be another on a machine with less to do: it ran out of wall time."""
        return self.status == "timed out" and "wall time" in self.detail


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may use.

    Attributes:
        seconds: CPU time per test.
        wall_factor: times ``seconds`` is the wall time per test.
        memory_bytes: address space per test, Python itself (about 40 MiB) included.
        output_bytes: per test; as much again for standard error. All tests of a program together
            may write 64 times as much.
        program_seconds: CPU time of all tests of a program, ``wall_factor`` times as much wall
            time. The tests left then are ``timed out``.
    """

    seconds: float = 4
    wall_factor: float = 3
    memory_bytes: int = 512 * 1024**2
    output_bytes: int = 1024**2
    program_seconds: float = 30


def is_json(text: str | bytes, kind: type = object) -> bool:
    """Whether a text is JSON of a kind. Long integers, NaN and infinities are allowed."""
    try:  # integers stay text: those of over 4,300 digits are refused, and slow to convert
        return isinstance(json.loads(text, parse_int=str), kind)
    except (ValueError, RecursionError):
        return False
