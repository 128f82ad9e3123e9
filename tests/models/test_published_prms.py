"""Process reward models that are published with code of their own, and those of TRL's PRMTrainer.

A small random model is saved in the published layout. Its scores are computed in the test from the
definition of the format, with plain transformers models and no code of e2h.
"""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2Model,
)

from e2h_cli.common.errors import InputError
from e2h_cli.data import template
from e2h_cli.inference.scoring import score_texts, token_scores
from e2h_cli.models.reward_formats import family_of, kind_of, open_reward_model
from tests.builders import reward_model, reward_tokenizer

QUESTION = "What is 1 + 2?"
TEXT = template.completion(["We add.", "So 1 + 2 = 3."], "3")
STEPS = ["We add.", "So 1 + 2 = 3. The answer is: 3"]
# A text of another project: no answer block, and a newline in a step.
FOREIGN = "We add\nthem.\n\nSo 1 + 2 = 3."
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
)
SYSTEM = r"Please reason step by step, and put your final answer within \boxed{}."


def qwen_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer with the special tokens of Qwen2.5-Math-PRM."""
    tokens = reward_tokenizer("byte-bpe")
    tokens.add_special_tokens(
        {"additional_special_tokens": ["<|im_start|>", "<|im_end|>", "<extra_0>", "<|endoftext|>"]}
    )
    tokens.chat_template = CHATML
    return tokens


def qwen2(tokens: PreTrainedTokenizerFast) -> Qwen2Model:
    """A random Qwen2 without head."""
    torch.manual_seed(3)
    config = Qwen2Config(
        vocab_size=len(tokens),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        bos_token_id=None,
        eos_token_id=None,
    )
    model = Qwen2Model(config).eval()
    for weight in model.parameters():
        if weight.dim() > 1:
            nn.init.normal_(weight, std=0.3)
    return model


def save(
    folder: Path,
    tokens: PreTrainedTokenizerFast,
    backbone: Qwen2Model,
    weights: dict[str, torch.Tensor],
    **config: Any,
) -> str:
    """Write a model folder with these weights; ``config``: entries of config.json."""
    tokens.save_pretrained(folder)
    save_file({k: w.contiguous() for k, w in weights.items()}, folder / "model.safetensors")
    entries = {**backbone.config.to_diff_dict(), **config, "model_type": "qwen2"}
    (folder / "config.json").write_text(json.dumps(entries))
    return str(folder)


def qwen_prm(folder: Path) -> tuple[str, nn.Sequential, Qwen2Model]:
    """A model folder as that of Qwen2.5-Math-PRM, its head and its backbone."""
    tokens = qwen_tokenizer()
    backbone = qwen2(tokens)
    head = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
    weights = {f"model.{k}": w for k, w in backbone.state_dict().items()}
    weights |= {f"score.{k}": w for k, w in head.state_dict().items()}
    weights["lm_head.weight"] = torch.zeros(len(tokens), 32)
    modules = {
        "AutoConfig": "configuration_qwen2_rm.Qwen2RMConfig",
        "AutoModel": "modeling_qwen2_rm.Qwen2ForProcessRewardModel",
    }
    architectures = ["Qwen2ForProcessRewardModel"]
    path = save(folder, tokens, backbone, weights, architectures=architectures, auto_map=modules)
    return path, head, backbone


def skywork_prm(
    folder: Path, architecture: str = "Qwen2ForPrmModel", prefix: str = ""
) -> tuple[str, nn.Linear, Qwen2Model]:
    """A model folder as that of Skywork-o1-Open-PRM, its head and its backbone."""
    tokens = qwen_tokenizer()
    tokens.bos_token = "<|endoftext|>"
    backbone = qwen2(tokens)
    head = nn.Linear(32, 1)
    weights = {f"{prefix}model.{k}": w for k, w in backbone.state_dict().items()}
    weights |= {f"v_head.summary.{k}": w for k, w in head.state_dict().items()}
    weights[f"{prefix}lm_head.weight"] = torch.zeros(len(tokens), 32)
    path = save(folder, tokens, backbone, weights, architectures=[architecture])
    return path, head, backbone


def scores_of(path: str, text: str) -> list[float]:
    """Scores of the steps, the last one being the outcome, as ``e2h rerank`` computes them."""
    [scores] = score_texts(path, [QUESTION], [text])
    return [*scores.steps, scores.outcome]


def tokens_read(path: str) -> list[str]:
    """The tokens at which scores are read, as ``e2h rerank --show-tokens`` shows them."""
    shown = token_scores(open_reward_model(path), QUESTION, TEXT, True)
    return [token for token, score in shown if score is not None]


def assert_equal(found: list[float], expected: list[float]) -> None:
    """All scores are equal, and they differ from one another."""
    assert len(found) == len(expected)
    difference = max(abs(a - b) for a, b in zip(found, expected, strict=True))
    print(f"largest difference: {difference:.1e}")
    assert difference < 1e-5
    assert max(expected) - min(expected) > 1e-4


@pytest.mark.parametrize(
    ("text", "steps"), [(TEXT, STEPS), (FOREIGN, ["We add\nthem.", "So 1 + 2 = 3."])]
)
@torch.inference_mode()
def test_qwen_prm_is_the_second_label_at_each_mark(
    text: str, steps: list[str], tmp_path: Path
) -> None:
    path, head, backbone = qwen_prm(tmp_path)
    tokens = AutoTokenizer.from_pretrained(path)
    assert (family_of(path), kind_of(path)) == ("qwen-prm", "prm")
    chat = (
        f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n{QUESTION}<|im_end|>\n"
        f"<|im_start|>assistant\n{'<extra_0>'.join(steps)}<extra_0><|im_end|>\n"
    )
    ids = torch.tensor([tokens(chat).input_ids])
    logits = head(backbone(input_ids=ids).last_hidden_state)
    marks = ids == tokens.convert_tokens_to_ids("<extra_0>")
    assert_equal(scores_of(path, text), logits[marks].softmax(-1)[:, 1].tolist())


@torch.inference_mode()
def test_show_tokens_shows_the_marks(tmp_path: Path) -> None:
    assert tokens_read(qwen_prm(tmp_path / "qwen")[0]) == ["<extra_0>", "<extra_0>"]
    assert tokens_read(skywork_prm(tmp_path / "skywork")[0]) == ["\n", "\n"]


def test_a_mark_in_the_text_of_a_solution_is_no_step(tmp_path: Path) -> None:
    path, *_ = qwen_prm(tmp_path)
    assert len(scores_of(path, "We <extra_0> add.\n\nSo 3.")) == 2


@pytest.mark.parametrize(
    ("architecture", "prefix"),
    [("Qwen2ForPrmModel", ""), ("Qwen2ForRewardModel", "pretrained_model.")],
)
@torch.inference_mode()
def test_skywork_prm_is_the_value_at_each_newline(
    architecture: str, prefix: str, tmp_path: Path
) -> None:
    path, head, backbone = skywork_prm(tmp_path, architecture, prefix)
    tokens = AutoTokenizer.from_pretrained(path)
    assert (family_of(path), kind_of(path)) == ("skywork-prm", "prm")
    ids = tokens.encode(f"<|endoftext|>{QUESTION}\n")
    flags = [0] * len(ids)
    for step in STEPS:
        step_ids = [*tokens.encode(step), tokens.encode("\n")[-1]]
        ids += step_ids
        flags += [0] * (len(step_ids) - 1) + [1]
    values = head(backbone(input_ids=torch.tensor([ids])).last_hidden_state)[0, :, 0].sigmoid()
    assert_equal(scores_of(path, TEXT), values[torch.tensor(flags) == 1].tolist())


@pytest.mark.parametrize("bos", ["<|endoftext|>", None])
@torch.inference_mode()
def test_a_prm_of_trl_is_read_where_it_was_trained(bos: str | None, tmp_path: Path) -> None:
    """Tokens and positions as ``tokenize_row`` of TRL 1.13 makes them of a row."""
    tokens = qwen_tokenizer()
    tokens.bos_token = bos
    path = reward_model(tmp_path, AutoModelForTokenClassification, tokens, num_labels=2)
    tokens = AutoTokenizer.from_pretrained(path)
    assert tokens.bos_token == bos
    assert family_of(path) == "token-classification"
    row = {"prompt": QUESTION, "completions": STEPS, "labels": [True, False]}
    prompt = tokens(row["prompt"], add_special_tokens=False)["input_ids"]
    separator = tokens.encode("\n", add_special_tokens=False)
    completions = [
        tokens(completion, add_special_tokens=False)["input_ids"] + separator
        for completion in row["completions"]
    ]
    labels = [
        [-100] * (len(completion) - 1) + [int(label)]
        for completion, label in zip(completions, row["labels"], strict=True)
    ]
    if tokens.bos_token_id is not None:
        prompt = [tokens.bos_token_id, *prompt]
    ids = torch.tensor([[*prompt, *chain(*completions)]])
    labelled = torch.tensor([-100] * len(prompt) + [*chain(*labels)]) != -100
    model = AutoModelForTokenClassification.from_pretrained(path).eval()
    assert_equal(scores_of(path, TEXT), model(ids).logits[0, labelled].softmax(-1)[:, 1].tolist())


def test_other_weights_are_refused(tmp_path: Path) -> None:
    qwen, *_ = qwen_prm(tmp_path / "qwen")
    skywork, *_ = skywork_prm(tmp_path / "skywork")
    with pytest.raises(InputError, match=r"no weights for score.0.bias, score.0.weight"):
        open_reward_model(skywork, "qwen-prm")
    with pytest.raises(InputError, match=r"no weights for score.bias, score.weight"):
        open_reward_model(qwen, "skywork-prm")
    for path in (qwen, skywork):
        file = Path(path) / "model.safetensors"
        save_file({**load_file(file), "adapter.weight": torch.zeros(1)}, file)
        with pytest.raises(InputError, match=r"no place for the weights adapter.weight"):
            open_reward_model(path)


def test_a_tokenizer_without_the_mark_is_refused(tmp_path: Path) -> None:
    path, *_ = qwen_prm(tmp_path)
    reward_tokenizer("byte-bpe", chat=True).save_pretrained(path)
    with pytest.raises(InputError, match=r"needs a chat template and a token <extra_0>"):
        open_reward_model(path)
