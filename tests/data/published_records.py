"""Records of PRM800K and Math-Shepherd, made by hand in the released formats, and a small split."""

from __future__ import annotations

from pathlib import Path

from e2h_cli.data.problem import Problem, write_problems


def step(*rated: tuple[str, int | None], chosen: int | None = 0, human: str | None = None) -> dict:
    return {
        "completions": [{"text": t, "rating": r, "flagged": False} for t, r in rated],
        "human_completion": None if human is None else {"text": human, "rating": None},
        "chosen_completion": chosen,
    }  # fmt: skip


def record(*steps: dict, question: str = "q?") -> dict:
    return {"question": {"problem": question}, "label": {"steps": list(steps)}}


RATED = record(
    step(("One.", 1), ("Uno.", 1), ("Eins.", -1)),
    step(("Two.", 0)),
    step(("Wrong.", -1), ("Bad.", -1), chosen=None, human="Three."),
    step(("Four.", 1)),
    step(("Five.\n\n# Answer\n\n5", 1), ("# Answer\n\n6", -1), ("Unrated.", None)),
)

MARKED = {
    "input": "How many? Step 1: We add. ки\nStep 2: So 1 + 1 = 2. The answer is: 2 ки",
    "label": "How many? Step 1: We add. +\nStep 2: So 1 + 1 = 2. The answer is: 2 -",
    "task": "MATH",
}


def write_small_split(folder: Path) -> Path:
    """A split of six questions."""
    questions = {
        "easy": ["How much is one and one?", "How many sides has a square of side two?"],
        "hard": ["Find the last digit of seven to the power of one hundred."],
        "validation": [
            "How much is two and two?",
            "A train goes 3 miles in 5 hours. How far does it go in 8 hours?",
        ],
        "test": ["How much is three and three?"],
    }
    for part, texts in questions.items():
        level = 5 if part == "hard" else 1
        problems = [Problem(f"{part}-{i}", q, level, "s", "math", "2") for i, q in enumerate(texts)]
        write_problems(folder / f"{part}.jsonl", problems)
    return folder
