"""``e2h sample --prompt chat``, and what later stages read of its samples."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from e2h_cli.common.files import read_json
from e2h_cli.data.prompt_styles import ChatStyle, chat_style
from e2h_cli.data.split_files import read_split
from e2h_cli.inference.engines.base import Generation, Request, SamplingParameters
from e2h_cli.inference.engines.transformers_engine import TransformersEngine
from e2h_cli.inference.sampling import SamplingJob, read_samples, sample_row
from e2h_cli.models.loading import load_generator, load_tokenizer
from e2h_cli.settings.sample import SampleSettings
from tests import builders
from tests.conftest import MINI, Cli, assert_one_line, copy_stages, e2h
from tests.inference.conftest import ENGINES, sample, sample_process

TEXT = "<think>hm \\boxed{0}\n\nso</think>\n\na=1\n\nb=2 so \\boxed{ANSWER}"


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A random model whose turns end with another token than its texts."""
    return str(builders.llama(tmp_path / "model", builders.chat_tokenizer(), hidden=256))


def chat_samples(run: Path, model: str) -> Path:
    """A file of one sample, ``TEXT``, for each easy problem."""
    settings = SampleSettings(prompt="chat", n=1, part="easy")
    problems = tuple(read_split(run / "split", "easy"))
    file = run.parent / "chat.parquet"
    job = SamplingJob(model, settings, problems, (), file, run.parent / "parts", "w")
    store = job.store()
    store.add(
        sample_row(
            Generation(p.id, 0, TEXT.replace("ANSWER", str(p.answer)), "stop", 9, None), job.style
        )
        for p in problems
    )
    store.merge(problem.id for problem in problems)
    return file


@pytest.mark.parametrize("engine", ENGINES)
def test_samples_of_a_chat_tell_how_they_are_read(run: Path, model: str, engine: str) -> None:
    options = ("--model", model, "--prompt", "chat", "--system", "", "--shots", "1",
               "--temperature", "1", "--top-k", "0", "--n", "40", "--limit", "2",
               "--engine", engine)  # fmt: skip
    done = (sample_process if engine == "vllm" else sample)(run, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    record = read_json(run / "sample/stage.json")
    chosen = {name: record["settings"][name] for name in ("prompt", "system", "step_separator")}
    assert chosen == {"prompt": "chat", "system": "", "step_separator": "blank-line"}
    table = pq.read_table(run / "sample/samples.parquet")
    texts = table["text"].to_pylist()
    assert any(table["answer"].to_pylist())
    think = record["counts"]["think"]
    assert 0 < think["unclosed_share"] < think["share"] < 1
    blocks = [tokens for tokens in table["think_tokens"].to_pylist() if tokens]
    assert think["mean_tokens"] == pytest.approx(sum(blocks) / len(blocks), abs=0.1)
    style = ChatStyle()
    assert read_samples(run / "sample")["text"].to_pylist() == [*map(style.in_template, texts)]


def test_a_sample_ends_with_the_turn(model: str) -> None:
    tokens = load_tokenizer(model)
    style = chat_style(tokens, system="", step_separator="newline")
    engine = TransformersEngine(load_generator(model), tokenizer=tokens)
    requests = [Request("p", tuple(range(64)), style.prompt("2?"), 0)]
    decoding = SamplingParameters(1.0, 0, max_tokens=200, stop_token_ids=style.stop_token_ids)
    (end,) = style.stop_token_ids
    found = [g for many in engine.generate(requests, decoding) for g in many]
    assert any(g.ids[-1] == end for g in found)
    for g in found:
        assert end not in g.ids[:-1]
        assert g.finish_reason == ("stop" if g.ids[-1] in (end, tokens.eos_token_id) else "length")
        special = {*tokens.all_special_ids}
        assert g.text == "".join(tokens.decode([i]) for i in g.ids if i not in special)


def test_steps_of_chat_samples_are_labelled_and_scored(mini_run: Path, tmp_path: Path) -> None:
    run = copy_stages(mini_run, tmp_path / "run", "split", "pretrain", "train-rm")
    model = str(builders.llama(tmp_path / "model", builders.chat_tokenizer()))
    file = chat_samples(run, model)
    assert set(pq.read_table(file)["think_tokens"].to_pylist()) == {9}
    common = ("--recipe", MINI, "--run-dir", run, "--samples", file, "--force")
    # The completer is asked as the samples were.
    rollouts = ("--source", "rollouts", "--model", model, "--rollouts-per-step", "2",
                "--max-solutions", "1", "--max-tokens", "4")  # fmt: skip
    done = e2h("supervise", *common, *rollouts, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    conditions = read_json(run / "supervise/completions/conditions.json")
    assert (conditions["prompt"], conditions["step_separator"]) == ("chat", "blank-line")
    rows = [json.loads(line) for line in (run / "supervise/prm.jsonl").open()]
    assert len(rows) == len(read_split(run / "split", "easy"))
    for row in rows:
        first, second, answer = row["completions"]
        assert (first, second) == ("a=1", f"b=2 so \\boxed{{{answer[-1]}}}")
        assert row["labels"][-1] is True
    scored = e2h("rerank", *common, cwd=tmp_path)
    assert scored.returncode == 0, scored.stdout + scored.stderr
    scores = pq.read_table(run / "rerank/scores/scores.parquet")
    assert {len(steps) for steps in scores["step_scores"].to_pylist()} == {2}
    refused = e2h("rerank", *common, "--prompt", "chat", cwd=tmp_path)
    assert_one_line(refused, "--prompt chat", "leave it out")


def test_an_answer_in_the_first_steps_counts() -> None:
    tokens = builders.chat_tokenizer(think=True)
    style = chat_style(tokens, system="", step_separator="blank-line")
    begun = style.begin(["a=1", r"so \boxed{2}"])
    rest = Generation("p", 0, "", "stop", 1, None)
    assert sample_row(rest, style, begun)["answer"] == "2"
    assert sample_row(rest, style)["answer"] is None


def test_imported_samples_of_chats(cli: Cli, tmp_path: Path) -> None:
    row = {"problem": "1+1?", "answer": "2", "level": 1,
           "completions": ["Step 1: \\boxed{3}</think>a\nStep 1: b\nStep 2: \\boxed{2}", "is 2"],
           "scores": [[0.5], [0.5]]}  # fmt: skip
    (tmp_path / "x.jsonl").write_text(json.dumps(row))
    done = cli("rerank", "--import", "search-and-learn", "x.jsonl", "--run-dir", "run",
               "--prompt", "chat", "--step-separator", "step-headers")  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    table = pq.read_table(tmp_path / "run/rerank/imported-samples.parquet")
    assert table["answer"].to_pylist() == ["2", None]
    assert table["text"][0].as_py() == "a\n\nStep 1: b\n\nStep 2: \\boxed{2}\n\n# Answer\n\n2"


def test_mistakes_are_one_line(run: Path) -> None:
    assert_one_line(sample(run, "--prompt", "chat"), "no chat template", "--prompt e2h")
    assert_one_line(sample(run, "--system", "x", "--force"), "--system is a setting of chats")
