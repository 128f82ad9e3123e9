"""The wordings in which a generator is asked: prompt, few-shot examples, and how answers are read.

Samples keep the text that the model wrote. What reads their steps (supervise, rerank, rl) first
turns it into e2h's template, so that reward models always read the same wording.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2h_cli.common.errors import InputError
from e2h_cli.data import template
from e2h_cli.data.chat_solution import (
    END_THINK,
    THINK,
    last_code_block,
    solution_start,
    split_steps,
)
from e2h_cli.data.final_answer import named_answer, stated_answer
from e2h_cli.data.template import Solution, Step

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PROGRAM = "program"
# Question, steps and answer of a solved example.
Solved = tuple[str, Sequence[str], str]


class PromptStyle:
    """One wording; this one is e2h's template.

    ``next_question``: the text with which a model goes on to a question of its own; ``settings``:
    those of ``e2h sample`` that name the wording; ``stop_token_ids``: tokens that end a solution
    besides those that the model's configuration names.
    """

    next_question: str = template.QUESTION_HEADER
    settings: Mapping[str, Any] = {}
    stop_token_ids: tuple[int, ...] = ()

    def prompt(self, question: str, examples: Sequence[Solved] = ()) -> str:
        """Solved examples and a question: everything up to the solution."""
        solved = "".join(self._example(*example) for example in examples)
        return solved + self._question(question)

    def begin(self, steps: Sequence[str]) -> str:
        """The first steps of a solution, behind which a model goes on."""
        return "".join(step + template.SEPARATOR for step in steps)

    def completed(self, begun: str, text: str) -> str:
        """What is read of a text that goes on from the first steps of a solution."""
        return text

    def steps(self, text: str) -> tuple[Step, ...]:
        """The steps of a solution, by their characters."""
        return template.parse(text).steps

    def in_template(self, text: str) -> str:
        """A solution in e2h's template."""
        return text

    def step_ends(self, text: str) -> list[int]:
        """For each step that is closed in the template, the index after it and its separator."""
        return [end for step in self.steps(text) if (end := step.separator_end) is not None]

    @property
    def metadata(self) -> dict[str, str]:
        """What a file of samples says of the wording of its texts."""
        return dict(self.settings)

    def _question(self, question: str) -> str:
        return template.prompt(question)

    def _example(self, question: str, steps: Sequence[str], answer: str) -> str:
        return self._question(question) + template.completion(steps, answer) + template.SEPARATOR


class ProgramStyle(PromptStyle):
    """e2h's prompt with a program in place of steps and answer; its text is kept as it is."""

    settings: Mapping[str, Any] = {"prompt": PROGRAM}

    def steps(self, text: str) -> tuple[Step, ...]:
        """A program has no steps."""
        return ()


def parse(style: PromptStyle, text: str, *, finished: bool = True) -> Solution:
    """The steps and the answer of a solution, as they stand in the template. Never raises.

    The answer of a program is the program.
    """
    solution = style.in_template(text)
    if not writes_programs(style):
        return template.parse(solution, finished=finished)
    program = solution if finished and solution.strip() else None
    return Solution((), program, "truncated" if not finished else "no steps")


def writes_programs(style: PromptStyle) -> bool:
    """Whether solutions are programs."""
    return isinstance(style, ProgramStyle) or (isinstance(style, ChatStyle) and style.programs)


def _in_template(steps: Sequence[Step], answer: str | None) -> str:
    """Each step on one line; without an answer the last step is not closed."""
    texts = [template.one_line(step.text) for step in steps]
    return template.completion(texts, answer) if answer else template.SEPARATOR.join(texts)


# A step per line, then the answer in one sentence (paper p.39-45, after Minerva).
_FINAL_ANSWER = re.compile(r"(?:Final Answer:\s*)?The final answer is\b")
_WHOLE_SENTENCE = re.compile(r"\s*\$((?:\\.|[^$\\])+)\$\. I hope it is correct")


