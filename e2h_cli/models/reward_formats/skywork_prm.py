"""Skywork-o1-Open-PRM: a Qwen2 with TRL's old value head, read at the newline after each step.

Head, names of the weights and input: ``prm_model.py`` and ``io_utils.py`` of SkyworkAI's
skywork-o1-prm-inference. Its wrapper saves the names of the language model and ``v_head.*``; names
that begin with ``pretrained_model.`` are read, too, and others are refused. Compared with this
definition on small random models, not with the released weights: whether each revision on the Hub
has these names was not checked.
"""

from __future__ import annotations

from transformers import PreTrainedModel, PreTrainedTokenizerFast, Qwen2ForTokenClassification

from e2h_cli.models.loading import load_complete
from e2h_cli.models.reward_formats.shared_heads import steps_with_answer
from e2h_cli.models.token_spans import EncodedSolution

_NAMES = {r"^pretrained_model\.": "", r"^v_head\.summary\.": "score."}


def load_skywork_prm(name_or_path: str, precision: str) -> PreTrainedModel:
    """A token classifier with one label. Raises InputError as ``load_complete``."""
    return load_complete(
        Qwen2ForTokenClassification,
        "Skywork PRM",
        name_or_path,
        precision,
        no_others=True,
        num_labels=1,
        key_mapping=_NAMES,
    )


def encode_skywork_prm(
    tokenizer: PreTrainedTokenizerFast, question: str, text: str, finished: bool
) -> EncodedSolution:
    """A step is scored at the newline after it; the last newline scores the outcome.

    Question and steps are encoded one by one and joined.
    """
    newline = tokenizer("\n", add_special_tokens=False).input_ids[-1]
    start = f"{tokenizer.bos_token or ''}{question}\n"
    ids = list(tokenizer(start, add_special_tokens=False).input_ids)
    positions = []
    for step in steps_with_answer(text, finished):
        ids += [*tokenizer(step, add_special_tokens=False).input_ids, newline]
        positions.append(len(ids) - 1)
    return EncodedSolution(ids, positions[:-1], positions[-1])
