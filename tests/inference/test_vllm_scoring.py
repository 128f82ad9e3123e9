"""Scoring with vLLM: lost logits are asked for again, and the scores are those of transformers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForTokenClassification,
)

from e2h_cli.common.errors import InputError, RunError
from e2h_cli.common.parquet_store import SAMPLE_SCHEMA
from e2h_cli.data import template
from e2h_cli.data.problem import Problem
from e2h_cli.inference import scoring
from e2h_cli.inference.batching import ScoringStats
from e2h_cli.inference.engines.vllm_scoring import VLLMClassifier, open_encoder, score_chunks
from e2h_cli.models.reward_model import new_reward_model, score_head
from e2h_cli.models.token_spans import EncodedSolution
from tests.builders import llama, reward_model, reward_tokenizer
from tests.conftest import MINI, assert_one_line, copy_stages, e2h, e2h_process
from tests.inference.conftest import needs_vllm

STAGES = ("split", "pretrain", "sft", "rm-samples", "supervise", "train-rm", "sample")


class FakeEngine:
    """Its logit at a token is the token; a cached prefix and ``lost`` more rows are missing."""

    def __init__(self, cached: int, lost: int = 0, lost_again: int = 0) -> None:
        self.cached, self.lost, self.lost_again = cached, lost, lost_again
        self.calls: list[tuple[int, bool]] = []

    def logits(self, prompts: Sequence[list[int]], use_cache: bool) -> list[tuple[object, int]]:
        self.calls.append((len(prompts), use_cache))
        cached, lost = (self.cached, self.lost) if use_cache else (0, self.lost_again)
        return [(torch.tensor(ids[cached + lost :])[:, None], cached) for ids in prompts]


def solution(length: int, *steps: int) -> EncodedSolution:
    """Its token at a position is the position less 4."""
    return EncodedSolution(list(range(-4, length - 4)), list(steps), length - 1)


def scores_of(engine: FakeEngine, *solutions: EncodedSolution) -> tuple[dict, ScoringStats]:
    stats, found = ScoringStats(), {}
    problems = [str(i % 2) for i in range(len(solutions))]
    for indices, scores in score_chunks(engine, solutions, problems, stats, chunk=2):
        found.update(zip(indices, scores, strict=True))
    assert sorted(found) == list(range(len(solutions)))
    return {i: [*found[i].steps, found[i].outcome] for i in found}, stats


def expected(encoded: EncodedSolution) -> list[float]:
    positions = [*encoded.step_positions, encoded.outcome_position]
    return torch.tensor([p - 4.0 for p in positions]).sigmoid().tolist()


def test_cached_tokens_have_no_logits_and_scored_ones_are_sent_again() -> None:
    solutions = [solution(9, 5, 7), solution(8, 4, 5), solution(7, 3, 5), solution(6)]
    engine = FakeEngine(cached=4)
    found, stats = scores_of(engine, *solutions)
    for i, encoded in enumerate(solutions):
        assert found[i] == pytest.approx(expected(encoded))
    # The third alone has a step in the cached part. Problem by problem, two at a time.
    assert engine.calls == [(2, True), (1, False), (2, True)]
    assert (stats.tokens, stats.shared) == (9 + 8 + 7 + 6 - 4 * 4 + 7, 4 * 4)


def test_lost_logits_are_asked_for_again_once() -> None:
    engine = FakeEngine(cached=0, lost=2)
    found, _ = scores_of(engine, solution(9, 5, 7))
    assert found[0] == pytest.approx(expected(solution(9, 5, 7)))
    assert engine.calls == [(1, True), (1, False)]
    with pytest.raises(RunError, match="too few logits for 1 of 1 solutions, twice"):
        scores_of(FakeEngine(cached=0, lost=1, lost_again=1), solution(9, 5, 7))


def test_what_vllm_cannot_score_is_refused_in_one_line(tmp_path: Path, mini_run: Path) -> None:
    path = reward_model(tmp_path, AutoModelForCausalLM, reward_tokenizer())
    for family in ("llemma", "math-shepherd", "rlhflow"):
        with pytest.raises(InputError, match=f"{family} reads its scores from an LM head; take"):
            open_encoder(path, family)
    with pytest.raises(InputError, match="up to 1023 tokens, and a solution has 1024"):
        VLLMClassifier(
            path, "e2h", max_model_len=1024, precision="fp32", engine_args={}, copy=tmp_path
        )
    run = copy_stages(mini_run, tmp_path / "run", *STAGES)
    done = e2h("rerank", "--recipe", MINI, "--run-dir", run, "--engine-arg", "a=1", cwd=tmp_path)
    assert_one_line(done, "only vLLM takes engine arguments")


def saved_model(kind: str, folder: Path) -> str:
    """A small random reward model. vLLM loads those of e2h and Qwen itself, of others a copy."""
    tokens = reward_tokenizer("byte-bpe", chat=kind in ("sequence", "qwen-prm"))
    if kind == "sequence":
        return reward_model(folder, AutoModelForSequenceClassification, tokens, num_labels=1)
    if kind.startswith("labels"):
        labels = int(kind.removeprefix("labels-"))
        return reward_model(folder, AutoModelForTokenClassification, tokens, num_labels=labels)
    torch.manual_seed(0)
    if kind == "qwen-prm":
        model = qwen_prm(tokens)
    else:
        model = new_reward_model(str(llama(folder / "base", tokens, hidden=128)), "prm")
    for parameter in score_head(model).parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder / "model")
    tokens.save_pretrained(folder / "model")
    if kind == "qwen-prm":
        file = folder / "model/config.json"
        config = json.loads(file.read_text())
        file.write_text(json.dumps(config | {"architectures": ["Qwen2ForProcessRewardModel"]}))
    return str(folder / "model")


def qwen_prm(tokens: PreTrainedTokenizerFast) -> Qwen2ForTokenClassification:
    """A random model with the head of Qwen2.5-Math-PRM, whose tokenizer has its mark."""
    tokens.add_special_tokens({"additional_special_tokens": ["<extra_0>"]})
    config = Qwen2Config(
        vocab_size=len(tokens), hidden_size=64, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, num_labels=2, bos_token_id=None,
        eos_token_id=None,
    )  # fmt: skip
    model = Qwen2ForTokenClassification(config)
    layers = torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 2)
    model.score = torch.nn.Sequential(*layers)
    return model


def scored(engine: str, path: str, folder: Path, **options: object) -> list[list[float]]:
    """Scores of 40 samples of 4 problems, some of them alike and some unfinished."""
    problems = {
        str(i): Problem(str(i), f"What is {i} + 2?" * 12, 1, "sums", "test", "3") for i in range(4)
    }
    texts = [template.completion([f"We add {j % 7}."] * (1 + j % 4), str(j % 5)) for j in range(10)]
    rows = [
        {"id": key, "sample": j, "text": text[:-9] if j == 3 else text, "tokens": 9,
         "finish_reason": "length" if j == 3 else "stop", "answer": "3", "logprob": None}
        for key in problems for j, text in enumerate(texts)
    ]  # fmt: skip
    table = scoring.score_samples(
        pa.Table.from_pylist(rows, schema=SAMPLE_SCHEMA), problems, path, folder,
        conditions={}, batch_tokens=None, precision="fp32", engine=engine, **options,
    )  # fmt: skip
    assert not list(folder.rglob(scoring.MODEL_COPY))
    line = json.loads((folder / "engines.jsonl").read_text())
    assert (line["engine"], line["samples"]) == (engine, 40)
    return [[*row["step_scores"], row["outcome_score"]] for row in table.to_pylist()]


@pytest.mark.slow
@needs_vllm
@pytest.mark.parametrize("kind", ["e2h", "labels-2", "sequence", "qwen-prm"])
def test_vllm_s_scores_are_those_of_transformers(kind: str, tmp_path: Path) -> None:
    path = saved_model(kind, tmp_path)
    ours = scored("transformers", path, tmp_path / "transformers")
    # Also with the prefix cache, where some steps are scored at cached tokens, and in chunks of
    # prompts: vLLM would wait forever for the end of one as long as its max_model_len.
    chunks = {"max_num_batched_tokens": 64, "max_num_seqs": 4, "enable_prefix_caching": True}
    for args in ({}, chunks) if kind == "labels-2" else ({},):
        theirs = scored("vllm", path, tmp_path / f"vllm-{len(args)}", engine_args=args)
        pairs = [p for a, b in zip(ours, theirs, strict=True) for p in zip(a, b, strict=True)]
        difference = max(abs(a - b) for a, b in pairs)
        print(f"{kind} {args}: {len(pairs)} scores, largest difference {difference:.1e}")
        assert difference < 1e-4
        assert max(a for a, _ in pairs) - min(a for a, _ in pairs) > 1e-3


@pytest.mark.slow
@needs_vllm
def test_rerank_with_vllm_scores_the_same(mini_run: Path, tmp_path: Path) -> None:
    run = copy_stages(mini_run, tmp_path / "run", *STAGES)
    arguments = ["rerank", "--recipe", MINI, "--run-dir", run, "--engine", "vllm"]
    wrong = e2h_process(*arguments, "--engine-arg", "runner=draft", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "--engine-arg runner: e2h sets it itself" in wrong.stderr
    done = e2h_process(*arguments, "--engine-arg", "max_num_seqs=5", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    tables = [pq.read_table(r / "rerank/scores/scores.parquet") for r in (run, mini_run)]
    ours, theirs = (table.to_pylist() for table in tables)
    assert [(r["id"], r["sample"]) for r in ours] == [(r["id"], r["sample"]) for r in theirs]
    for a, b in zip(ours, theirs, strict=True):
        assert a["step_scores"] == pytest.approx(b["step_scores"], abs=1e-4)
        assert a["outcome_score"] == pytest.approx(b["outcome_score"], abs=1e-4)
    counts = json.loads((run / "rerank/stage.json").read_text())["counts"]
    assert counts["engines"] == ["vllm"]
