"""Recipes that would hang, crash or mislead a parser are refused in one line."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.pipeline.checked_yaml import load_yaml

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "values with its aliases"),
        ("a: &a [*a]\n", "an anchor inside itself"),
        ("a: " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        ("a: " + "1" * 5000, "not valid YAML"),
        ('a: !!int "abc"', "not valid YAML"),
        ("a: 2026-11-24", "is a date"),
        ("a: 2026-99-99", "not valid YAML"),
        ("a: !!binary aGVsbG8=", "is a bytes"),
        ("a: !!python/object/apply:os.system [true]", "not valid YAML"),
        ("1: a", "key 1 is not a text"),
        ("# " + "x" * 2**20, "larger than"),
    ],
)
def test_hostile_yaml_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(text)
    begin = time.monotonic()
    with pytest.raises(InputError, match=r"r\.yaml") as error:
        load_yaml(file)
    assert message in str(error.value)
    assert len(str(error.value)) < 500
    assert time.monotonic() - begin < 10