class MinervaStyle(PromptStyle):
    """The wording of the paper's few-shot prompts: every line is a step.

    Without the sentence of the final answer there is no answer.
    """

    next_question = "Problem:"
    settings: Mapping[str, Any] = {"prompt": "minerva"}

    def begin(self, steps: Sequence[str]) -> str:
        """The first steps of a solution, behind which a model goes on."""
        return "\n" + "".join(f"{step}\n" for step in steps)

    def steps(self, text: str) -> tuple[Step, ...]:
        """The lines before the sentence of the final answer."""
        sentence = _FINAL_ANSWER.search(text)
        return split_steps(text[: sentence.start() if sentence else None], "newline")

    def in_template(self, text: str) -> str:
        """A solution in e2h's template."""
        sentence = _FINAL_ANSWER.search(text)
        answer = _minerva_answer(text[sentence.end() :]) if sentence else None
        return _in_template(self.steps(text), answer)

    def _question(self, question: str) -> str:
        return f"Problem:\n{question.strip()}\n\nSolution:"

    def _example(self, question: str, steps: Sequence[str], answer: str) -> str:
        solution = "\n".join(template.one_line(step) for step in steps)
        return (
            f"{self._question(question)}\n{solution}\nFinal Answer: The final answer is "
            f"${template.one_line(answer)}$. I hope it is correct.\n\n"
        )


def _minerva_answer(rest: str) -> str | None:
    r"""The answer of what follows "The final answer is"; dollar signs inside it are ``\$``."""
    whole = _WHOLE_SENTENCE.match(rest)
    return whole[1] if whole else stated_answer(f"The final answer is{rest}")


@dataclass(frozen=True)
class ChatStyle(PromptStyle):
    r"""The chat template of a tokenizer; the answer stands in the last ``\boxed{}``.

    Without a box it is what follows the last "answer is" or "answer:".

    What stands before the end of a ``<think>`` block is no part of a solution.

    Attributes:
        step_separator: see ``chat_solution.split_steps``.
        system: the system message; empty for none.
        in_think_block: whether the template opens a ``<think>`` block at the end of a prompt.
        programs: whether a solution is the last fenced block of code.
        tokenizer: None where solutions are read only.
    """

    step_separator: str = "blank-line"
    system: str = ""
    in_think_block: bool = False
    tokenizer: PreTrainedTokenizerFast | None = None
    programs: bool = False
    next_question = ""

    @property
    def settings(self) -> Mapping[str, Any]:  # type: ignore[override]
        """Those of ``e2h sample`` that name the wording."""
        return {"prompt": "chat", "system": self.system, "step_separator": self.step_separator}

    @property
    def metadata(self) -> dict[str, str]:
        """What a file of samples says of the wording of its texts."""
        opened = {"in_think_block": str(self.in_think_block).lower()}
        return {**self.settings, **opened, **({"solution": PROGRAM} if self.programs else {})}

    @property
    def stop_token_ids(self) -> tuple[int, ...]:  # type: ignore[override]
        """The token that ends a turn of the assistant in the template, if it is a special one."""
        assert self.tokenizer is not None
        turns = [_turn("user", "question"), _turn("assistant", "solution")]
        after = self._render(turns, add_generation_prompt=False).rpartition("solution")[2]
        added = self.tokenizer.added_tokens_decoder
        ids = self.tokenizer(after, add_special_tokens=False).input_ids
        return tuple(i for i in ids if i in added and added[i].special)[:1]

    def prompt(self, question: str, examples: Sequence[Solved] = ()) -> str:
        """A chat up to the solution, with solved examples as its first turns.

        It begins without the begin-of-text token of a tokenizer that puts it in front of every
        text, so that the encoded prompt has one.
        """
        assert self.tokenizer is not None
        system = [_turn("system", self.system)] if self.system else []
        turns = []
        for solved, steps, answer in examples:
            turns += [_turn("user", solved), _turn("assistant", self._solution(steps, answer))]
        turns.append(_turn("user", question.strip()))
        text = self._render([*system, *turns])
        bos = self.tokenizer.bos_token
        if bos and self.tokenizer("").input_ids[:1] == [self.tokenizer.bos_token_id]:
            text = text.removeprefix(bos)
        return text

    def begin(self, steps: Sequence[str]) -> str:
        """The first steps of a solution; a ``<think>`` block that the prompt opened is closed."""
        closed = f"\n{END_THINK}\n\n" if self.in_think_block else ""
        return closed + "".join(step + self._separator for step in steps)

    def completed(self, begun: str, text: str) -> str:
        """The whole solution: the answer may stand in its first steps."""
        return begun + text

    def solution_start(self, text: str) -> int | None:
        """See ``chat_solution.solution_start``."""
        return solution_start(text, in_think_block=self.in_think_block)

    def steps(self, text: str) -> tuple[Step, ...]:
        """The steps after the ``<think>`` block; none if it is not closed."""
        start = self.solution_start(text)
        return () if start is None else split_steps(text, self.step_separator, start)

    def in_template(self, text: str) -> str:
        """A solution in e2h's template."""
        start = self.solution_start(text)
        if self.programs:
            return "" if start is None else last_code_block(text[start:])
        answer = None if start is None else named_answer(text[start:])
        return _in_template(self.steps(text), answer)

    def step_ends(self, text: str) -> list[int]:
        """For each step the index after it and its separator; an answer closes the last one."""
        return [step.separator_end or step.end for step in self.steps(text)]

    def think_tokens(self, text: str) -> int:
        """Tokens up to the end of the ``<think>`` block."""
        assert self.tokenizer is not None
        thought = text[: self.solution_start(text)]
        return len(self.tokenizer(thought, add_special_tokens=False).input_ids) if thought else 0

    @property
    def _separator(self) -> str:
        """The text that separates steps that are written for the model."""
        named = {"blank-line": "\n\n", "step-headers": "\n\n", "newline": "\n"}
        return named.get(self.step_separator, self.step_separator)

    def _solution(self, steps: Sequence[str], answer: str) -> str:
        lines = [template.one_line(step) for step in steps]
        if self.step_separator == "step-headers":
            lines = [f"Step {number}: {line}" for number, line in enumerate(lines, 1)]
        boxed = rf"The final answer is $\boxed{{{template.one_line(answer)}}}$."
        return self._separator.join([*lines, boxed])

    def _render(self, turns: list[dict[str, str]], *, add_generation_prompt: bool = True) -> str:
        from jinja2 import TemplateError

        assert self.tokenizer is not None
        (role, content), *rest = ((turn["role"], turn["content"]) for turn in turns)
        reason = "it leaves a turn out"
        try:
            text = self.tokenizer.apply_chat_template(
                turns,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                strftime_now=_DATE.strftime,
            )
            if content.strip() in text:
                return str(text)
        except TemplateError as error:
            reason = str(error)
        if role == "system":
            # Some templates have no such role: the text stands in front of the first question.
            return self._render([_turn("user", f"{content}\n\n{rest[0][1]}"), *turns[2:]])
        raise InputError(f"the chat template fails: {reason}", where=self.tokenizer.name_or_path)


