"""Reading reward models, ours and other people's: which text they expect, and where they answer.

A family turns a question and a solution into tokens and positions, and the features at a position
into P(correct). To add one, write its ``read`` and its head, and name it in ``FAMILIES``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from e2h_cli.common.errors import InputError
from e2h_cli.data import template
from e2h_cli.data.template import parse, token_of_character
from e2h_cli.models.loading import _loaded, device, dtype, load_config, load_tokenizer
from e2h_cli.models.reward_model import describe, load_reward_model
from e2h_cli.models.token_spans import encode, token_at

# (input_ids, attention_mask, ...) -> (rows, tokens, features)
Backbone = Callable[..., Any]
# (positions, features) -> (positions,) in [0, 1]
Head = Callable[[torch.Tensor], torch.Tensor]

_SHEPHERD_MARK = "ки"
_ANSWER = "The answer is:"


@dataclass(frozen=True, slots=True)
class EncodedSolution:
    """A solution as a reward model sees it, and the tokens at which it answers.

    ``steps``: one token per step; ``outcome``: the token of the whole solution; ``start``: the
    first token of the solution, where the family knows it.
    """

    ids: list[int]
    steps: list[int]
    outcome: int
    start: int = 0


@dataclass(frozen=True, slots=True)
class RewardModel:
    """A loaded reward model.

    ``kind``: "orm" where only the outcome is scored, else "prm" or "oprm"; ``read``: of question,
    solution text, and whether it is finished; ``backbone``: gives ``last_hidden_state``.
    """

    family: str
    kind: str
    tokenizer: PreTrainedTokenizerFast
    backbone: Backbone
    head: Head
    read: Callable[[str, str, bool], EncodedSolution]
    device: torch.device

    @property
    def pad(self) -> int:
        """The token that fills up a batch."""
        return self.tokenizer.pad_token_id or 0


def open_reward_model(place: str, family: str = "auto", precision: str = "auto") -> RewardModel:
    """Load a reward model of any family.

    Args:
        place: model folder or Hub name.
        family: one of ``FAMILIES``, or auto: by the model's config and name.
        precision: "auto", "fp32" or "bf16".

    Raises:
        InputError: no model there, or its family cannot be told.
    """
    name = family_of(place) if family == "auto" else family
    return FAMILIES[name](place, precision)


def family_of(place: str) -> str:
    """The family of a model, by its config and name. Raises InputError where it is in doubt."""
    config = load_config(place)
    if getattr(config, "e2h", None):
        return "e2h"
    architecture = (getattr(config, "architectures", None) or [""])[0]
    if "ProcessRewardModel" in architecture or "ForRewardModel" in architecture:
        raise InputError(
            f"{architecture} is code of the model's own, and e2h runs none",
            where=place,
            hint="convert it to a token classification model",
        )
    for ending in ("token-classification", "sequence-classification"):
        if architecture.endswith("For" + ending.title().replace("-", "")):
            return ending
    name = Path(place).name.lower() if Path(place).exists() else place.lower()
    for word, known in (
        ("shepherd", "math-shepherd"),
        ("rlhflow", "rlhflow"),
        ("llemma", "llemma"),
    ):
        if word in name:
            return known
    raise InputError(
        f"cannot tell how to read scores from {architecture or 'this model'}",
        where=place,
        hint=f"say it with --family {' or '.join(FAMILIES)}",
    )


def kind_of(place: str, family: str = "auto") -> str:
    """ "orm" where a model scores outcomes only, else "prm" or "oprm"; nothing is loaded."""
    name = family_of(place) if family == "auto" else family
    if name == "e2h":
        return str(describe(load_config(place), place)["kind"])
    return "orm" if name == "sequence-classification" else "prm"


def _e2h(place: str, precision: str) -> RewardModel:
    """Ours: one logit per token, at the tokens that the config names."""
    model = load_reward_model(place, precision).eval()
    kind = describe(model.config, place)["kind"]
    tokenizer = load_tokenizer(place)
    score = _scorer(model)

    def read(question: str, text: str, finished: bool) -> EncodedSolution:
        encoded = encode(tokenizer, template.prompt(question), text, finished=finished)
        return EncodedSolution(encoded.ids, encoded.step_tokens, encoded.last, encoded.start)

    return _made("e2h", kind, tokenizer, model, lambda x: score(x)[..., 0].float().sigmoid(), read)


def _llemma(place: str, precision: str) -> RewardModel:
    """The paper's released checkpoints: sigmoid of the mean of the LM logits at a position.

    Exported so: the head of two rows, whose outputs are averaged, stands in every pair of rows of
    the LM head. A step is read at the first newline after it, as the model cards say; the outcome
    at the end-of-text token.
    """
    model = _causal(place, precision)
    tokenizer = load_tokenizer(place)
    head = model.get_output_embeddings()
    mean = head.weight.float().mean(0)
    bias = 0.0 if head.bias is None else head.bias.float().mean()

    def read(question: str, text: str, finished: bool) -> EncodedSolution:
        prompt = template.prompt(question)
        encoded = encode(tokenizer, prompt, text, finished=finished)
        newlines = [
            token_at(encoded.offsets, len(prompt) + text.index("\n", step.end))
            for step in encoded.solution.steps
            if step.separator_end is not None
        ]
        return EncodedSolution(encoded.ids, newlines, encoded.last, encoded.start)

    return _made(
        "llemma", "oprm", tokenizer, model, lambda x: (x.float() @ mean + bias).sigmoid(), read
    )


def _math_shepherd(place: str, precision: str) -> RewardModel:
    """Math-Shepherd: P(+) against P(-) at a mark after each step; the last one is the outcome."""
    model = _causal(place, precision)
    tokenizer = load_tokenizer(place)
    good, bad = _sign_tokens(tokenizer)

    def read(question: str, text: str, finished: bool) -> EncodedSolution:
        steps = _plain_steps(text, finished)
        lines = [f"Step {i}: {step} {_SHEPHERD_MARK}" for i, step in enumerate(steps, 1)]
        whole = f"{question} " + "\n".join(lines)
        batch = tokenizer(whole, return_offsets_mapping=True)
        ends, at = [], len(question) + 1
        for line in lines:
            ends.append(at + len(line) - 1)
            at += len(line) + 1
        *marks, last = [token_of_character(batch["offset_mapping"], end) for end in ends]
        return EncodedSolution(list(batch["input_ids"]), marks, last)

    return _made("math-shepherd", "prm", tokenizer, model, _signs(model, good, bad), read)


def _rlhflow(place: str, precision: str) -> RewardModel:
    """RLHFlow: each step is a turn of the user, and the assistant answers + or -."""
    model = _causal(place, precision)
    tokenizer = load_tokenizer(place)
    if not tokenizer.chat_template:
        raise InputError("this family needs a tokenizer with a chat template", where=place)
    good, bad = _sign_tokens(tokenizer)

    def read(question: str, text: str, finished: bool) -> EncodedSolution:
        steps = _plain_steps(text, finished)
        turns: list[dict[str, str]] = []
        answers = []
        for i, step in enumerate(steps):
            content = f"{question} {step}" if i == 0 else step
            turns.append({"role": "user", "content": content})
            head = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
            answers.append(len(head))
            turns.append({"role": "assistant", "content": "+"})
        whole = tokenizer.apply_chat_template(turns, tokenize=False)
        batch = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
        # The token before the answer is the one that predicts it.
        places = [token_of_character(batch["offset_mapping"], at) - 1 for at in answers]
        return EncodedSolution(list(batch["input_ids"]), places[:-1], places[-1])

    return _made("rlhflow", "prm", tokenizer, model, _signs(model, good, bad), read)


def _token_classification(place: str, precision: str) -> RewardModel:
    """A classifier of two labels (or one) at a newline after each step, as TRL trained them.

    Question, steps and newlines are tokenised one by one and joined, as in training.
    """
    model = _classifier(AutoModelForTokenClassification, place, precision)
    tokenizer = load_tokenizer(place)
    score = _scorer(model)

    def read(question: str, text: str, finished: bool) -> EncodedSolution:
        ids = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
        newline = tokenizer("\n", add_special_tokens=False).input_ids
        ids += tokenizer(question, add_special_tokens=False).input_ids + newline
        places = []
        for step in _plain_steps(text, finished):
            ids += tokenizer(step, add_special_tokens=False).input_ids + newline
            places.append(len(ids) - 1)
        return EncodedSolution(ids, places[:-1], places[-1])

    def head(features: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = score(features).float()
        return logits[..., 0].sigmoid() if logits.shape[-1] == 1 else logits.softmax(-1)[..., 1]

    return _made("token-classification", "prm", tokenizer, model, head, read)


def _sequence_classification(place: str, precision: str) -> RewardModel:
    """An outcome reward model with one logit for the whole text; its sigmoid is the score.

    The tokenizer's chat template is used where it has one, else e2h's own template.
    """
    model = _classifier(AutoModelForSequenceClassification, place, precision)
    if model.config.num_labels != 1:
        raise InputError(
            f"a reward model has one label, this classifier {model.config.num_labels}", where=place
        )
    tokenizer = load_tokenizer(place)
    score = _scorer(model)

    def read(question: str, text: str, finished: bool) -> EncodedSolution:
        if tokenizer.chat_template:
            turns = [
                {"role": "user", "content": question},
                {"role": "assistant", "content": text},
            ]
            whole = tokenizer.apply_chat_template(turns, tokenize=False)
            ids = list(tokenizer(whole, add_special_tokens=False).input_ids)
        else:
            ids = encode(tokenizer, template.prompt(question), text, finished=finished).ids
        return EncodedSolution(ids, [], len(ids) - 1)

    return _made(
        "sequence-classification", "orm", tokenizer, model,
        lambda x: score(x)[..., 0].float().sigmoid(), read,
    )  # fmt: skip


FAMILIES: dict[str, Callable[[str, str], RewardModel]] = {
    "e2h": _e2h,
    "llemma": _llemma,
    "math-shepherd": _math_shepherd,
    "rlhflow": _rlhflow,
    "token-classification": _token_classification,
    "sequence-classification": _sequence_classification,
}


def _made(
    family: str,
    kind: str,
    tokenizer: PreTrainedTokenizerFast,
    model: PreTrainedModel,
    head: Head,
    read: Callable[[str, str, bool], EncodedSolution],
) -> RewardModel:
    return RewardModel(family, kind, tokenizer, model.eval().base_model, head, read, model.device)


def _causal(place: str, precision: str) -> PreTrainedModel:
    model = _loaded(AutoModelForCausalLM, place, "reward model", dtype=dtype(precision))
    return model.to(device())


def _classifier(loader: Any, place: str, precision: str) -> PreTrainedModel:
    """A classifier whose head is in its files; the library makes up a head that is missing."""
    model, found = _loaded(
        loader, place, "reward model", dtype=dtype(precision), output_loading_info=True
    )
    if any(name.startswith(("score", "classifier")) for name in found["missing_keys"]):
        raise InputError(
            "this model has no weights for a score", where=place, hint="choose another --family"
        )
    return model.to(device())


def _scorer(model: PreTrainedModel) -> Any:
    return model.score if hasattr(model, "score") else model.classifier


def _signs(model: PreTrainedModel, good: int, bad: int) -> Head:
    """P(+) where only + and - are possible."""
    head = model.get_output_embeddings()
    rows = head.weight[[good, bad]].float()
    bias = 0.0 if head.bias is None else head.bias[[good, bad]].float()
    return lambda x: (x.float() @ rows.T + bias).softmax(-1)[..., 0]


def _sign_tokens(tokenizer: PreTrainedTokenizerFast) -> tuple[int, int]:
    """Tokens of + and -, as they stand after a space or a header."""
    good, bad = (tokenizer(sign, add_special_tokens=False).input_ids[-1] for sign in ("+", "-"))
    if good == bad or tokenizer.unk_token_id in (good, bad):
        raise InputError("this tokenizer has no tokens for + and -", where=tokenizer.name_or_path)
    return good, bad


def _plain_steps(text: str, finished: bool) -> list[str]:
    """Steps as lines; the answer is told at the end of the last one."""
    done = parse(text, finished=finished)
    steps = [template.one_line(step.text) for step in done.steps]
    if done.answer is not None:
        steps[-1:] = [" ".join([*steps[-1:], f"{_ANSWER} {template.one_line(done.answer)}"])]
    return steps or [template.one_line(text) or "-"]
