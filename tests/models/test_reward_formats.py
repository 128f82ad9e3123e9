"""Other people's reward models, against their definitions; scoring that survives a kill."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedTokenizerFast,
)

from e2h_cli.common.errors import InputError, RunError
from e2h_cli.data import template
from e2h_cli.inference import batching as passes
from e2h_cli.inference import scoring
from e2h_cli.models.reward_formats import RewardModel, family_of, open_reward_model
from tests import builders
from tests.conftest import MINI, copy_stages, e2h

QUESTION = "What is 1 + 2?"
STEPS = ["We add.", "So 1 + 2 = 3."]
TEXT = template.completion(STEPS, "3")
OPEN = "We add.\n\nSo 1 + 2"
PLAIN = ["We add.", "So 1 + 2 = 3. The answer is: 3"]
CHAT = (
    "{% for m in messages %}<{{ m['role'] }}>\n{{ m['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>\n{% endif %}"
)


def tokens_of(kind: str = "character", *, chat: bool = False) -> PreTrainedTokenizerFast:
    texts = [*builders._TEXT, "Step 1: ки +-", "<user>\n<assistant>\n"]
    tokens = builders.tokenizer(kind, texts)
    tokens.chat_template = CHAT if chat else None
    return tokens


def built(folder: Path, loader: type, tokens: PreTrainedTokenizerFast, **options: int) -> str:
    """A small random model of a class, with heads that are not zero."""
    builders.llama(folder / "base", tokens)
    torch.manual_seed(1)
    model = loader.from_pretrained(folder / "base", **options)
    for name, weight in model.named_parameters():
        if "score" in name or "lm_head" in name:
            torch.nn.init.normal_(weight, std=0.5)
    model.save_pretrained(folder / "model")
    tokens.save_pretrained(folder / "model")
    return str(folder / "model")


def scores(model: RewardModel, text: str, *, finished: bool = True) -> list[float]:
    reading = model.read(QUESTION, text, finished)
    found = passes.score_batches(
        model.backbone, model.head, [reading], 10**6, device=model.device, pad=model.pad
    )
    _, (one,) = next(iter(found))
    return [*one.steps, one.outcome]


@torch.inference_mode()
def logits(model: torch.nn.Module, ids: list[int]) -> torch.Tensor:
    return model(input_ids=torch.tensor([ids])).logits[0].float()


@pytest.mark.parametrize("kind", builders.KINDS)
def test_llemma_is_the_mean_logit_at_the_first_newline(kind: str, tmp_path: Path) -> None:
    tokens = tokens_of(kind)
    place = built(tmp_path, AutoModelForCausalLM, tokens)
    model = AutoModelForCausalLM.from_pretrained(place).eval()
    prompt = template.prompt(QUESTION)
    whole = prompt + TEXT
    ids = tokens(whole).input_ids
    head = tokens(prompt).input_ids
    offsets = tokens(whole, return_offsets_mapping=True).offset_mapping
    if ids[: len(head)] != head:
        tail = tokens(TEXT, return_offsets_mapping=True, add_special_tokens=False)
        ids = head + tail.input_ids
        offsets = [(0, 0)] * len(head) + [
            (a + len(prompt), b + len(prompt)) for a, b in tail.offset_mapping
        ]
    ids = [*ids, tokens.eos_token_id]
    expected, at = [], len(prompt)
    for _ in STEPS:
        newline = whole.index("\n", at)
        token = max(i for i, (a, b) in enumerate(offsets) if a <= newline < b)
        expected.append(logits(model, ids)[token].mean().sigmoid().item())
        at = newline + 2
    expected.append(logits(model, ids)[-1].mean().sigmoid().item())
    assert scores(open_reward_model(place, "llemma"), TEXT) == pytest.approx(expected, abs=1e-5)


def test_two_exported_rows_are_averaged(tmp_path: Path) -> None:
    """The trained head has two rows whose outputs are averaged; it starts at zero."""
    tokens = tokens_of()
    place = built(tmp_path, AutoModelForCausalLM, tokens)
    model = AutoModelForCausalLM.from_pretrained(place)
    rows = torch.randn(2, model.config.hidden_size)
    # An even number of rows, so that both stand there equally often.
    model.resize_token_embeddings(len(tokens) + len(tokens) % 2)
    weight = model.get_output_embeddings().weight
    with torch.no_grad():
        weight.copy_(rows.repeat(len(weight) // 2, 1))
    model.save_pretrained(place)
    reward = open_reward_model(place, "llemma")
    features = torch.randn(3, model.config.hidden_size)
    torch.testing.assert_close(reward.head(features), (features @ rows.mean(0)).sigmoid())
    with torch.no_grad():
        weight.zero_()
    model.save_pretrained(place)
    assert scores(open_reward_model(place, "llemma"), TEXT) == [0.5] * 3


@pytest.mark.parametrize("kind", ["character", "byte-bpe"])
def test_math_shepherd_is_plus_against_minus_at_each_mark(kind: str, tmp_path: Path) -> None:
    tokens = tokens_of(kind)
    place = built(tmp_path, AutoModelForCausalLM, tokens)
    model = AutoModelForCausalLM.from_pretrained(place).eval()
    signs = [tokens(sign).input_ids[-1] for sign in "+-"]
    expected, text = [], QUESTION
    for i, step in enumerate(PLAIN, 1):
        text += f"{' ' if i == 1 else chr(10)}Step {i}: {step} ки"
        expected.append(logits(model, tokens(text).input_ids)[-1, signs].softmax(-1)[0].item())
    reward = open_reward_model(place, "math-shepherd")
    assert scores(reward, TEXT) == pytest.approx(expected, abs=1e-5)
    assert len(scores(reward, OPEN, finished=False)) == 2


def test_rlhflow_is_what_the_assistant_would_answer(tmp_path: Path) -> None:
    tokens = tokens_of(chat=True)
    place = built(tmp_path, AutoModelForCausalLM, tokens)
    model = AutoModelForCausalLM.from_pretrained(place).eval()
    signs = [tokens(sign).input_ids[-1] for sign in "+-"]
    expected, turns = [], []
    for i, step in enumerate(PLAIN):
        turns.append({"role": "user", "content": f"{QUESTION} {step}" if i == 0 else step})
        text = tokens.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        expected.append(logits(model, tokens(text).input_ids)[-1, signs].softmax(-1)[0].item())
        turns.append({"role": "assistant", "content": "+"})
    assert scores(open_reward_model(place, "rlhflow"), TEXT) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("labels", [1, 2])
def test_token_classifiers_are_read_at_the_newline_after_a_step(
    labels: int, tmp_path: Path
) -> None:
    tokens = tokens_of("byte-bpe")
    place = built(tmp_path, AutoModelForTokenClassification, tokens, num_labels=labels)
    assert family_of(place) == "token-classification"
    model = AutoModelForTokenClassification.from_pretrained(place).eval()
    ids = tokens(QUESTION).input_ids + tokens("\n").input_ids
    expected = []
    for step in PLAIN:
        ids = ids + tokens(step).input_ids + tokens("\n").input_ids
        last = logits(model, ids)[-1]
        expected.append((last.sigmoid()[0] if labels == 1 else last.softmax(-1)[1]).item())
    assert scores(open_reward_model(place), TEXT) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("chat", [True, False])
def test_sequence_classifiers_have_one_score(chat: bool, tmp_path: Path) -> None:
    tokens = tokens_of(chat=chat)
    place = built(tmp_path, AutoModelForSequenceClassification, tokens, num_labels=1)
    assert family_of(place) == "sequence-classification"
    model = AutoModelForSequenceClassification.from_pretrained(place).eval()
    if chat:
        turns = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": TEXT}]
        ids = tokens(tokens.apply_chat_template(turns, tokenize=False)).input_ids
    else:
        ids = [*tokens(template.prompt(QUESTION) + TEXT).input_ids, tokens.eos_token_id]
    with torch.inference_mode():
        expected = model(input_ids=torch.tensor([ids])).logits[0, 0].sigmoid().item()
    assert scores(open_reward_model(place), TEXT) == pytest.approx([expected], abs=1e-5)


def test_a_family_in_doubt_is_asked_for(tmp_path: Path) -> None:
    tokens = tokens_of()
    place = built(tmp_path, AutoModelForCausalLM, tokens)
    with pytest.raises(InputError, match="cannot tell how to read scores from LlamaForCausalLM"):
        family_of(place)
    for name, family in (("Math-Shepherd-7b", "math-shepherd"), ("llemma-7b-prm", "llemma")):
        shutil.copytree(place, tmp_path / name)
        assert family_of(str(tmp_path / name)) == family
    config = json.loads((Path(place) / "config.json").read_text())
    config["architectures"] = ["Qwen2ForProcessRewardModel"]
    (Path(place) / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="code of the model's own, and e2h runs none"):
        family_of(place)
    three = built(tmp_path / "three", AutoModelForSequenceClassification, tokens, num_labels=3)
    with pytest.raises(InputError, match="has one label, this classifier 3"):
        open_reward_model(three)
    with pytest.raises(InputError, match="no weights for a score"):
        open_reward_model(str(tmp_path / "llemma-7b-prm"), "token-classification")
    no_chat = tmp_path / "rlhflow"
    shutil.copytree(tmp_path / "llemma-7b-prm", no_chat)
    with pytest.raises(InputError, match="chat template"):
        open_reward_model(str(no_chat))


def test_batches_change_no_score_and_pad_little(tmp_path: Path) -> None:
    tokens = tokens_of("byte-bpe")
    reward = open_reward_model(built(tmp_path, AutoModelForCausalLM, tokens), "llemma")
    texts = [
        template.completion([f"Step {'x' * (i % 9)}" for _ in range(1 + i % 7)], str(i))
        for i in range(60)
    ]
    readings = [reward.read(QUESTION, text, True) for text in texts]

    def found(budget: int) -> tuple[dict[int, list[float]], passes.ScoringStats]:
        tally = passes.ScoringStats()
        made = passes.score_batches(
            reward.backbone, reward.head, readings, budget, device=reward.device, pad=reward.pad,
            stats=tally,
        )  # fmt: skip
        return {
            i: [*one.steps, one.outcome]
            for many, scored in made
            for i, one in zip(many, scored, strict=True)
        }, tally

    alone, none = found(1)
    together, some = found(2000)
    assert none.padding == 0
    assert none.tokens == some.tokens
    assert 0 < some.padding < 0.06 * some.tokens
    for i, values in alone.items():
        assert together[i] == pytest.approx(values, abs=1e-5)


def test_a_shared_prompt_changes_no_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = tokens_of("byte-bpe")
    monkeypatch.setattr(passes, "_SHARED_TOKENS", (1, 1))
    for loader, family in (
        (AutoModelForCausalLM, "llemma"),
        (AutoModelForTokenClassification, "auto"),
    ):
        folder = tmp_path / family
        reward = open_reward_model(built(folder, loader, tokens), family)
        questions = [f"What is {i} + 2?" * (1 + i) for i in range(3)]
        texts = [template.completion([f"x{'y' * j}."] * (1 + j % 4), str(j)) for j in range(9)]
        keys = [(q, t) for t in texts for q in questions] + [("Alone?", texts[0])]
        readings = [reward.read(q, t, True) for q, t in keys]

        def found(
            problems: list[str] | None, reward: RewardModel = reward, readings: list = readings
        ) -> tuple[dict, passes.ScoringStats]:
            tally = passes.ScoringStats()
            made = passes.score_batches(
                reward.backbone, reward.head, readings, 300, device=reward.device,
                pad=reward.pad, stats=tally, problems=problems,
            )  # fmt: skip
            return {
                i: [*one.steps, one.outcome]
                for many, scored in made
                for i, one in zip(many, scored, strict=True)
            }, tally

        apart, whole = found(None)
        together, less = found([q for q, _ in keys])
        assert whole.shared == 0 < less.shared
        # Only the beginnings are saved, nothing else is left out.
        assert less.tokens + less.shared == whole.tokens
        assert apart.keys() == together.keys()
        for i, values in apart.items():
            assert together[i] == pytest.approx(values, abs=1e-5)


def test_a_score_that_is_no_number_stops_the_work(tmp_path: Path) -> None:
    tokens = tokens_of()
    reward = open_reward_model(built(tmp_path, AutoModelForCausalLM, tokens), "llemma")
    reading = reward.read(QUESTION, TEXT, True)
    broken = passes.score_batches(
        reward.backbone, lambda x: x.sum(-1) * float("nan"), [reading], 99,
        device=reward.device, pad=reward.pad,
    )  # fmt: skip
    with pytest.raises(RunError, match="the reward model returned NaN"):
        list(broken)


@pytest.fixture
def run(mini_run: Path, tmp_path: Path) -> Path:
    """A run folder with samples that nobody has scored."""
    return copy_stages(
        mini_run,
        tmp_path / "run",
        "split",
        "pretrain",
        "sft",
        "rm-samples",
        "supervise",
        "train-rm",
        "sample",
    )


def rerank(run: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return e2h("rerank", "--recipe", MINI, "--run-dir", run, *options, cwd=run.parent)


@pytest.mark.parametrize(
    ("family", "steps"), [("llemma", True), ("math-shepherd", True), ("sequence", False)]
)
def test_foreign_models_score_and_vote(family: str, steps: bool, run: Path, tmp_path: Path) -> None:
    tokens = builders.tokenizer(
        "character", ["Step 1: ки +-*= The answer is: # Question\n# Solution 0123456789 abcdefghi"]
    )
    if steps:
        place = built(tmp_path, AutoModelForCausalLM, tokens)
        options = ["--reward-model", place, "--family", family]
    else:
        place = built(tmp_path, AutoModelForSequenceClassification, tokens, num_labels=1)
        options = ["--reward-model", place]
    done = rerank(run, *options, "--show-tokens")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "]=0." in done.stdout
    found = pq.read_table(run / "rerank/scores/scores.parquet")
    assert found.num_rows == 96
    assert any(found["step_scores"].to_pylist()) == steps
    results = json.loads((run / "rerank/results.json").read_text())["metrics"]
    hows = {f["aggregate"] for f in results if f["method"] == "best-of-n"}
    assert hows == ({"min"} if steps else {"last"})
    line = json.loads((run / "rerank/scores/engines.jsonl").read_text())
    assert line["tokens_per_second"] > 0
    assert line["samples"] == 96
    assert line["distinct"] <= 96


def test_kill_9_while_scoring_changes_no_score(run: Path, mini_run: Path) -> None:
    killed = 0
    for delay in (0.0, 0.05, 0.2, 0.5):
        process = subprocess.Popen(
            [sys.executable, "-m", "e2h_cli", "rerank", "--recipe", str(MINI), "--run-dir",
             str(run), "--batch-tokens", "64"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=run.parent,
            env=dict(os.environ),
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if (run / "rerank/scores/conditions.json").exists():
                time.sleep(delay)
                break
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
    assert killed
    done = rerank(run)
    assert done.returncode == 0, done.stderr
    ours, theirs = (
        pq.read_table(r / "rerank/scores/scores.parquet").to_pylist() for r in (run, mini_run)
    )
    assert [(r["id"], r["sample"]) for r in ours] == [(r["id"], r["sample"]) for r in theirs]
    for a, b in zip(ours, theirs, strict=True):
        assert a["step_scores"] == pytest.approx(b["step_scores"], abs=1e-4)
        assert a["outcome_score"] == pytest.approx(b["outcome_score"], abs=1e-4)


def test_two_models_at_once_score_the_same(
    run: Path, mini_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine with two GPUs: a process each, and parts of its own."""
    from e2h_cli.data.split_files import read_problems_with_answers
    from e2h_cli.inference.sampling import read_samples

    monkeypatch.setattr(scoring, "gpu_count", lambda: 2)
    table = scoring.score_samples(
        read_samples(run / "sample"), read_problems_with_answers(run / "split"), str(run / "train-rm"),
        run / "two", conditions={}, batch_tokens=4096, precision="auto", title="t",
    )  # fmt: skip
    theirs = pq.read_table(mini_run / "rerank/scores/scores.parquet").to_pylist()
    assert len((run / "two/engines.jsonl").read_text().splitlines()) == 2
    for a, b in zip(table.to_pylist(), theirs, strict=True):
        assert (a["id"], a["sample"]) == (b["id"], b["sample"])
        assert a["step_scores"] == pytest.approx(b["step_scores"], abs=1e-4)
