"""The tests of a problem that is solved by a program, as the JSON text that graders read."""

from __future__ import annotations

import json
from dataclasses import dataclass


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
        fields = {"function": self.function, "inputs": self.inputs, "outputs": self.outputs}
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def parse(cls, text: str) -> ProgramTests:
        """The tests of a JSON text. Raises ValueError where it is none."""
        found = json.loads(text)
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
        if outputs and len(outputs) != len(inputs):
            raise ValueError(f"{len(inputs)} inputs, but {len(outputs)} outputs")
        return cls(inputs, outputs, function)
