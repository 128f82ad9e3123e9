"""Errors that e2h raises on purpose. The command line prints each as one line."""

from __future__ import annotations

from pathlib import Path

from e2h_cli.common.escapes import one_line


class E2HError(Exception):
    """A failure whose message tells the user what is wrong, where, and what to do.

    Args:
        problem: what is wrong.
        where: the file, line, key or option that it was found in.
        hint: what to do about it.
    """

    exit_code = 1

    def __init__(self, problem: str, *, where: str | Path = "", hint: str = "") -> None:
        self.problem = problem
        self.where = str(where)
        self.hint = hint
        super().__init__(self.line)

    @property
    def line(self) -> str:
        """The message as one line: ``where: problem; hint``."""
        text = f"{self.where}: {self.problem}" if self.where else self.problem
        if self.hint:
            text = f"{text}; {self.hint}"
        return one_line(text)


def reason_of(error: BaseException) -> str:
    """The first line of the message of another library's error; its class if it has none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


class InputError(E2HError):
    """Bad input: a file, a setting, an option or a model that cannot be used."""

    exit_code = 2


class RunError(E2HError):
    """Good input, but the work could not be done: no disk space, a model that returns NaN."""
