"""The tests of a problem that is solved by a program, as the JSON text that graders read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

# How ``text`` begins, and no answer to a question of mathematics.
_START = '{"function":'


@dataclass(frozen=True, slots=True)
class ProgramTests:
    """Inputs with the expected outputs; without outputs, inputs on which behaviour is compared.

    Attributes:
        inputs: texts for standard input or, with ``function``, JSON lists of its arguments.
        outputs: texts of standard output or, with ``function``, the result as JSON.
        function: name of the function that is called; None for a program that reads and writes.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...] = ()
    function: str | None = None

    def text(self) -> str:
        """The tests as JSON, the same text for the same tests."""
        return json.dumps(self.fields(), ensure_ascii=False, separators=(",", ":"))

    def fields(self) -> dict[str, Any]:
        """The tests as the JSON object that stands in files."""
        return {"function": self.function, "inputs": [*self.inputs], "outputs": [*self.outputs]}

    def public(self, kept: Iterable[int]) -> ProgramTests:
        """Some of the inputs, without their outputs."""
        return ProgramTests(tuple(self.inputs[i] for i in kept), (), self.function)

    @classmethod
    def parse(cls, text: str) -> ProgramTests:
        """The tests of a JSON text. Raises ValueError where it is none."""
        return cls.read(json.loads(text))

    @classmethod
    def read(cls, found: object) -> ProgramTests:
        """The tests of a JSON object. Raises ValueError that says what is wrong with it."""
        if not isinstance(found, dict):
            raise ValueError("tests are not an object")
        texts = []
        for key in ("inputs", "outputs"):
            values = found.get(key, [])
            if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
                raise ValueError(f"'{key}' is not a list of texts")
            texts.append(tuple(values))
        inputs, outputs = texts
        function = found.get("function")
        if function is not None and not (isinstance(function, str) and function.isidentifier()):
            raise ValueError("'function' is not a name")
        if not inputs:
            raise ValueError("no 'inputs'")
        if outputs and len(outputs) != len(inputs):
            raise ValueError(f"{len(inputs)} inputs, but {len(outputs)} outputs")
        if function:
            _check_calls(inputs, outputs)
        return cls(inputs, outputs, function)


def is_tests(text: str) -> bool:
    """Whether an answer is the text of tests; told by its beginning, since tests may be long."""
    return text.startswith(_START)


def _check_calls(inputs: Iterable[str], outputs: Iterable[str]) -> None:
    """Raise ValueError where arguments are no JSON list or a result is no JSON."""
    try:  # Long integers stay text, since Python refuses to convert them.
        for text in inputs:
            if not isinstance(json.loads(text, parse_int=str), list):
                raise ValueError(f"input {text[:40]!r} is not a list of arguments")
        for text in outputs:
            json.loads(text, parse_int=str)
    except RecursionError as error:
        raise ValueError("values are nested too deep") from error
