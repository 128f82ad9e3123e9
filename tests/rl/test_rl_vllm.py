"""Reinforcement learning with vLLM as the writer: its weights are those of the policy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from e2h_cli.common.files import read_jsonl
from e2h_cli.data import template
from e2h_cli.inference.engines.base import Engine, Request, SamplingParameters
from e2h_cli.inference.engines.select import open_engine
from e2h_cli.inference.engines.transformers_engine import TransformersEngine
from e2h_cli.models.loading import load_generator, load_tokenizer
from e2h_cli.settings.sample import SampleSettings
from tests import builders
from tests.conftest import RL, e2h_process

pytest.importorskip("vllm", reason="vLLM is not installed; make test-vllm installs it")


def greedy(engine: Engine) -> list[str]:
    requests = [Request(f"p{i}", (0,), template.prompt(f"What is {i}?"), 0) for i in range(4)]
    parameters = SamplingParameters(temperature=0, max_tokens=12)
    found = {g.id: g.text for many in engine.generate(requests, parameters) for g in many}
    return [found[r.id] for r in requests]


def test_vllm_takes_over_new_weights(tmp_path: Path) -> None:
    tokens = builders.tokenizer("character", ["# Question\n\nWhat is 0123?\n\n# Solution\n\n"])
    first = builders.llama(tmp_path / "first", tokens, hidden=64)
    second = builders.llama(tmp_path / "second", tokens, hidden=64)
    settings = SampleSettings(engine="vllm", max_tokens=12)
    engine = open_engine(str(first), settings, [template.prompt("What is 0?")], tmp_path)
    wanted = []
    for place in (first, second):
        plain = TransformersEngine(load_generator(str(place)), load_tokenizer(str(place)))
        wanted.append(greedy(plain))
    assert wanted[0] != wanted[1]
    assert greedy(engine) == wanted[0]
    new = load_generator(str(second))
    engine.load_weights(new, dict(new.state_dict()))  # type: ignore[attr-defined]
    assert greedy(engine) == wanted[1]
    engine.sleep()  # type: ignore[attr-defined]  # where there is no GPU to leave
    assert greedy(engine) == wanted[1]


def test_two_steps_with_vllm(mini_run: Path, rl_run: Path, tmp_path: Path) -> None:
    (tmp_path / "mini").symlink_to(mini_run)
    for stage in ("validation-samples", "votes"):
        shutil.copytree(rl_run / stage, tmp_path / "run" / stage)
    # In a process of its own: vLLM needs the file descriptor of stdout, which tests replace.
    done = e2h_process(
        "rl", "--recipe", RL, "--scale", "tiny", "--run-dir", "run", "--engine", "vllm",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [line for _, line in read_jsonl(tmp_path / "run/rl/log.jsonl")]
    assert [line["step"] for line in lines] == [0, 1, 2]
    # What vLLM draws is what the policy that learns would draw.
    theirs = [line for _, line in read_jsonl(rl_run / "rl/log.jsonl")]
    assert lines[1]["entropy"] == pytest.approx(theirs[1]["entropy"], rel=0.15)
