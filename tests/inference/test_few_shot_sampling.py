"""``e2h sample`` with few-shot examples, and in the wording of the paper's prompts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from e2h_cli.data import prompt_styles, template
from e2h_cli.data.prompt_styles import STYLES
from e2h_cli.data.split_files import HIDDEN_ANSWERS, read_answered_problems, read_split
from e2h_cli.inference.engines.base import Generation
from e2h_cli.inference.sampling import SamplingJob, read_samples, sample_row
from e2h_cli.pipeline.lineage import lineage_of
from e2h_cli.settings.sample import SampleSettings
from tests import builders
from tests.conftest import MINI, assert_one_line, copy_stages, e2h
from tests.inference.conftest import counts, sample

MINERVA = STYLES["minerva"]


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A random model whose tokenizer has the words of the paper's prompts."""
    words = ["Problem:", "Solution:", "Final Answer: The final answer is $",
             "$. I hope it is correct.", "\n\n", "\n"]  # fmt: skip
    vocabulary = ["<pad>", "<unk>", "</s>", *words, *"0123456789abcdefghi+-*= "]
    core = Tokenizer(models.WordLevel({t: i for i, t in enumerate(vocabulary)}, unk_token="<unk>"))
    pattern = "|".join([*map(re.escape, words), r"[\s\S]"])
    core.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    core.decoder = decoders.Fuse()
    special = {"pad_token": "<pad>", "unk_token": "<unk>", "eos_token": "</s>"}
    made = PreTrainedTokenizerFast(
        tokenizer_object=core, **special, clean_up_tokenization_spaces=False
    )
    return str(builders.llama(tmp_path / "model", made))


def test_minerva_samples_stop_and_are_read(run: Path, model: str) -> None:
    options = ("--model", model, "--prompt", "minerva", "--shots", "2", "--temperature", "2",
               "--top-k", "0", "--n", "40")  # fmt: skip
    assert sample(run, *options).returncode == 0
    table = pq.read_table(run / "sample/samples.parquet")
    texts, answers = table["text"].to_pylist(), table["answer"].to_pylist()
    assert not any("Problem:" in text for text in texts)
    assert any("Solution:" in text for text in texts)  # as likely as the other
    read = [
        prompt_styles.parse(MINERVA, text, finished=reason == "stop").answer
        for text, reason in zip(texts, table["finish_reason"].to_pylist(), strict=True)
    ]
    assert answers == read
    assert any(answers)
    assert json.loads((run / "sample/stage.json").read_text())["settings"]["prompt"] == "minerva"
    # The file tells the wording of its texts, and later stages read the template.
    assert read_samples(run / "sample")["text"].to_pylist() == [*map(MINERVA.in_template, texts)]
    common = ("--recipe", MINI, "--run-dir", run, "--samples", "sample")
    voted = e2h("rerank", *common, "--method", "majority", "--force", cwd=run.parent)
    assert voted.returncode == 0, voted.stdout + voted.stderr


def minerva_samples(run: Path, text: str) -> Path:
    """A file of one sample, ``text``, for each easy problem."""
    settings = SampleSettings(prompt="minerva", n=1, part="easy")
    problems = tuple(read_split(run / "split", "easy"))
    file = run.parent / "minerva.parquet"
    job = SamplingJob("", settings, problems, (), file, run.parent / "parts", "w")
    assert job.missing(set())[0].prompt == MINERVA.prompt(problems[0].problem)
    store = job.store()
    generations = (
        Generation(p.id, 0, text.replace("ANSWER", str(p.answer)), "stop", 9, None)
        for p in problems
    )
    store.add(sample_row(generation, job.style) for generation in generations)
    store.merge(problem.id for problem in problems)
    return file


