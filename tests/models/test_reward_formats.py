"""Reward models of each family against the definition of its format."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from e2h_cli.common.errors import InputError
from e2h_cli.data import template
from e2h_cli.models.reward_formats import RewardModel, family_of, open_reward_model
from tests import builders
from tests.builders import reward_model, reward_tokenizer

QUESTION = "What is 1 + 2?"
STEPS = ["We add.", "So 1 + 2 = 3."]
TEXT = template.completion(STEPS, "3")
OPEN = "We add.\n\nSo 1 + 2"
PLAIN = ["We add.", "So 1 + 2 = 3. The answer is: 3"]


@torch.inference_mode()
def scores(model: RewardModel, text: str, *, finished: bool = True) -> list[float]:
    """Of the steps and the outcome, from one forward pass."""
    encoded = model.encode(QUESTION, text, finished)
    features = model.backbone(input_ids=torch.tensor([encoded.input_ids])).last_hidden_state[0]
    return model.head(features[[*encoded.step_positions, encoded.outcome_position]]).tolist()


@torch.inference_mode()
def logits(model: torch.nn.Module, ids: list[int]) -> torch.Tensor:
    return model(input_ids=torch.tensor([ids])).logits[0].float()


@pytest.mark.parametrize("kind", builders.KINDS)
def test_llemma_is_the_mean_logit_at_the_first_newline(kind: str, tmp_path: Path) -> None:
    tokens = reward_tokenizer(kind)
    path = reward_model(tmp_path, AutoModelForCausalLM, tokens)
    model = AutoModelForCausalLM.from_pretrained(path).eval()
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
    assert scores(open_reward_model(path, "llemma"), TEXT) == pytest.approx(expected, abs=1e-5)


def test_two_exported_rows_are_averaged(tmp_path: Path) -> None:
    """The trained head has two rows whose outputs are averaged; it starts at zero."""
    tokens = reward_tokenizer()
    path = reward_model(tmp_path, AutoModelForCausalLM, tokens)
    model = AutoModelForCausalLM.from_pretrained(path)
    rows = torch.randn(2, model.config.hidden_size)
    # An even number of rows, so that both stand there equally often.
    model.resize_token_embeddings(len(tokens) + len(tokens) % 2)
    weight = model.get_output_embeddings().weight
    with torch.no_grad():
        weight.copy_(rows.repeat(len(weight) // 2, 1))
    model.save_pretrained(path)
    reward = open_reward_model(path, "llemma")
    features = torch.randn(3, model.config.hidden_size)
    torch.testing.assert_close(reward.head(features), (features @ rows.mean(0)).sigmoid())
    with torch.no_grad():
        weight.zero_()
    model.save_pretrained(path)
    assert scores(open_reward_model(path, "llemma"), TEXT) == [0.5] * 3


@pytest.mark.parametrize("kind", ["character", "byte-bpe"])
def test_math_shepherd_is_plus_against_minus_at_each_mark(kind: str, tmp_path: Path) -> None:
    tokens = reward_tokenizer(kind)
    path = reward_model(tmp_path, AutoModelForCausalLM, tokens)
    model = AutoModelForCausalLM.from_pretrained(path).eval()
    signs = [tokens(sign).input_ids[-1] for sign in "+-"]
    expected, text = [], QUESTION
    for i, step in enumerate(PLAIN, 1):
        text += f"{' ' if i == 1 else chr(10)}Step {i}: {step} ки"
        expected.append(logits(model, tokens(text).input_ids)[-1, signs].softmax(-1)[0].item())
    reward = open_reward_model(path, "math-shepherd")
    assert scores(reward, TEXT) == pytest.approx(expected, abs=1e-5)
    assert len(scores(reward, OPEN, finished=False)) == 2


def test_rlhflow_is_what_the_assistant_would_answer(tmp_path: Path) -> None:
    tokens = reward_tokenizer(chat=True)
    path = reward_model(tmp_path, AutoModelForCausalLM, tokens)
    model = AutoModelForCausalLM.from_pretrained(path).eval()
    signs = [tokens(sign).input_ids[-1] for sign in "+-"]
    expected, turns = [], []
    for i, step in enumerate(PLAIN):
        turns.append({"role": "user", "content": f"{QUESTION} {step}" if i == 0 else step})
        text = tokens.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        expected.append(logits(model, tokens(text).input_ids)[-1, signs].softmax(-1)[0].item())
        turns.append({"role": "assistant", "content": "+"})
    assert scores(open_reward_model(path, "rlhflow"), TEXT) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("labels", [1, 2])
def test_token_classifiers_are_read_at_the_newline_after_a_step(
    labels: int, tmp_path: Path
) -> None:
    tokens = reward_tokenizer("byte-bpe")
    path = reward_model(tmp_path, AutoModelForTokenClassification, tokens, num_labels=labels)
    assert family_of(path) == "token-classification"
    model = AutoModelForTokenClassification.from_pretrained(path).eval()
    ids = tokens(QUESTION).input_ids
    expected = []
    for step in PLAIN:
        ids = ids + tokens(step).input_ids + tokens("\n").input_ids
        last = logits(model, ids)[-1]
        expected.append((last.sigmoid()[0] if labels == 1 else last.softmax(-1)[1]).item())
    assert scores(open_reward_model(path), TEXT) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("chat", [True, False])
def test_sequence_classifiers_have_one_score(chat: bool, tmp_path: Path) -> None:
    tokens = reward_tokenizer(chat=chat)
    path = reward_model(tmp_path, AutoModelForSequenceClassification, tokens, num_labels=1)
    assert family_of(path) == "sequence-classification"
    model = AutoModelForSequenceClassification.from_pretrained(path).eval()
    if chat:
        turns = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": TEXT}]
        ids = tokens(tokens.apply_chat_template(turns, tokenize=False)).input_ids
    else:
        ids = [*tokens(template.prompt(QUESTION) + TEXT).input_ids, tokens.eos_token_id]
    with torch.inference_mode():
        expected = model(input_ids=torch.tensor([ids])).logits[0, 0].sigmoid().item()
    assert scores(open_reward_model(path), TEXT) == pytest.approx([expected], abs=1e-5)


def test_a_family_in_doubt_is_asked_for(tmp_path: Path) -> None:
    tokens = reward_tokenizer()
    path = reward_model(tmp_path, AutoModelForCausalLM, tokens)
    with pytest.raises(InputError, match="cannot tell how to read scores from LlamaForCausalLM"):
        family_of(path)
    for name, family in (("Math-Shepherd-7b", "math-shepherd"), ("llemma-7b-prm", "llemma")):
        shutil.copytree(path, tmp_path / name)
        assert family_of(str(tmp_path / name)) == family
    config = json.loads((Path(path) / "config.json").read_text())
    config["architectures"] = ["InternLM2ForRewardModel"]
    (Path(path) / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="code of the model's own, and e2h runs none"):
        family_of(path)
    three = reward_model(
        tmp_path / "three", AutoModelForSequenceClassification, tokens, num_labels=3
    )
    with pytest.raises(InputError, match="has one label, this classifier 3"):
        open_reward_model(three)
    with pytest.raises(InputError, match=r"no weights for score\.bias"):
        open_reward_model(str(tmp_path / "llemma-7b-prm"), "token-classification")
    no_chat = tmp_path / "rlhflow"
    shutil.copytree(tmp_path / "llemma-7b-prm", no_chat)
    with pytest.raises(InputError, match="chat template"):
        open_reward_model(str(no_chat))