# Some templates tell today's date, and prompts must be the same tomorrow. Llama 3's templates have
# this date where there is no clock.
_DATE = datetime.date(2024, 7, 26)


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def chat_style(
    tokenizer: PreTrainedTokenizerFast, *, system: str, step_separator: str, programs: bool = False
) -> ChatStyle:
    """The wording of a tokenizer's chat template. Raises InputError for one without a template."""
    if not tokenizer.chat_template:
        raise InputError(
            "the tokenizer has no chat template",
            where=tokenizer.name_or_path,
            hint="take --prompt e2h or minerva, or another model",
        )
    style = ChatStyle(step_separator, system, tokenizer=tokenizer, programs=programs)
    opened = style.prompt("question").rstrip().endswith(THINK)
    return replace(style, in_think_block=opened)


def style_of_metadata(metadata: Mapping[str, str], file: Path) -> PromptStyle:
    """The wording that a file of samples names, to read them. Raises InputError if unknown."""
    name = metadata.get("prompt", "e2h")
    if name == "chat":
        opened = metadata.get("in_think_block") == "true"
        return ChatStyle(
            metadata.get("step_separator", "blank-line"),
            metadata.get("system", ""),
            opened,
            programs=metadata.get("solution") == PROGRAM,
        )
    if name not in STYLES:
        raise InputError(
            f"samples of the prompts {name!r}, which this e2h does not know",
            where=file,
            hint="read them with the e2h that drew them",
        )
    return STYLES[name]


STYLES: Mapping[str, PromptStyle] = {
    "e2h": PromptStyle(),
    "minerva": MinervaStyle(),
    PROGRAM: ProgramStyle(),
}
E2H = STYLES["e2h"]
