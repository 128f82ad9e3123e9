"""Reinforcement learning with vLLM as the engine: its weights are those of the policy."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from e2h_cli.data import template
from e2h_cli.inference.engines.base import Engine, Request, SamplingParameters
from e2h_cli.inference.engines.select import open_engine
from e2h_cli.inference.engines.transformers_engine import TransformersEngine
from e2h_cli.models.loading import load_generator, load_tokenizer
from e2h_cli.settings.sample import SampleSettings
from tests import builders
from tests.rl.conftest import log_lines, rl

pytest.importorskip("vllm", reason="vLLM is not installed; make test-vllm installs it")


def greedy(engine: Engine) -> list[str]:
    requests = [Request(f"p{i}", (0,), template.prompt(f"What is {i}?"), 0) for i in range(4)]
    greedy = SamplingParameters(0, 0, max_tokens=12)
    found = {g.id: g.text for many in engine.generate(requests, greedy)
             for g in many}  # fmt: skip
    return [found[r.id] for r in requests]


def test_vllm_takes_over_new_weights(tmp_path: Path) -> None:
    tokens = builders.tokenizer("character", ["# Question\n\nWhat is 0123?\n\n# Solution\n\n"])
    torch.manual_seed(0)
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


def test_two_steps_with_vllm(place: Path, rl_run: Path) -> None:
    done = rl(place, "--engine", "vllm")
    assert done.returncode == 0, done.stderr
    lines = log_lines(place / "run/rl")
    assert [line["step"] for line in lines] == [0, 1, 2]
    # What vLLM samples is what the policy that is trained would sample.
    theirs = log_lines(rl_run / "rl")
    assert lines[1]["entropy"] == pytest.approx(theirs[1]["entropy"], rel=0.15)
