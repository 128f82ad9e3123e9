"""What the training behind a stage has seen, by the records of the stages."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2h_cli.pipeline.lineage import (
    facets_of,
    input_path,
    input_record,
    level_range,
    lineage_of,
    lineage_of_input,
)
from e2h_cli.pipeline.run_folder import ResolvedInput, StageFolder


def test_the_record_of_a_stage_of_the_same_run(mini_run: Path) -> None:
    assert input_path(mini_run / "rerank", "samples") == mini_run / "sample"
    assert input_record(mini_run / "sample", "model")["command"] == "sft"


def test_inputs_from_elsewhere(tmp_path: Path) -> None:
    inputs = {"model": [ResolvedInput("org/model", "hub:org/model")],
              "samples": [ResolvedInput(str(tmp_path / "other"), "")], "votes": []}  # fmt: skip
    StageFolder(tmp_path / "stage").start("rerank", {}, inputs)
    assert input_path(tmp_path / "stage", "model") == Path("org/model")
    assert input_record(tmp_path / "stage", "model") == {}
    assert input_path(tmp_path / "stage", "samples") == tmp_path / "other"
    for name in ("votes", "problems"):
        assert input_path(tmp_path / "stage", name) is None
    assert input_record(tmp_path / "no-stage", "model") == {}


def made(path: Path, command: str, seen: object = None, **inputs: Path | str) -> Path:
    """A finished stage with one output, whose content tells it from others."""
    resolved = {}
    for name, given in inputs.items():
        held = StageFolder(Path(given)).fingerprint
        same_run = isinstance(given, Path) and given.parent == path.parent
        resolved[name] = [ResolvedInput(given.name if same_run else str(given), held)]  # type: ignore[union-attr]
    stage = StageFolder(path)
    stage.start(command, {}, resolved)
    (path / "output").write_text(f"{command} {seen} {inputs}")
    stage.finish({} if seen is None else {"seen": seen}, 0)
    return path


EASY = {"questions": [1, 2], "labels": [1, 2, 3], "answers": [1, 2, 3]}


def test_a_stage_has_seen_what_all_stages_behind_it_have_seen(tmp_path: Path) -> None:
    base = made(tmp_path / "base", "pretrain", {"documents": [1, 5]})
    sft = made(tmp_path / "sft", "sft", EASY, model=base)
    samples = made(tmp_path / "samples", "sample", model=sft)
    labels = made(tmp_path / "labels", "supervise", EASY, samples=samples)
    reward_model = made(tmp_path / "rm", "train-rm", rows=labels, model=base)
    found = lineage_of(reward_model)
    assert found.seen == {
        "documents": {1, 5}, "questions": {1, 2}, "labels": {1, 2, 3}, "answers": {1, 2, 3}
    }  # fmt: skip
    assert (found.bases, found.unknown) == (frozenset(), frozenset())
    assert found.reads_hard_answers(3) == "no"
    assert found.reads_hard_answers(2) == "train"
    # PPO rewards easy answers alone, but starts from a model that was trained on hard ones.
    hard = made(tmp_path / "sft-all", "sft", EASY | {"answers": [1, 5]}, model=base)
    rl = made(tmp_path / "rl", "rl", EASY, model=hard, reward_model=reward_model)
    assert lineage_of(rl).reads_hard_answers(3) == "train"
    # Votes of the reward model on hard questions are no hard answers.
    votes = made(tmp_path / "votes", "rerank", samples=samples, reward_model=reward_model)
    voted = made(tmp_path / "rl-vote", "rl", EASY, model=sft, votes=votes)
    assert lineage_of(voted).reads_hard_answers(3) == "no"
    chosen = made(tmp_path / "rl-choice", "rl", EASY | {"choice": [1, 4]}, model=sft)
    assert lineage_of(chosen).reads_hard_answers(3) == "choice"
    both = made(tmp_path / "rl-both", "rl", {"answers": [4], "choice": [4]}, model=sft)
    assert lineage_of(both).reads_hard_answers(3) == "train"


def test_what_is_not_recorded_is_not_known(tmp_path: Path) -> None:
    from_hub = made(tmp_path / "sft", "sft", EASY, model="org/base")
    assert lineage_of(from_hub).bases == {"org/base"}
    assert lineage_of(from_hub).reads_hard_answers(3) == "no"
    own_rows = made(tmp_path / "own-rows", "sft", model=from_hub, rows=str(tmp_path / "rows.jsonl"))
    assert lineage_of(own_rows).reads_hard_answers(3) == "unknown"
    without_record = made(tmp_path / "old", "sft", model=from_hub)
    assert lineage_of(without_record).unknown == {"old"}
    no_level = made(tmp_path / "no-level", "sft", {"answers": [0, 2]}, model=from_hub)
    assert lineage_of(no_level).reads_hard_answers(3) == "unknown"
    votes = made(tmp_path / "votes", "rerank", samples=from_hub, reward_model="org/prm")
    assert lineage_of_input(votes, "reward_model").unknown == {"org/prm"}
    assert lineage_of_input(votes, "samples").unknown == frozenset()


def test_a_stage_that_was_made_anew_is_not_what_others_were_made_from(tmp_path: Path) -> None:
    rows = made(tmp_path / "rows", "supervise", EASY)
    reward_model = made(tmp_path / "rm", "train-rm", rows=rows)
    assert lineage_of(reward_model).reads_hard_answers(3) == "no"
    made(tmp_path / "rows", "supervise", EASY | {"labels": [1]})
    assert lineage_of(reward_model).reads_hard_answers(3) == "unknown"


def tag(path: Path, **tags: str) -> Path:
    StageFolder(path).set_tags(tags)
    return path


def test_tags_are_those_of_all_stages_behind_and_the_nearer_win(tmp_path: Path) -> None:
    split = tag(made(tmp_path / "split", "split"), problems="MATH", size="none")
    base = tag(made(tmp_path / "base", "pretrain", problems=split), size="7b")
    sft = tag(made(tmp_path / "sft", "sft", EASY, model=base), generator="SFT")
    samples = made(tmp_path / "samples", "sample", problems=split, model=sft)
    reward_model = tag(made(tmp_path / "rm", "train-rm", model=base), generator="-", reward="PRM")
    votes = made(tmp_path / "votes", "rerank", samples=samples, reward_model=reward_model)
    assert lineage_of(samples).tags == {"problems": "MATH", "size": "none", "generator": "SFT"}
    # The reward model is nearer to the votes than the generator of the samples.
    assert lineage_of(votes).tags == {
        "problems": "MATH", "size": "none", "generator": "-", "reward": "PRM"
    }  # fmt: skip
    assert lineage_of_input(votes, "reward_model").tags["size"] == "7b"
    made(tmp_path / "rm", "train-rm", {"labels": [1]}, model=base)
    assert "reward" not in lineage_of(votes).tags


def test_facets_are_the_tags_of_the_generator_and_the_kind_of_the_reward_model(
    tmp_path: Path,
) -> None:
    base = tag(made(tmp_path / "base", "pretrain", {}), size="none", supervision="none")
    prm = tag(
        made(tmp_path / "rm", "train-rm", model=base), reward_model="PRM", reward_size="large"
    )
    sft = tag(made(tmp_path / "sft", "sft", EASY, model=base), generator="SFT", size="small")
    samples = tag(made(tmp_path / "samples", "sample", model=sft), iteration="2")
    generator = {"size": "small", "supervision": "none", "generator": "SFT", "iteration": "2"}
    assert facets_of(samples, 3) == {**generator, "reads_hard": "no"}
    votes = made(tmp_path / "votes", "rerank", samples=samples, reward_model=prm)
    kind = {"reward_model": "PRM", "reward_size": "large"}
    assert facets_of(votes, 3) == {**generator, **kind, "reads_hard": "no"}
    # A generator that learned from a reward model is not scored by it.
    rl = tag(made(tmp_path / "rl", "rl", EASY, model=sft, reward_model=prm), generator="PPO")
    greedy = made(tmp_path / "greedy", "sample", model=rl)
    about = {"size": "small", "supervision": "none", "generator": "PPO", "reads_hard": "no"}
    assert facets_of(greedy, 3) == about
    majority = made(tmp_path / "majority", "rerank", samples=greedy)
    assert facets_of(majority, 3) == about


def test_hard_answers_of_the_generator_or_of_the_reward_model(tmp_path: Path) -> None:
    hard = {"labels": [5], "answers": [5]}
    seen = {"no": EASY, "choice": EASY | {"choice": [5]}, "train": hard}
    models = {
        read: (
            made(tmp_path / f"rl-{read}", "rl", levels),
            made(tmp_path / f"rows-{read}", "supervise", levels),
        )
        for read, levels in seen.items()
    }
    for first, (generator, _) in models.items():
        samples = made(tmp_path / f"samples-{first}", "sample", model=generator)
        for second, (_, rows) in models.items():
            prm = made(tmp_path / f"rm-{first}-{second}", "train-rm", rows=rows)
            votes = made(
                tmp_path / f"{first}-{second}", "rerank", samples=samples, reward_model=prm
            )
            worst = next(one for one in ("train", "choice", "no") if one in (first, second))
            assert facets_of(votes, 3)["reads_hard"] == worst
    unknown = made(tmp_path / "unknown", "rerank", samples=samples, reward_model="org/prm")
    assert facets_of(unknown, 3) == {"reads_hard": "train"}
    easy = made(
        tmp_path / "easy", "rerank", samples=tmp_path / "samples-no", reward_model="org/prm"
    )
    assert facets_of(easy, 3) == {"reads_hard": "unknown"}


@pytest.mark.parametrize(
    ("levels", "text"),
    [({1, 2, 3}, "levels 1-3"), ({5}, "level 5"), ({1, 3}, "levels 1, 3"), ({4, 5}, "levels 4-5")],
)
def test_a_range_of_levels_in_words(levels: set[int], text: str) -> None:
    assert level_range(levels) == text
