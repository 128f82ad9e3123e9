"""Size of the page of a run at the size of the paper, from made-up solutions.

    python -m benchmarks.page_size --problems 500 --samples 1024

Prints the seconds to make the parts of one generator and one reward model, and writes the page.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from e2h_cli.common.parquet_store import SAMPLE_SCHEMA, SCORE_SCHEMA
from e2h_cli.data import template
from e2h_cli.data.problem import Problem
from e2h_cli.evaluation.measurements import voting_methods
from e2h_cli.evaluation.sample_groups import SampleGroup
from e2h_cli.reports.page.html_document import Document
from e2h_cli.reports.page.kept_samples import limit_for
from e2h_cli.reports.page.sample_data import SampleSet, Scoring, problems_json, sample_set_json

_TEXT = (
    "we the so that is of and a sum triangle then $x=$ value $\\frac{1}{2}$ therefore since each "
    "side number integer $n^2+1$ product factor let be positive solution equation both roots are "
    "equal to divide by $\\sqrt{3}$ we get substitute into area of circle radius $2\\pi r$"
)
_WORDS = _TEXT.split()


def made_up(problems: int, samples: int, seed: int = 0) -> SampleSet:
    """Solutions of seven steps of about 130 characters, with answers and scores."""
    rng, draw = random.Random(seed), np.random.default_rng(seed)
    groups, rows, scores = [], [], []
    for number in range(problems):
        key = f"math/{number}"
        question = " ".join(rng.choices(_WORDS, k=50))
        problem = Problem(key, question, 1 + number % 5, "Algebra", "math", answer="0")
        classes = np.minimum(draw.geometric(0.15, samples) - 1, 199)
        _, classes = np.unique(classes, return_inverse=True)
        right = classes == number % 3
        answers = tuple(map(str, classes))
        groups.append(SampleGroup(problem, tuple(range(samples)), answers, classes, right))
        for sample, answer in enumerate(answers):
            steps = [" ".join(rng.choices(_WORDS, k=22)) for _ in range(7)]
            same = {"id": key, "sample": sample}
            text = template.completion(steps, answer)
            rows.append({**same, "text": text, "answer": answer, "finish_reason": "stop",
                         "tokens": 300, "logprob": -rng.random() * 100})  # fmt: skip
            step_scores = draw.random(7).tolist()
            scores.append({**same, "step_scores": step_scores, "outcome_score": rng.random()})
    scored = pa.Table.from_pylist(scores, schema=SCORE_SCHEMA)
    methods = voting_methods(groups, scored)
    table = pa.Table.from_pylist(rows, schema=SAMPLE_SCHEMA)
    return SampleSet("sample", groups, table, [Scoring("rerank", scored, methods)])


def main() -> None:
    """Make the page and say how long it took and how large it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=500)
    parser.add_argument("--samples", type=int, default=1024)
    parser.add_argument("--out", type=Path, default=Path("page-size.html"))
    given = parser.parse_args()
    one = made_up(given.problems, given.samples)
    length = np.mean([len(text) for text in one.samples["text"].to_pylist()])
    limit = limit_for([(given.problems, given.samples, float(length))])
    started = time.monotonic()
    document = Document()
    samples, [scoring] = sample_set_json(one, limit)
    document.add("problems", [problems_json({g.problem.id: g.problem for g in one.groups})])
    document.add("samples-0", samples.pop("problems"))
    document.add("samples-0-rerank", scoring["problems"])
    about = {"chunk": "samples-0", "problems": 0, "votes": {"rerank": scoring["methods"]}}
    document.add("metrics", {})
    empty: dict[str, list[str]] = {
        key: [] for key in ("stages", "views", "results", "trainings", "notes")
    }
    document.add("run", {"name": "made up", "e2h": "", "sets": [{**samples, **about}], **empty})
    html = document.html("made up")
    given.out.write_text(html, encoding="utf-8")
    seconds = time.monotonic() - started
    print(f"{given.problems} problems x {given.samples} solutions of {length:.0f} characters: "
          f"the first {limit} of each, {len(html) / 1e6:.1f} MB, {seconds:.0f} s")  # fmt: skip


if __name__ == "__main__":
    main()
