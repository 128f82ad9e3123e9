"""Models that cannot be loaded, and the reward model of e2h."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    AutoModelForTokenClassification,
    BertConfig,
    DebertaV2Config,
    GPTNeoXConfig,
    LlamaConfig,
)

import e2h_cli.models
import e2h_cli.training
from e2h_cli.common.errors import InputError
from e2h_cli.models import load_generator, load_reward_model, load_tokenizer, new_reward_model
from e2h_cli.models.loading import is_causal
from e2h_cli.models.reward_model import score_head
from tests import builders

TINY = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}


def test_a_new_reward_model_has_no_dropout_in_front_of_its_head(tmp_path: Path) -> None:
    base = str(builders.llama(tmp_path / "m", builders.tokenizer("byte-bpe")))
    model = new_reward_model(base, "prm").train()
    torch.nn.init.ones_(score_head(model).weight)
    ids = torch.arange(3, 40)[None]
    assert torch.equal(model(ids).logits, model(ids).logits)


def test_a_new_reward_model_says_one_half_everywhere(tmp_path: Path) -> None:
    base = str(builders.llama(tmp_path / "m", builders.tokenizer("byte-bpe")))
    model = new_reward_model(base, "prm")
    logits = model(torch.tensor([[5, 6, 7]])).logits
    assert logits.shape == (1, 3, 1)
    assert torch.equal(logits, torch.zeros_like(logits))
    model.save_pretrained(tmp_path / "rm")
    again = load_reward_model(str(tmp_path / "rm"))
    assert again.config.e2h["kind"] == "prm"
    assert "separator" in again.config.e2h["step_score_at"]


def test_other_models_are_refused_as_reward_models(tmp_path: Path) -> None:
    base = str(builders.llama(tmp_path / "m", builders.tokenizer("byte-bpe")))
    with pytest.raises(InputError, match="not a reward model"):
        load_reward_model(base)
    other = AutoModelForTokenClassification.from_pretrained(base, num_labels=2)
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(InputError, match="not a reward model"):
        load_reward_model(str(tmp_path / "other"))


def test_generators_without_all_their_weights_are_refused(tmp_path: Path) -> None:
    """transformers makes up what is missing, and samples from NaN without a word."""
    base = builders.llama(tmp_path / "m", builders.tokenizer("byte-bpe"))
    assert load_generator(str(base))
    whole = load_file(base / "model.safetensors")
    head = {name: tensor for name, tensor in whole.items() if name != "lm_head.weight"}
    save_file(head, base / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"no weights for lm_head\.weight"):
        load_generator(str(base))
    whole["model.norm.weight"][3] = float("nan")
    save_file(whole, base / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"model\.norm\.weight has values that are not finite"):
        load_generator(str(base))


def test_reward_models_without_all_their_weights_are_refused(tmp_path: Path) -> None:
    base = builders.llama(tmp_path / "m", builders.tokenizer("byte-bpe"))
    new_reward_model(str(base), "prm").save_pretrained(tmp_path / "rm")
    file = tmp_path / "rm/model.safetensors"
    whole = load_file(file)
    save_file({k: v for k, v in whole.items() if "score" not in k}, file, {"format": "pt"})
    with pytest.raises(InputError, match=r"no weights for score"):
        load_reward_model(str(tmp_path / "rm"))
    whole["score.weight"][0, 0] = float("inf")
    save_file(whole, file, {"format": "pt"})
    with pytest.raises(InputError, match=r"score\.weight has values that are not finite"):
        load_reward_model(str(tmp_path / "rm"))


def test_broken_model_folders_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    for load in (load_generator, load_tokenizer):
        with pytest.raises(InputError) as error:
            load(str(tmp_path))
        assert "\n" not in str(error.value)
        assert str(tmp_path) in str(error.value)


def test_the_packages_export_names_without_importing_torch() -> None:
    for package in (e2h_cli.models, e2h_cli.training):
        assert all(callable(getattr(package, name)) or name.isupper() for name in package.__all__)
        with pytest.raises(AttributeError, match="attribute nothing"):
            package.nothing  # noqa: B018
    script = "import sys, e2h_cli.models, e2h_cli.training; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize(
    ("config", "causal"),
    [
        (LlamaConfig(**TINY), True),
        (GPTNeoXConfig(**TINY), True),
        (BertConfig(**TINY), False),
        (DebertaV2Config(**TINY), False),  # its layers do not say
    ],
)
def test_padding_on_the_right_needs_a_mask_unless_all_layers_look_back(
    config: Any, causal: bool
) -> None:
    torch.manual_seed(0)
    model = AutoModel.from_config(config).eval()
    assert is_causal(model) == causal
    ids = torch.tensor([[5, 6, 7, 8]])
    padded = torch.tensor([[5, 6, 7, 8, 0, 0]])
    with torch.inference_mode():
        alone, beside = (model(input_ids=x).last_hidden_state[:, :4] for x in (ids, padded))
    assert torch.allclose(alone, beside, atol=1e-6) == causal
