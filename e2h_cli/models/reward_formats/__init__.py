"""Reward models of e2h and of other projects: opening one, and telling its family.

A family turns a question and a solution into tokens and positions, and the features at a position
into P(correct). To add one, write its head and its encoder in a file of its own and name them in
``FAMILIES``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from e2h_cli.common.errors import InputError
from e2h_cli.models.loading import (
    device,
    load_complete,
    load_config,
    load_generator,
    load_tokenizer,
)
from e2h_cli.models.reward_formats.e2h_format import encode_e2h
from e2h_cli.models.reward_formats.llemma import encode_llemma, llemma_head
from e2h_cli.models.reward_formats.math_shepherd_prm import encode_math_shepherd
from e2h_cli.models.reward_formats.qwen_prm import (
    encode_qwen_prm,
    load_qwen_prm,
    qwen_prm_head,
)
from e2h_cli.models.reward_formats.rlhflow import encode_rlhflow, rlhflow_head
from e2h_cli.models.reward_formats.sequence_classification import encode_for_sequence, sequence_head
from e2h_cli.models.reward_formats.shared_heads import (
    Head,
    classifier_head,
    plus_or_minus_head,
)
from e2h_cli.models.reward_formats.skywork_prm import encode_skywork_prm, load_skywork_prm
from e2h_cli.models.reward_formats.token_classification import encode_for_tokens
from e2h_cli.models.reward_model import describe, load_reward_model
from e2h_cli.models.token_spans import EncodedSolution


@dataclass(frozen=True, slots=True)
class RewardModel:
    """A loaded reward model.

    Attributes:
        family: a key of ``FAMILIES``.
        kind: "orm" if only the outcome is scored, else "prm" or "oprm".
        backbone: the transformer without its head: (input_ids, attention_mask, ...) ->
            last_hidden_state of shape (rows, tokens, features).
        head: from features at the scored positions to P(correct).
        encode: of (question, text of the solution, whether it is finished).
    """

    family: str
    kind: str
    tokenizer: PreTrainedTokenizerFast
    backbone: Callable[..., Any]
    head: Head
    encode: Callable[[str, str, bool], EncodedSolution]
    device: torch.device

    @property
    def pad_token_id(self) -> int:
        """The token that pads a batch."""
        return self.tokenizer.pad_token_id or 0


class Family(NamedTuple):
    """How a model is loaded from (name or path, precision), scores, and encodes a solution.

    ``kind``: "orm" if it scores outcomes only, else "prm" or "oprm"; "" if the config says it.
    """

    kind: str
    load: Callable[[str, str], PreTrainedModel]
    head: Callable[[PreTrainedModel, PreTrainedTokenizerFast], Head]
    encode: Callable[[PreTrainedTokenizerFast, str, str, bool], EncodedSolution]


_token = partial(load_complete, AutoModelForTokenClassification, "reward model")
_sequence = partial(load_complete, AutoModelForSequenceClassification, "reward model")
FAMILIES = {
    "e2h": Family("", load_reward_model, classifier_head, encode_e2h),
    "llemma": Family("oprm", load_generator, llemma_head, encode_llemma),
    "math-shepherd": Family("prm", load_generator, plus_or_minus_head, encode_math_shepherd),
    "rlhflow": Family("prm", load_generator, rlhflow_head, encode_rlhflow),
    "qwen-prm": Family("prm", load_qwen_prm, qwen_prm_head, encode_qwen_prm),
    "skywork-prm": Family("prm", load_skywork_prm, classifier_head, encode_skywork_prm),
    "token-classification": Family("prm", _token, classifier_head, encode_for_tokens),
    "sequence-classification": Family("orm", _sequence, sequence_head, encode_for_sequence),
}
# Architecture -> family, of models whose own code is not run.
_ARCHITECTURES = {
    "Qwen2ForProcessRewardModel": "qwen-prm",
    "Qwen2ForPrmModel": "skywork-prm",
    "Qwen2ForRewardModel": "skywork-prm",
}
# Word in the lower-case name of a causal language model -> family.
_WORDS = {"shepherd": "math-shepherd", "rlhflow": "rlhflow", "llemma": "llemma"}


def open_reward_model(
    name_or_path: str, family: str = "auto", precision: str = "auto"
) -> RewardModel:
    """Load a reward model of any family.

    Args:
        name_or_path: model folder or Hub name.
        family: a key of ``FAMILIES``, or "auto": by the model's config and name.
        precision: "auto", "fp32" or "bf16".

    Raises:
        InputError: no model there, or its family cannot be told.
    """
    name = family_of(name_or_path) if family == "auto" else family
    _, load, make_head, encode = FAMILIES[name]
    model, tokenizer = load(name_or_path, precision).to(device()), load_tokenizer(name_or_path)
    head = make_head(model, tokenizer)
    kind, encode_solution = kind_of(name_or_path, name), partial(encode, tokenizer)
    return RewardModel(name, kind, tokenizer, model.base_model, head, encode_solution, model.device)


def family_of(name_or_path: str) -> str:
    """The family of a model by its config and name. Raises InputError if that is ambiguous."""
    config = load_config(name_or_path)
    if getattr(config, "e2h", None):
        return "e2h"
    architecture = (getattr(config, "architectures", None) or [""])[0]
    if architecture in _ARCHITECTURES:
        return _ARCHITECTURES[architecture]
    if "ProcessRewardModel" in architecture or "ForRewardModel" in architecture:
        raise InputError(
            f"{architecture} is code of the model's own, and e2h runs none",
            where=name_or_path,
            hint="convert it to a token classification model",
        )
    for suffix in ("token-classification", "sequence-classification"):
        if architecture.endswith("For" + suffix.title().replace("-", "")):
            return suffix
    path = Path(name_or_path)
    name = (path.name if path.exists() else name_or_path).lower()
    for word, family in _WORDS.items():
        if word in name:
            return family
    raise InputError(
        f"cannot tell how to read scores from {architecture or 'this model'}",
        where=name_or_path,
        hint=f"say it with --family {' or '.join(FAMILIES)}",
    )


def kind_of(name_or_path: str, family: str = "auto") -> str:
    """ "orm" if a model scores outcomes only, else "prm" or "oprm". Reads the config only."""
    name = family_of(name_or_path) if family == "auto" else family
    return FAMILIES[name].kind or str(describe(load_config(name_or_path), name_or_path)["kind"])
