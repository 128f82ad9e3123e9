"""Which tokens carry which label, whatever the tokenizer and the text."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from e2h_cli.data import template
from e2h_cli.models.token_spans import encode
from e2h_cli.training.reward_modeling import LabelCounts, is_held_out, reward_row
from e2h_cli.training.token_rows import NO_LOSS, sft_row
from tests import builders

TOKENIZERS = {kind: builders.tokenizer(kind) for kind in builders.ALL_KINDS}
PROMPT = template.prompt("What is 1+2?")
texts = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Zl", "Zp", "Zs"]),
    min_size=1, max_size=12,
).filter(lambda t: t.strip() and not t.lstrip().startswith("#"))  # fmt: skip


def labelled(steps: list[str], labels: list[Any]) -> dict[str, Any]:
    return {"id": "r", "prompt": PROMPT, "completions": steps, "labels": labels}


def tokens_alone(tokens: PreTrainedTokenizerFast, text: str) -> tuple[list[int], list[int]]:
    """Ids of prompt + text, and where each token starts in it; without end-of-text."""
    whole = tokens(PROMPT + text, return_offsets_mapping=True)
    prompt = tokens(PROMPT, return_offsets_mapping=True)
    if whole.input_ids[: len(prompt.input_ids)] == prompt.input_ids:
        return whole.input_ids, [start for start, _ in whole.offset_mapping]
    rest = tokens(text, return_offsets_mapping=True, add_special_tokens=False)
    starts = [start for start, _ in prompt.offset_mapping]
    starts += [len(PROMPT) + start for start, _ in rest.offset_mapping]
    return prompt.input_ids + rest.input_ids, starts


@pytest.mark.parametrize("kind", builders.ALL_KINDS)
@given(st.lists(texts, min_size=1, max_size=5), st.data())
def test_every_token_has_the_label_of_its_step(
    kind: str, steps: list[str], data: st.DataObject
) -> None:
    """A step owns the tokens up to the last one that starts before the end of its separator."""
    tokens = TOKENIZERS[kind]
    labels = [data.draw(st.sampled_from([0.0, 1.0, 0.25, None])) for _ in range(len(steps) + 1)]
    blocks = [*steps, template.answer_block("7")]
    row = reward_row(tokens, labelled(blocks, labels), "every-token")
    ids, starts = tokens_alone(tokens, template.SEPARATOR.join(blocks))
    assert row.input_ids.tolist() == [*ids, tokens.eos_token_id]
    ends = np.cumsum([len(step) + len(template.SEPARATOR) for step in steps]) + len(PROMPT)
    last = [max(i for i, start in enumerate(starts) if start < end) for end in ends]
    assert len({*last, len(ids)}) == len(blocks)  # each block has a token of its own
    first = len(tokens(PROMPT).input_ids)
    expected = [NO_LOSS] * first
    for token in range(first, len(ids) + 1):
        label = labels[sum(token > end for end in last)]
        expected.append(NO_LOSS if label is None else label)
    assert row.labels.tolist() == expected


def test_labels_by_hand() -> None:
    tokens = TOKENIZERS["character"]
    steps = ["We add.", "So 1 + 2 = 3.", template.answer_block("3")]
    row = reward_row(tokens, labelled(steps, [True, False, None]), "every-token")
    spans: dict[float, str] = {}
    for token, label in zip(row.input_ids, row.labels, strict=True):
        spans[label] = spans.get(label, "") + tokens.decode([token])
    assert spans[1.0] == "We add.\n\n"
    assert spans[0.0] == "So 1 + 2 = 3.\n\n"
    assert spans[NO_LOSS].endswith("# Answer\n\n3</s>")


@pytest.mark.parametrize(("loss_on", "count"), [("separator", 1), ("last-three", 3)])
def test_loss_on_the_end_of_a_step(loss_on: str, count: int) -> None:
    tokens = TOKENIZERS["character"]
    steps = ["We add.", "So 1 + 2 = 3.", template.answer_block("3")]
    row = reward_row(tokens, labelled(steps, [True, None, None]), loss_on)
    assert row.trained_tokens == count
    closing = encode(tokens, PROMPT, template.completion(["We add."], "3")).step_positions[0]
    assert row.labels[closing] == 1.0


def test_soft_labels_stay_soft() -> None:
    steps = ["We add.", "So 1 + 2 = 3.", template.answer_block("3")]
    row = reward_row(TOKENIZERS["character"], labelled(steps, [0.25, None, True]), "separator")
    assert sorted(label for label in row.labels if label != NO_LOSS) == [0.25, 1.0]


def test_a_row_without_answer_ends_with_a_closed_step() -> None:
    tokens = TOKENIZERS["byte-bpe"]
    row = reward_row(tokens, labelled(["We add."], [False]), "separator")
    assert row.trained_tokens == 1
    assert row.input_ids[-1] != tokens.eos_token_id


@pytest.mark.parametrize("kind", builders.KINDS)
def test_sft_trains_on_the_completion_and_the_end(kind: str) -> None:
    tokens = TOKENIZERS[kind]
    row = sft_row(tokens, template.prompt("1?"), template.completion(["We add."], "3"))
    trained = [
        token for token, label in zip(row.input_ids, row.labels, strict=True) if label != NO_LOSS
    ]
    assert trained[-1] == tokens.eos_token_id
    # A WordPiece decoder puts spaces between words.
    assert "".join(tokens.decode(trained[:-1]).split()) == "Weadd.#Answer3"


def test_too_long_and_unlabelled_rows_are_counted_apart() -> None:
    counts = LabelCounts()
    row = {"id": "a", "completions": ["x", "# Answer\n\n1"], "labels": [True, None]}
    fits = SimpleNamespace(input_ids=np.arange(5), trained_tokens=3)
    long = SimpleNamespace(input_ids=np.arange(50), trained_tokens=3)
    bare = SimpleNamespace(input_ids=np.arange(5), trained_tokens=0)
    assert [counts.add(row, encoded, 10) for encoded in (fits, long, bare)] == [True, False, False]
    assert counts.summary() == {"labels": 3, "tokens": 5, "too_long": 1, "unlabelled": 1}
    assert counts.too_long == ["a"]


def test_problems_are_held_out_by_id_and_seed() -> None:
    chosen = [is_held_out(f"p{i}", 0.3, 0) for i in range(1000)]
    assert 250 < sum(chosen) < 350
    assert chosen == [is_held_out(f"p{i}", 0.3, 0) for i in range(1000)]
    assert chosen != [is_held_out(f"p{i}", 0.3, 1) for i in range(1000)]
    assert not any(is_held_out(f"p{i}", 0.0, 0) for i in range(1000))