def test_steps_of_minerva_samples_are_labelled_and_scored(mini_run: Path, tmp_path: Path) -> None:
    run = copy_stages(mini_run, tmp_path / "run", "split", "pretrain", "train-rm")
    text = "\na=1\nb=2\nFinal Answer: The final answer is $ANSWER$. I hope it is correct.\n\n"
    file = minerva_samples(run, text)
    common = ("--recipe", MINI, "--run-dir", run, "--samples", file, "--force")
    assert e2h("supervise", *common, cwd=tmp_path).returncode == 0
    rows = [json.loads(line) for line in (run / "supervise/prm.jsonl").open()]
    assert len(rows) == len(read_split(run / "split", "easy"))
    answers = {p.id: p.answer for p in read_answered_problems(run / "split").values()}
    for row in rows:
        assert row["completions"] == ["a=1", "b=2", f"# Answer\n\n{answers[row['id']]}"]
        assert row["labels"][-1] is True
    scored = e2h("rerank", *common, cwd=tmp_path)
    assert scored.returncode == 0, scored.stdout + scored.stderr
    scores = pq.read_table(run / "rerank/scores/scores.parquet")
    assert {len(steps) for steps in scores["step_scores"].to_pylist()} == {2}

    later = pq.read_table(file).replace_schema_metadata({"prompt": "later"})
    pq.write_table(later, file)
    assert_one_line(e2h("supervise", *common, cwd=tmp_path), "'later'", "does not know")


@pytest.mark.parametrize(
    ("shots_from", "levels", "reads"),
    [("easy", {1, 2, 3}, "no"), ("hard", {4, 5}, "train"), ("hardest", {5}, "train")],
)
def test_hard_examples_are_hard_solutions(
    shots_from: str, levels: set[int], reads: str, run: Path
) -> None:
    done = sample(run, "--preset", "greedy", "--shots", "4", "--shots-from", shots_from,
                  "--model", "pretrain", "--max-tokens", "8")  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = counts(run)
    assert (found["samples"], HIDDEN_ANSWERS in found["read"]) == (12, reads == "train")
    assert set(found["seen"]["answers"]) <= levels
    assert lineage_of(run / "sample").reads_hard_answers(3) == reads
    settings = json.loads((run / "sample/stage.json").read_text())["settings"]
    assert (settings["temperature"], settings["shots"], settings["prompt"]) == (0, 4, "e2h")


def test_examples_are_drawn_from_given_rows(mini_run: Path, tmp_path: Path) -> None:
    run = copy_stages(mini_run, tmp_path / "run", "split", "pretrain", "sft", "supervise")
    options = ("--n", "1", "--max-tokens", "8", "--shots", "2", "--limit", "2")
    done = sample(run, *options, "--examples", "supervise")
    assert done.returncode == 0, done.stderr
    assert {*counts(run)["read"]} == {"sft.jsonl", "test.jsonl"}
    assert set(counts(run)["seen"]["answers"]) <= {1, 2, 3}
    # All rows are of easy problems.
    refused = sample(run, *options, "--examples", "supervise", "--shots-from", "hard", "--force")
    assert_one_line(refused, "0 rows are whole solutions that may be shown, 2 are needed")
    row = {"prompt": template.prompt("own?"), "completion": "a=1\n\n# Answer\n\n1"}
    own = tmp_path / "own.jsonl"
    own.write_text(json.dumps(row))
    done = sample(run, *options[:-4], "--shots", "1", "--examples", str(own), "--force")
    assert done.returncode == 0, done.stderr
    assert counts(run)["seen"]["answers"] == [0]
    assert lineage_of(run / "sample").reads_hard_answers(3) == "unknown"


def test_mistakes_are_one_line(run: Path, tmp_path: Path) -> None:
    assert_one_line(sample(run, "--prompt", "minerva"), "no tokens for a stop text: 'Problem:'")
    assert_one_line(sample(run, "--stop", "STOP", "--force"), "a stop text: 'STOP'")
    assert_one_line(sample(run, "--examples", str(run / "split/easy.jsonl")), "add --shots 4")
    asked = sample(run, "--shots", "1", "--problems", str(run / "split/test.jsonl"), "--force")
    assert_one_line(asked, "solutions of the problems that are asked", "--examples")
    (tmp_path / "bad.jsonl").write_text('{"prompt": "q"}')
    bad = sample(run, "--shots", "1", "--examples", str(tmp_path / "bad.jsonl"), "--force")
    assert_one_line(bad, "bad.jsonl:1: no text under 'completion'")
