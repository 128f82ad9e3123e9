"""Steps are read at the right tokens, whatever the tokenizer."""

from __future__ import annotations

import functools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2h_cli.data import template
from e2h_cli.models import tiny
from e2h_cli.models.token_spans import encode
from e2h_cli.stages.train_rm import reward_row
from e2h_cli.training.sft import sft_row
from e2h_cli.training.trainer import NO_LOSS
from tests import builders

tokenizer = functools.cache(builders.tokenizer)
STEPS = st.lists(
    st.text(alphabet="ab1+=. $\\", min_size=1, max_size=12).filter(lambda s: s.strip()), max_size=5
)


@pytest.mark.parametrize("kind", builders.KINDS)
@settings(max_examples=60, deadline=None)
@given(steps=STEPS, finished=st.booleans())
def test_each_step_is_read_at_the_token_of_its_separator(
    kind: str, steps: list[str], finished: bool
) -> None:
    prompt = template.prompt("What is 1+1?")
    text = template.completion(steps, "2")
    encoded = encode(tokenizer(kind), prompt, text, finished=finished)
    parsed = template.parse(text, finished=finished)
    assert len(encoded.step_tokens) == len(parsed.steps)
    for token, step in zip(encoded.step_tokens, parsed.steps, strict=True):
        assert step.separator_end is not None
        start, end = encoded.offsets[token]
        assert start < len(prompt) + step.separator_end <= end
        # No later token holds that character.
        assert encoded.offsets[token + 1][0] >= len(prompt) + step.separator_end or not finished
    assert encoded.step_tokens == sorted(set(encoded.step_tokens))
    assert (encoded.ids[encoded.last] == tokenizer(kind).eos_token_id) == finished


@pytest.mark.parametrize("kind", builders.KINDS)
def test_the_tokens_of_the_steps_tile_the_completion(kind: str) -> None:
    encoded = encode(
        tokenizer(kind), template.prompt("q"), template.completion(["We add.", "So 1."], "3")
    )
    owned = [t for step in range(3) for t in encoded.tokens_of_step(step)]
    assert owned == list(range(encoded.start, len(encoded.ids)))


def test_the_tiny_tokenizer_round_trips_its_world() -> None:
    tokens = tiny.tokenizer()
    text = template.prompt("a3 b+4 c*7") + template.completion(["b=3+4=7", "c=7*7=9"], "9")
    ids = tokens(text).input_ids
    assert tokens.unk_token_id not in ids
    assert tokens.decode(ids) == text


@pytest.mark.parametrize("kind", builders.KINDS)
def test_sft_trains_on_the_completion_and_the_end(kind: str) -> None:
    tokens = tokenizer(kind)
    row = sft_row(tokens, template.prompt("1?"), template.completion(["We add."], "3"))
    trained = [
        token for token, label in zip(row.input_ids, row.labels, strict=True) if label != NO_LOSS
    ]
    assert trained[-1] == tokens.eos_token_id
    written = tokens.decode(trained[:-1])
    # A WordPiece decoder puts spaces between words.
    assert "".join(written.split()) == "Weadd.#Answer3"


def row(labels: list[bool | float | None]) -> dict[str, object]:
    steps = ["We add.", "So 1 + 2 = 3.", template.answer_block("3")]
    return {"id": "x", "prompt": template.prompt("1+2?"), "completions": steps, "labels": labels}


def test_labels_land_on_the_tokens_of_their_step() -> None:
    tokens = tokenizer("character")
    encoded = reward_row(tokens, row([True, False, None]), "every-token")
    spans: dict[float, str] = {}
    for token, label in zip(encoded.input_ids, encoded.labels, strict=True):
        spans[label] = spans.get(label, "") + tokens.decode([token])
    assert spans[1.0] == "We add.\n\n"
    assert spans[0.0] == "So 1 + 2 = 3.\n\n"
    assert spans[NO_LOSS].endswith("# Answer\n\n3</s>")


@pytest.mark.parametrize(("loss_on", "count"), [("separator", 1), ("last-three", 3)])
def test_loss_on_the_end_of_a_step(loss_on: str, count: int) -> None:
    encoded = reward_row(tokenizer("character"), row([True, None, None]), loss_on)
    assert encoded.trained == count
    closing = encode(
        tokenizer("character"), template.prompt("1+2?"), template.completion(["We add."], "3")
    ).step_tokens[0]
    assert encoded.labels[closing] == 1.0


def test_soft_labels_stay_soft() -> None:
    encoded = reward_row(tokenizer("character"), row([0.25, None, True]), "separator")
    assert sorted(label for label in encoded.labels if label != NO_LOSS) == [0.25, 1.0]


def test_a_row_without_answer_ends_with_a_closed_step() -> None:
    unfinished = {**row([True]), "completions": ["We add."], "labels": [False]}
    encoded = reward_row(tokenizer("byte-bpe"), unfinished, "separator")
    assert encoded.trained == 1
    assert encoded.input_ids[-1] != tokenizer("byte-bpe").eos_token_id
