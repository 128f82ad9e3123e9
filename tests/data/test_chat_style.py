r"""Chat prompts token by token, and solutions with think blocks, declared separators and boxes."""

from __future__ import annotations

import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.data import prompt_styles
from e2h_cli.data.chat_solution import split_steps
from e2h_cli.data.prompt_styles import ChatStyle, chat_style, style_of_metadata
from e2h_cli.settings.prompt import ChatSettings
from tests import builders

HEADERS = "Let us see.\n## Step 1: add\nThe Step 2: no.\n\nso 2\n**Step 2:** say\n### Step 3\ndone"


@pytest.mark.parametrize(
    ("separator", "text", "steps"),
    [
        ("blank-line", "a\nb\n \n\nc\n\n# Answer\n\nd\n\n", ["a\nb", "c", "d"]),
        ("newline", "\na\nb\n\n  c ", ["a", "b", "c"]),
        ("step-headers", HEADERS, ["Let us see.", "## Step 1: add\nThe Step 2: no.\n\nso 2",
                                   "**Step 2:** say", "### Step 3\ndone"]),
        ("step-headers", "Step 1: a\nStep 2. b", ["Step 1: a", "Step 2. b"]),
        (" ки\n", "a ки\nb\n\nc ки\n", ["a", "b\n\nc"]),
        ("blank-line", " \n\n ", []),
    ],
)  # fmt: skip
def test_steps_by_a_declared_separator(separator: str, text: str, steps: list[str]) -> None:
    thought = "<think>a\n\nb</think>\n"
    found = split_steps(thought + text, separator, len(thought))
    assert [step.text for step in found] == steps
    whole = thought + text
    assert [whole[step.start : step.end] for step in found] == steps
    assert [s.separator_end for s in found] == [s.start for s in found[1:]] + [None][: len(found)]


@pytest.mark.parametrize(
    ("text", "steps", "answer"),
    [
        (r"<think>no \boxed{7}" + "\n\nhm</think>\n\nWe\nadd.\n\nSo \\boxed{2}.", 2, "2"),
        ("hm</think>So $\\boxed{\\frac{1}{2}}$", 1, r"\frac{1}{2}"),
        (r"So \boxed{1}, no, \boxed{2}.", 1, "2"),
        (r"<think>So \boxed{1}", 0, None),
        (r"<think>a</think>b <think>\boxed{1}", 0, None),
        ("We add.\n\nThe final answer is $2$.", 2, "2"),
        ("So it is 2.", 1, None),
        (r"So \boxed{2", 1, None),
        (r"So \boxed{ }", 1, None),
        ("", 0, None),
    ],
)
def test_the_answer_is_the_last_box_after_the_think_block(
    text: str, steps: int, answer: str | None
) -> None:
    solution = prompt_styles.parse(ChatStyle(), text)
    assert (len(solution.steps), solution.answer) == (steps, answer)
    assert prompt_styles.parse(ChatStyle(), text, finished=False).answer is None


def test_a_block_that_the_prompt_opened_may_be_unclosed() -> None:
    style = ChatStyle(in_think_block=True)
    assert style.in_template(r"\boxed{1}") == ""
    assert style.in_template("hm</think>\\boxed{1}") == "\\boxed{1}\n\n# Answer\n\n1"
    assert style.begin(["a", "b"]) == "\n</think>\n\na\n\nb\n\n"


def test_prompts_are_those_of_the_template_with_one_begin_of_text() -> None:
    tokens = builders.chat_tokenizer()
    style = chat_style(tokens, system="Think.", step_separator="newline")
    turns = [("system", "Think."), ("user", "1+1?"), ("assistant", "a\nb\nThe final answer is "
             r"$\boxed{2}$."), ("user", "2?")]  # fmt: skip
    exact = tokens.apply_chat_template(
        [{"role": role, "content": text} for role, text in turns],
        add_generation_prompt=True,
        return_dict=False,
    )
    ids = tokens(style.prompt(" 2? ", [("1+1?", ["a", "b"], "2")])).input_ids
    assert ids == exact
    assert ids.count(tokens.bos_token_id) == 1
    assert style.stop_token_ids == (tokens.convert_tokens_to_ids("<end>"),)
    assert style_of_metadata(style.metadata, None).in_template("a\nb") == "a\n\nb"  # type: ignore[arg-type]


def test_templates_differ() -> None:
    def chat(text: str, **kind: bool) -> ChatStyle:
        tokens = builders.chat_tokenizer(**kind)
        return chat_style(tokens, system=text, step_separator="blank-line")

    assert chat("", system=False).prompt("2?") == "<user>2?<end><assistant>"
    # Without a role of its own the system text stands in front of the question.
    assert chat("S", system=False).prompt("2?") == "<user>S\n\n2?<end><assistant>"
    dated = builders.chat_tokenizer()
    dated.chat_template = "{{ strftime_now('%d %b %Y') }}" + dated.chat_template
    style = chat_style(dated, system="", step_separator="newline")
    assert style.prompt("2?").startswith("26 Jul 2024")  # on any day
    opening = chat("S", think=True)
    assert (opening.in_think_block, chat("S").in_think_block) == (True, False)
    assert opening.think_tokens("abc</think>a=1") == 4
    assert opening.metadata["in_think_block"] == "true"
    with pytest.raises(InputError, match="no chat template"):
        chat_style(builders.tokenizer("character"), system="", step_separator="newline")


def test_settings_of_chats_are_recorded_and_taken_with_chats_only() -> None:
    class Prompted(ChatSettings):
        prompt: str = "e2h"

    assert "system" not in Prompted().model_dump()
    assert Prompted(prompt="chat", system="").model_dump()["system"] == ""
    assert Prompted(prompt="chat", step_separator=r"\n--").step_separator == "\n--"
    Prompted().refuse_unused()
    with pytest.raises(InputError, match="--step-separator is a setting of chats"):
        Prompted(step_separator="newline").refuse_unused()
    with pytest.raises(ValueError, match="did you mean blank-line"):
        Prompted(step_separator="blank_line")
