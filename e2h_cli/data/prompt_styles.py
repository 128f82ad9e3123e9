"""The wordings in which a generator is asked: prompt, few-shot examples, and how answers are read.

Samples keep the text that the model wrote. What reads their steps (supervise, rerank) first turns
it into e2h's template, so that reward models always read the same wording.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from e2h_cli.data import template
from e2h_cli.data.final_answer import stated_answer
from e2h_cli.settings.base import PromptName


@dataclass(frozen=True, slots=True)
class PromptStyle:
    """One wording.

    Attributes:
        prompt: question -> everything up to the solution.
        example: question, steps, answer -> a solved example, which stands in front of a prompt.
        in_template: text of a solution -> the same solution in e2h's template.
        next_question: the text with which a model goes on to a question of its own.
    """

    prompt: Callable[[str], str]
    example: Callable[[str, Sequence[str], str], str]
    in_template: Callable[[str], str]
    next_question: str


def parse(style: PromptStyle, text: str, *, finished: bool = True) -> template.Solution:
    """The steps and the answer of a solution. Never raises."""
    return template.parse(style.in_template(text), finished=finished)


def _e2h_example(question: str, steps: Sequence[str], answer: str) -> str:
    return template.prompt(question) + template.completion(steps, answer) + template.SEPARATOR


# A step per line, then the answer in one sentence (paper p.39-45, after Minerva).
_FINAL_ANSWER = re.compile(r"(?:Final Answer:\s*)?The final answer is\b")
_WHOLE_SENTENCE = re.compile(r"\s*\$((?:\\.|[^$\\])+)\$\. I hope it is correct")


def _minerva_prompt(question: str) -> str:
    return f"Problem:\n{question.strip()}\n\nSolution:"


def _minerva_example(question: str, steps: Sequence[str], answer: str) -> str:
    solution = "\n".join(template.one_line(step) for step in steps)
    return (
        f"{_minerva_prompt(question)}\n{solution}\nFinal Answer: The final answer is "
        f"${template.one_line(answer)}$. I hope it is correct.\n\n"
    )


def _minerva_in_template(text: str) -> str:
    """Every line is a step; without the sentence of the final answer there is no answer."""
    sentence = _FINAL_ANSWER.search(text)
    lines = text[: sentence.start() if sentence else None].split("\n")
    # A line that the template would take for its answer header is no step.
    steps = [line for line in lines if line.strip() and not template.answer_header(line)]
    answer = _minerva_answer(text[sentence.end() :]) if sentence else None
    if answer:
        return template.completion(steps, answer)
    return template.SEPARATOR.join(map(template.one_line, steps))


def _minerva_answer(rest: str) -> str | None:
    r"""The answer of what follows "The final answer is"; dollar signs inside it are ``\$``."""
    whole = _WHOLE_SENTENCE.match(rest)
    return whole[1] if whole else stated_answer(f"The final answer is{rest}")


STYLES: Mapping[PromptName, PromptStyle] = {
    "e2h": PromptStyle(template.prompt, _e2h_example, str, template.QUESTION_HEADER),
    "minerva": PromptStyle(
        _minerva_prompt, _minerva_example, _minerva_in_template, next_question="Problem:"
    ),
}
