"""``e2h rl --prompt chat``: rewards on the generator's own tokens, and rows in its own wording."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from e2h_cli.common.files import read_json, read_jsonl
from e2h_cli.data import prompt_styles
from e2h_cli.data.prompt_styles import ChatStyle, chat_style
from e2h_cli.rl.rewards import Rewards
from e2h_cli.rl.rollout_batch import make_batch
from e2h_cli.rl.rollout_scoring import token_rewards
from e2h_cli.rl.rollouts import Rollout
from tests import builders
from tests.conftest import assert_one_line
from tests.rl.conftest import QUESTIONS, log_lines, rl

THOUGHT = "<think>no\n\na=1\n\n\\boxed{7}</think>\n\n"
TEXT = f"{THOUGHT}We\nadd.\n\na=1\n\n\n so \\boxed{{3}}"
_SHORT = ("--prompt", "chat", "--checkpoint-rule", "easy", "--max-tokens", "24", "--temperature",
          "1", "--top-k", "0", "--grader", "exact")  # fmt: skip


def chat(step_separator: str = "blank-line") -> ChatStyle:
    return chat_style(builders.chat_tokenizer(), system="S", step_separator=step_separator)


def chat_rollout(style: ChatStyle, text: str, rewards: list[float]) -> Rollout:
    tokens = style.tokenizer
    assert tokens is not None
    ids = [*tokens(text, add_special_tokens=False).input_ids, *style.stop_token_ids]
    solution = prompt_styles.parse(style, text)
    return Rollout(QUESTIONS[0], 0, text, True, ids, solution,
                   rewards=Rewards(rewards, 5.0, 0, 0), style=style)  # fmt: skip


@pytest.mark.parametrize(
    ("separator", "ends"),
    [
        ("blank-line", ["We\nadd.\n\n", "a=1\n\n\n ", r"so \boxed{3}"]),
        ("newline", ["We\n", "add.\n\n", "a=1\n\n\n ", r"so \boxed{3}"]),
        ("add.", ["We\nadd.\n\n", "a=1\n\n\n so \\boxed{3}"]),
    ],
)
def test_a_reward_stands_where_the_generators_step_ends(separator: str, ends: list[str]) -> None:
    style = chat(separator)
    tokens = style.tokenizer
    assert tokens is not None
    r = chat_rollout(style, TEXT, [float(k) for k in range(1, len(ends) + 1)])
    # The reward model reads as many steps, without the thought, in the template.
    assert r.in_template.endswith("\n\n# Answer\n\n3") and "think" not in r.in_template
    assert len(r.solution.steps) == len(ends)
    *steps, last = token_rewards(r, tokens)
    written = [tokens.decode(r.ids[: place + 1], skip_special_tokens=True) for place, _ in steps]
    assert written == [THOUGHT + "".join(ends[: k + 1]) for k in range(len(ends))]
    assert [reward for _, reward in steps] == r.rewards.steps
    assert last == (len(r.ids) - 1, 5.0)
    batch = make_batch([r], tokens)
    prompt = tokens(style.prompt(QUESTIONS[0].problem)).input_ids
    assert batch.ids[0, : len(prompt)].tolist() == prompt
    assert [batch.rewards[0, len(prompt) + p].item() for p, _ in steps] == r.rewards.steps
    assert batch.rewards.sum() == sum(r.rewards.steps) + 5


def test_an_open_thought_has_no_step_and_no_answer() -> None:
    r = chat_rollout(chat(), "<think>a=1\n\nb=2\n\n\\boxed{3}", [])
    assert (r.in_template, r.reward_characters, r.solution.answer) == ("", [], None)


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(builders.llama(tmp_path / "chat-model", builders.chat_tokenizer()))


def test_a_step_of_ppo(place: Path, model: str) -> None:
    done = rl(place, *_SHORT, "--model", model, "--steps", "1", "--step-separator", "newline")
    assert done.returncode == 0, done.stdout + done.stderr
    record = read_json(place / "run/rl/stage.json")["settings"]
    assert (record["prompt"], record["step_separator"]) == ("chat", "newline")
    assert [line["step"] for line in log_lines(place / "run/rl")] == [0, 1]
    table = pq.read_table(place / "run/rl/rollouts/step-000000.parquet")
    style = chat("newline")
    for row in table.to_pylist():
        parsed = prompt_styles.parse(style, row["text"], finished=row["finish_reason"] == "stop")
        assert row["answer"] == parsed.answer
        closed = [step for step in parsed.steps if step.separator_end is not None]
        assert len(row["step_scores"]) == len(closed)
    plain = str(builders.llama(place / "plain", builders.tokenizer("character")))
    assert_one_line(rl(place, *_SHORT, "--model", plain, "--force"), "no chat template")
    paper = rl(place, *_SHORT, "--model", model, "--shaping", "paper", "--force")
    assert_one_line(paper, "--shaping paper reads solutions in e2h's template")


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["rest-em", "dpo"])
def test_rows_are_in_the_wording_of_the_chat(place: Path, model: str, stage: str) -> None:
    options = ("--stage", stage, "--model", model, "--num-generations", "16", "--questions", "easy")
    done = rl(place, *options, *_SHORT)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = place / "run" / stage / "iteration-1"
    rows = [row for _, row in read_jsonl(folder / "rows.jsonl")]
    for row in rows:
        assert row["prompt"].startswith("<system>Please reason")
        assert row["prompt"].endswith("<end><assistant>")
        completion = row["completion"] if stage == "rest-em" else row["chosen"]
        assert prompt_styles.parse(chat(), completion).answer is not None
    assert read_json(folder / "tokenizer_config.json")["eos_token"] == "<end>"
