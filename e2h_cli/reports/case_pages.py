"""Case studies as Markdown and for the terminal.

Texts that a model wrote are shown as they are: in Markdown they stand in code blocks that they
cannot close, on the terminal in ``Text``, which has no markup. What we add, such as the mark of a
low step, stands left of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from e2h_cli.common.escapes import one_line, printable
from e2h_cli.reports.cases import Case, CaseStudy, ShownSolution, Style

# Stands beside the first step that scores below 0.5.
MARK = "!"
_LEGEND = f"{MARK} marks the first step that scores below 0.5."
# What begins something in Markdown or HTML, within a line.
_SPECIAL = re.compile(r"[\\`*_{}\[\]<>|&~$#]")
# A row of a solution: number of the step or "answer", score, text.
_Row = tuple[str, str, str]


def study_markdown(study: CaseStudy) -> str:
    """Title, rule, how all problems came out, the cases, and figures of style."""
    parts = [
        f"## {_literal(study.title)}",
        _literal(study.rule),
        f"{_literal(outcomes_in_words(study))}",
        *map(case_markdown, study.cases),
    ]
    if study.style:
        header, *rows = style_rows(study.style)
        lines = [header, tuple("---" for _ in header), *rows]
        parts.append("\n".join(f"| {' | '.join(map(_literal, line))} |" for line in lines))
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def case_markdown(case: Case) -> str:
    """A case as Markdown: the question, the gold answer, both solutions with their scores."""
    problem = case.problem
    parts = [
        f"### {_literal(f'{problem.id} (level {problem.level}, {problem.subject})')}",
        _code_block(problem.problem),
        f"Gold answer: {_literal(str(problem.answer))}",
    ]
    for solution in (case.left, case.right):
        parts.append(f"**{_literal(_heading(solution))}**")
        parts.append(_code_block("\n".join(_block_lines(solution))))
    if _marked(case):
        parts.append(_literal(_LEGEND))
    return "\n\n".join(parts) + "\n"


def study_renderable(study: CaseStudy) -> RenderableType:
    """A study for rich, as ``study_markdown``."""
    parts: list[RenderableType] = [
        _text(study.title, style="bold"),
        _text(study.rule),
        _text(outcomes_in_words(study)),
        *map(case_renderable, study.cases),
    ]
    if study.style:
        header, *rows = style_rows(study.style)
        table = Table(box=box.SIMPLE_HEAD)
        for name in header:
            table.add_column(_text(name), justify="left" if not name else "right")
        for row in rows:
            table.add_row(*map(_text, row))
        parts.append(table)
    return Group(*parts)


def case_renderable(case: Case) -> RenderableType:
    """A case for rich: both solutions side by side, a row per step."""
    problem, sides = case.problem, (case.left, case.right)
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("", justify="right", no_wrap=True)
    for solution in sides:
        if solution.outcome_score is not None:
            table.add_column("score", justify="right", no_wrap=True)
        table.add_column(_text(_heading(solution)), ratio=1, overflow="fold")
    left, right = (_rows(solution) for solution in sides)
    answers = left.pop(), right.pop()
    for pair in (*zip_longest(left, right), answers):
        cells = []
        for solution, row in zip(sides, pair, strict=True):
            _, score, text = row or ("", "", "")
            cells += [_text(cell) for cell in (score, text)[solution.outcome_score is None :]]
        table.add_row(_text(next(row for row in pair if row)[0]), *cells)
    about = f"{problem.id} (level {problem.level}, {problem.subject}), gold: {problem.answer}"
    legend = [_text(_LEGEND, style="dim")] if _marked(case) else []
    return Group(_text(about, style="bold"), _text(problem.problem), table, *legend)


def outcomes_in_words(study: CaseStudy) -> str:
    """How many problems came out how, in words."""
    return "Problems: " + "; ".join(f"{name}: {n:,}" for name, n in study.outcomes) + "."


def _heading(solution: ShownSolution) -> str:
    """Name, verdict and votes of a solution."""
    text = f"{solution.name}: {'right' if solution.right else 'wrong'}"
    if votes := solution.votes:
        plural = "s" * (votes.votes != 1)
        text += f", {votes.votes:,} vote{plural}, sum of weights {votes.total:.3g}"
        text += f" (this solution {votes.weight:.2g})"
    return text


def _marked(case: Case) -> bool:
    return any(solution.first_low is not None for solution in (case.left, case.right))


def _rows(solution: ShownSolution) -> list[_Row]:
    """A row per step, and one of the answer with the score of the whole solution.

    Steps without a score, such as the last one of an unfinished solution, and scores without a step
    of this text, as of other projects, have a row, too.
    """
    rows = []
    for i, (text, score) in enumerate(zip_longest(solution.steps, solution.step_scores)):
        mark = f" {MARK}" if i == solution.first_low else ""
        shown = "" if score is None else f"{score:.2f}{mark}"
        rows.append((str(i + 1), shown, text or ""))
    outcome = solution.outcome_score
    answer = "(none)" if solution.answer is None else solution.answer
    return [*rows, ("answer", "" if outcome is None else f"{outcome:.2f}", answer)]


def _block_lines(solution: ShownSolution) -> Iterator[str]:
    """Lines of a code block; the further lines of a text stand below its first one."""
    scored = solution.outcome_score is not None
    for number, score, text in _rows(solution):
        left = f"{number:>6}  " + (f"{score:<6}  " if scored else "")
        yield left + text.replace("\n", f"\n{'':{len(left)}}")


def style_rows(style: Sequence[Style]) -> list[tuple[str, ...]]:
    """Header and rows of the figures of style."""

    def cells(values: Sequence[float | None]) -> tuple[str, ...]:
        return tuple("-" if value is None else f"{value:.1f}" for value in values)

    return [
        ("", *(s.name for s in style)),
        ("steps per solution", *cells([s.steps for s in style])),
        ("characters per step", *cells([s.characters_per_step for s in style])),
        ("tokens per solution", *cells([s.tokens for s in style])),
        ("right, percent", *cells([100 * s.share_right for s in style])),
    ]


def _text(text: str, style: str = "") -> Text:
    """A text for rich that is shown as it is."""
    return Text(printable(text), style)


def _literal(text: str) -> str:
    """A text on one line of Markdown that is shown as it is."""
    return _SPECIAL.sub(r"\\\g<0>", one_line(text))


def _code_block(text: str) -> str:
    """A code block whose fence is longer than any in the text."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}text\n{printable(text)}\n{fence}"
