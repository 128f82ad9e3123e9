"""``e2h sample``: presets, few-shot prompts, stop texts, bad options, records."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from e2h_cli.data import template
from e2h_cli.data.split_files import read_split
from e2h_cli.inference.engines.base import Request, SamplingParameters
from e2h_cli.inference.engines.transformers_engine import TransformersEngine
from e2h_cli.models.loading import load_generator, load_tokenizer
from tests.inference.conftest import counts, expected_keys, keys, sample


def test_explicit_settings_override_a_preset(run: Path) -> None:
    done = sample(run, "--preset", "rest-em", "--n", "2", "--limit", "3")
    assert done.returncode == 0, done.stderr
    settings = json.loads((run / "sample/stage.json").read_text())["settings"]
    assert (settings["n"], settings["temperature"], settings["top_k"]) == (2, 1.0, 40)
    assert "preset" not in settings
    assert keys(run) == expected_keys(run, "test", 2)[:6]


def test_few_shot_solutions_end_before_the_next_question(run: Path) -> None:
    done = sample(run, "--preset", "icl", "--shots", "2", "--n", "2", "--logprob")
    assert done.returncode == 0, done.stderr
    table = pq.read_table(run / "sample/samples.parquet")
    assert not any(template.QUESTION_HEADER in text for text in table["text"].to_pylist())
    assert table["logprob"].null_count == 0
    assert "easy.jsonl" in counts(run)["read"]
    too_many = sample(run, "--shots", "900", "--force")
    assert too_many.returncode == 2
    assert "900 are needed" in too_many.stderr


def test_stop_texts_end_a_sample_of_the_transformers_engine(run: Path) -> None:
    model, tokenizer = load_generator(str(run / "sft")), load_tokenizer(str(run / "sft"))
    prompts = [template.prompt(p.problem) for p in read_split(run / "split", "test")]
    requests = [Request(str(i), (0,), p, 0) for i, p in enumerate(prompts)]
    engine = TransformersEngine(model, tokenizer)
    plain, cut = (
        {g.id: g for generations in engine.generate(requests, parameters) for g in generations}
        for parameters in (
            SamplingParameters(temperature=0, max_tokens=60),
            SamplingParameters(temperature=0, max_tokens=60, stop=("c=", "\n\n# Answer")),
        )
    )
    ended = 0
    for key, whole in plain.items():
        ends = [whole.text.find(stop) for stop in ("c=", "\n\n# Answer") if stop in whole.text]
        assert cut[key].text == (whole.text[: min(ends)] if ends else whole.text)
        assert cut[key].tokens <= whole.tokens
        if ends:
            assert cut[key].finish_reason == "stop"
            ended += 1
    assert ended


def test_speed_and_idle_time_of_engines_are_recorded(run: Path) -> None:
    assert sample(run, "--n", "4").returncode == 0
    found = counts(run)
    assert found["engines"] == ["transformers"]
    assert found["tokens_per_engine_second"] > 0
    assert 0 <= found["idle_share"] < 1
    assert sum(found["finish_reasons"].values()) == found["samples"] == 48
    assert sample(run, "--n", "6").returncode == 0
    lines = [json.loads(line) for line in (run / "sample/engines.jsonl").open()]
    assert [line["samples"] for line in lines] == [48, 24]
    # Speed is not part of the output.
    assert "engines.jsonl" not in json.loads((run / "sample/stage.json").read_text())["outputs"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shard", "3/2"], "not of the form i/n"),
        (["--engine-arg", "x"], "'x' is not key=value"),
        (["--engine-arg", "max_num_seqs=4"], "only vLLM takes engine arguments"),
        (["--preset", "greed"], "Input should be 'greedy'"),
        (["--max-tokens", "5000"], "lower --max-tokens to 4"),
        (["--ray", "127.0.0.1:1"], "--ray 127.0.0.1:1"),
        (["--stop", ""], "--stop: empty; leave the option out"),
    ],
)
def test_bad_options_are_one_line(run: Path, options: list[str], message: str) -> None:
    done = sample(run, *options)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed here")
def test_an_engine_that_is_not_installed_is_refused(run: Path) -> None:
    done = sample(run, "--engine", "vllm")
    assert done.returncode == 2
    assert "vLLM is not installed; install it with: pip install 'e2h[vllm]'" in done.stderr
