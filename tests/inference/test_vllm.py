"""The real vLLM: engine arguments, the same samples as with transformers, wider heads."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from e2h_cli.data.split_files import read_split
from e2h_cli.models import tiny
from e2h_cli.models.wide_heads import with_head_size
from tests.conftest import e2h_process
from tests.inference.conftest import counts, needs_vllm, sample_process


def test_wider_heads_compute_the_same() -> None:
    torch.manual_seed(0)
    tokens = tiny.tokenizer()
    model = tiny.model(tokens, hidden_size=32, num_layers=2, num_heads=4).eval()
    ids = torch.randint(3, len(tokens), (3, 40))
    for size in (16, 32):
        wide = with_head_size(model, size).eval()
        assert wide.config.head_dim == size
        torch.testing.assert_close(wide(ids).logits, model(ids).logits, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
@needs_vllm
def test_vllm_options_are_checked_and_passed_on(run: Path) -> None:
    wrong = sample_process(run, "--engine", "vllm", "--engine-arg", "max_num_seq=3")
    assert wrong.returncode == 2
    assert "did you mean 'max_num_seqs'?" in wrong.stderr
    right = sample_process(
        run, "--engine", "vllm", "--engine-arg", "max_num_seqs=3", "--n", "3", "--logprob",
        "--stop", r"\n\n# Answer",
    )  # fmt: skip
    assert right.returncode == 0, right.stdout + right.stderr
    table = pq.read_table(run / "sample/samples.parquet")
    assert table["logprob"].null_count == 0
    assert not any("\n\n# Answer" in text for text in table["text"].to_pylist())


@pytest.mark.slow
@needs_vllm
def test_both_engines_write_the_same_greedy_solutions(run: Path) -> None:
    texts = []
    for engine in ("vllm", "transformers"):
        done = sample_process(run, "--engine", engine, "--preset", "greedy", "--logprob", "--force")
        assert done.returncode == 0, done.stdout + done.stderr
        (run / "sample/samples.parquet").rename(run.parent / f"{engine}.parquet")
        shutil.rmtree(run / "sample")
        texts.append(pq.read_table(run.parent / f"{engine}.parquet").to_pylist())
    same = [a["text"] == b["text"] for a, b in zip(*texts, strict=True)]
    # Two programs round differently, and an untrained model has near ties.
    assert sum(same) >= 0.8 * len(same)
    for a, b in zip(*texts, strict=True):
        if a["text"] == b["text"]:
            assert a["finish_reason"] == b["finish_reason"]
            assert a["tokens"] == b["tokens"]
            assert a["logprob"] == pytest.approx(b["logprob"], abs=1e-2)


@pytest.mark.slow
@needs_vllm
def test_the_quickstart_s_accuracy_is_the_same_with_both_engines(tmp_path: Path) -> None:
    """Same model, same problems, other noise: they differ by no more than chance."""
    run = tmp_path / "run"
    # A quarter of the corpus: the generator need not be good.
    (tmp_path / "short.yaml").write_text(
        "extends: quickstart\nname: short\nshow: [sample]\n"
        "scales: {tiny: {settings: {pretrain: {documents: 9600}}}}\n"
    )
    made = e2h_process(
        "run", "short.yaml", "--scale", "tiny", "--run-dir", run, "--until", "sft",
        cwd=tmp_path, timeout=1200,
    )  # fmt: skip
    assert made.returncode == 0, made.stdout + made.stderr
    problems = {p.id: p for p in read_split(run / "split", "test")}
    right = []
    for engine in ("vllm", "transformers"):
        done = e2h_process(
            "sample", "--recipe", "short.yaml", "--run-dir", run, "--engine", engine, "--n", "8",
            "--force", cwd=tmp_path, timeout=1200,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"'{engine}'" in str(counts(run)["engines"])
        rates: dict[str, list[bool]] = {}
        for row in pq.read_table(run / "sample/samples.parquet").to_pylist():
            rates.setdefault(row["id"], []).append(row["answer"] == problems[row["id"]].answer)
        right.append([sum(rates[key]) / len(rates[key]) for key in problems])
        shutil.rmtree(run / "sample")
    difference = np.subtract(*right)
    mean, error = difference.mean(), difference.std() / len(difference) ** 0.5
    print(f"pass@1 vllm {np.mean(right[0]):.4f}, transformers {np.mean(right[1]):.4f}, "
          f"difference {mean:.4f} +- {error:.4f}")  # fmt: skip
    assert abs(mean) < 3 * error
    assert error < 0.015
