"""What a recipe would cost, on numbers computed by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from e2h_cli.pipeline.plan import Assumptions, StagePlan, parameters_of, plan_of, split_sizes
from e2h_cli.pipeline.recipe import load
from e2h_cli.pipeline.recipe_file import find
from e2h_cli.pipeline.run_folder import RunFolder
from e2h_cli.settings.split import SplitSettings
from tests import builders
from tests.conftest import MINI, Cli, assert_one_line


def plans(recipe: str, scale: str, folder: Path, **assumed: float) -> dict[str, StagePlan]:
    loaded = load(find(recipe), scale)  # type: ignore[arg-type]
    found = plan_of(loaded, RunFolder(folder), Assumptions(**assumed))  # type: ignore[arg-type]
    return {plan.name: plan for plan in found}


def test_the_paper_quickstart(tmp_path: Path) -> None:
    found = plans("quickstart", "paper", tmp_path)
    # 5,728 easy training problems of MATH, 238 of them for validation.
    assert found["sft"].rows == 5490
    # ceil(5490 * 3 / 128) = 129 steps of 128 rows of 420 tokens.
    tokens = 129 * 128 * 420
    assert found["sft"].tokens == tokens
    hours = 6 * 7e9 * tokens / (0.4 * 989e12) / 3600
    assert found["sft"].gpu_hours(Assumptions()) == pytest.approx(hours)
    assert found["sft"].memory == 16 * 7e9
    assert found["sample"].rows == 500 * 1024
    # 1,024 solutions of 300 tokens for each of 500 questions of 120 tokens.
    tokens = 512_000 * 300 + 500 * 120
    hours = 2 * 7e9 * tokens / (0.12 * 989e12) / 3600
    assert found["sample"].gpu_hours(Assumptions()) == pytest.approx(hours)
    assert found["rerank"].operations == 2 * 7e9 * tokens
    assert {plan.status for plan in found.values()} == {"missing"}


def test_ppo_rest_em_and_dpo(tmp_path: Path) -> None:
    found = plans("table2", "paper", tmp_path)
    # SFT on the rows of PRM800K comes after them, whatever the order of the recipe.
    assert found["sft-easy-human-small"].rows == pytest.approx(75_000 * 5490 / 11_498)
    solutions, size = 500 * 512, 7e9
    passes = 2 * size + 2 * size + 2 * size + 6 * size + 2 * size + 6 * size
    assert found["rl"].operations == passes * solutions * 420
    assert found["rl"].sampling_operations == 2 * size * solutions * 420
    assert found["rl"].memory == (16 + 16 + 2 + 2) * size
    # Two iterations of 32 solutions of each easy question; at most 10 are trained on, 3 epochs.
    rest_em = found["rest-em-easy-human"]
    assert rest_em.rows == 2 * 5490 * 32
    assert rest_em.operations == 6 * size * 2 * 5490 * 10 * 3 * 420
    dpo = found["dpo-easy-human"]
    assert dpo.operations == 8 * size * 5 * 5490 * 6 * 420 + 2 * size * 5 * 5490 * 8 * 420


def test_rollout_labels(tmp_path: Path) -> None:
    text = MINI.read_text().replace(
        "inputs: {problems: split, samples: rm-samples}",
        "inputs: {problems: split, samples: rm-samples, model: pretrain}, "
        "settings: {source: rollouts, rollouts_per_step: 4, max_solutions: 2}",
    )
    (tmp_path / "r.yaml").write_text(text)
    found = plans(str(tmp_path / "r.yaml"), "tiny", tmp_path)["supervise"]
    # 60 of levels 1 to 3, of which half of the 10 validation problems, as in the test set.
    assert found.rows == 2 * 55
    # 8 steps, 4 completions of each, half of the solution left on average.
    # Of 45 tokens of a question and its solution 120 / 420 are the question's.
    assert found.tokens == pytest.approx(found.rows * (8 * 4 / 2 * 45 * 300 / 420 + 45 * 120 / 420))


def test_the_small_scale_fits_on_a_gpu_of_24_gb_and_into_48_hours(tmp_path: Path) -> None:
    found = plans("experiment", "small", tmp_path, tflops=165.0)
    assert max(plan.memory for plan in found.values()) < 10e9  # without activations, KV cache
    assert sum(plan.gpu_hours(Assumptions(tflops=165.0)) for plan in found.values()) < 48
    assert found["sample"].rows == 500 * 256


def test_sizes_of_a_split() -> None:
    counts = {"train_counts": [10, 10, 10, 10], "test_counts": [2, 2, 2, 2]}
    chains = SplitSettings.model_validate(counts | {"max_level": 3, "validation_size": 4})
    assert split_sizes(chains) == {"easy": 27, "hard": 9, "validation": 4, "test": 8}


def test_sizes_of_models(tmp_path: Path) -> None:
    named = {"EleutherAI/llemma_7b": 7e9, "x/SmolLM2-135M-Instruct": 135e6,
             "Qwen/Qwen3-0.6B-Base": 0.6e9, "x/llama": None, "x/m2beta": None}  # fmt: skip
    assert {name: parameters_of(name) for name in named} == named
    model = builders.llama(tmp_path / "m", builders.tokenizer("byte-bpe"))
    from transformers import AutoModelForCausalLM

    counted = AutoModelForCausalLM.from_pretrained(model).num_parameters()
    assert parameters_of(str(model)) == pytest.approx(counted, rel=0.02)
    (model / "config.json").write_text(json.dumps({"hidden_size": None}))
    assert parameters_of(str(model)) is None


def test_finished_stages_and_unknown_sizes(cli: Cli, mini_run: Path, tmp_path: Path) -> None:
    done = cli("plan", MINI, "--run-dir", mini_run)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "finished" in done.stdout
    assert "missing" not in done.stdout
    assert "assumed: a GPU does 989 TFLOP/s" in done.stdout
    paper = "  paper: {substitutes: {pretrain: org/model}}\n  tiny:"
    (tmp_path / "r.yaml").write_text(MINI.read_text().replace("  tiny:", paper))
    common = ("plan", "r.yaml", "--scale", "paper")
    assert_one_line(cli(*common), "the size of org/model is not known", "--parameters 7e9")
    assert cli(*common, "--parameters", "7e9").returncode == 0
    assert not (tmp_path / "runs").exists()
