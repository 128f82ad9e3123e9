"""ReST-EM and iterative DPO: rounds of sampling, choosing, training and measuring.

Every round has a folder with a record of its own: samples, rows, model, validation. A finished
round is never done again; an unfinished one goes on from its samples or its last checkpoint.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from e2h_cli.common import distributed, parquet_store
from e2h_cli.common.console import console
from e2h_cli.common.errors import InputError
from e2h_cli.common.files import fingerprint, read_json, read_jsonl, write_json, write_jsonl
from e2h_cli.data import template
from e2h_cli.data.problem import Problem
from e2h_cli.evaluation.score_tables import aggregate_scores
from e2h_cli.evaluation.voting import BEST_AGGREGATE
from e2h_cli.grading.verdict import Grader
from e2h_cli.inference.sampling import SAMPLES_FILE, SamplingJob, sample_all
from e2h_cli.inference.scoring import score_samples
from e2h_cli.models.loading import free_memory, load_generator, load_tokenizer
from e2h_cli.pipeline.run_folder import SCRATCH_DIR, ResolvedInput, StageFolder
from e2h_cli.pipeline.stage_context import StageContext
from e2h_cli.rl.checkpoint_selection import best, side_by_side
from e2h_cli.rl.policy_models import print_memory_plan
from e2h_cli.rl.preference_data import Candidate, preference_pairs, right_solutions
from e2h_cli.rl.prompts import Setup, record, set_up
from e2h_cli.rl.run_log import Watch, plot
from e2h_cli.settings.rl import IteratedSettings
from e2h_cli.settings.sample import SampleSettings
from e2h_cli.training.sft import sft_row
from e2h_cli.training.trainer import train_model

_VALIDATION = "validation.json"


def run(context: StageContext[IteratedSettings], grader: Grader) -> dict[str, Any]:
    """All rounds; the stage's model is that of the best one by the rule."""
    settings = context.settings
    setup = set_up(context, grader)
    reward = context.model_or_path("reward_model") if context.inputs["reward_model"] else None
    print_memory_plan(context.model_or_path("model"), reward, settings)
    start = ResolvedInput(context.model_or_path("model"), context.input_fingerprints["model"][0])
    rounds = _Rounds(context, settings, setup, grader, start, reward)
    history = [rounds.measure(context.output_dir / "round-0", 0, start.path)]
    lines: list[dict[str, Any]] = [dict(history[0])]
    models = [start]
    for number in range(1, settings.iterations + 1):
        done = rounds.round(number, models[-1])
        if done is None:
            break
        line, model = done
        models.append(model)
        history.append({key: line[key] for key in history[0]})
        lines.append(line)
    return rounds.finish(history, lines, [model.path for model in models])


@dataclass
class _Rounds:
    """What every round of a run shares."""

    context: StageContext[IteratedSettings]
    settings: IteratedSettings
    setup: Setup
    grader: Grader
    start: ResolvedInput
    reward: str | None

    def round(
        self, number: int, model: ResolvedInput
    ) -> tuple[dict[str, Any], ResolvedInput] | None:
        """One round from the model of the last; None where it finds nothing to learn from."""
        place = self.context.output_dir / f"round-{number}"
        folder = StageFolder(place)
        if folder.status != "finished":
            console.print(f"[bold]{self.context.stage}[/bold] round {number}")
            inputs = {"model": [model], "start": [self.start]}
            settings = {**self.settings.model_dump(mode="json"), "round": number}
            distributed.run_on_main(lambda: folder.start("rl", settings, inputs))
            rows = distributed.run_on_main(lambda: self._rows(place, number, model.path))
            if not rows:
                console.print(f"round {number} finds nothing to learn from: no more rounds")
                return None
            counts = self._train(place, model.path)
            free_memory()
            line = {"step": number, **rows, **counts, **self.measure(place, number, str(place))}
            if distributed.is_main_process():
                folder.finish(line, 0.0)
            distributed.wait_for_everyone()
        return dict(folder.record["counts"]), ResolvedInput(str(place), folder.fingerprint)

    def _rows(self, place: Path, number: int, model: str) -> dict[str, Any]:
        """Sample, judge, write the rows of a round; what they are like, or nothing."""
        settings = self.settings
        problems = self.setup.problems
        decoding = {
            key: getattr(settings, key)
            for key in ("temperature", "top_k", "top_p", "min_p", "max_tokens", "stop")
        }
        # The noise of a round is its own.
        seed = (settings.seed << 32) + number
        samples = self._drawn(
            place, SAMPLES_FILE, model, problems, {**decoding, "n": settings.num_generations}, seed
        )
        found = self._candidates(place, samples)
        if settings.algo == "rest-em":
            rng = random.Random(f"round {settings.seed} {number}")
            rows: list[dict[str, Any]] = [
                {"id": p.id, "prompt": template.prompt(p.problem), "completion": text}
                for p in problems
                for text in right_solutions(found[p.id], settings.max_correct_per_problem, rng)
            ]
        else:
            rows = [
                {"id": p.id, "prompt": template.prompt(p.problem), "chosen": better.text,
                 "rejected": worse.text, "gap": better.value - worse.value}
                for p in problems
                for better, worse in preference_pairs(
                    found[p.id], settings.min_score_gap, settings.min_score_gap_without_answer, settings.max_pairs_per_problem
                )
            ]  # fmt: skip
        if not rows and number > 1:
            return {}
        if not rows:
            raise InputError(
                "the first round finds nothing to learn from",
                where=place,
                hint="raise --num-generations, lower --min-score-gap, or ask other --questions",
            )
        write_jsonl(place / "rows.jsonl", rows)
        graded = [c.right for many in found.values() for c in many if c.right is not None]
        values = [c.value for many in found.values() for c in many]
        return {
            "samples": samples.num_rows,
            "finished": len(values),
            "right": sum(graded) / len(graded) if graded else None,
            "reward": sum(values) / len(values),
            "tokens": sum(samples["tokens"].to_pylist()) / samples.num_rows,
            "without_answer": samples["answer"].null_count / samples.num_rows,
            "rows": len(rows),
            "problems_with_rows": len({row["id"] for row in rows}),
        }

    def _candidates(self, place: Path, samples: pa.Table) -> dict[str, list[Candidate]]:
        """The finished solutions of each problem, graded where that is allowed, and scored."""
        known = {p.id: p for p in self.setup.problems}
        scores = self._scores(place, samples, known)
        columns = (samples[c].to_pylist() for c in ("id", "text", "answer", "finish_reason"))
        rows = [
            (key, text, answer, score)
            for key, text, answer, reason, score in zip(*columns, scores, strict=True)
            if reason == "stop" and answer is not None
        ]
        open_to = [(known[key].answer, answer) for key, _, answer, _ in rows]
        graded = iter(self.grader.grade([(g, a) for g, a in open_to if g is not None]))
        found: dict[str, list[Candidate]] = {key: [] for key in known}
        for (key, text, _, score), (gold, _) in zip(rows, open_to, strict=True):
            right = None if gold is None else next(graded).right
            found[key].append(Candidate(text, right, score))
        return found

    def _scores(
        self, place: Path, samples: pa.Table, problems: dict[str, Problem]
    ) -> Sequence[float]:
        """One score in [0, 1] per sample: that of the lowest step, as in best-of-n (paper p.8)."""
        if self.settings.algo != "dpo" or self.reward is None:
            return [0.0] * samples.num_rows
        scores = score_samples(
            samples,
            problems,
            self.reward,
            place / "scores",
            conditions={"samples": fingerprint(place / SAMPLES_FILE), "reward": self.reward},
            family=self.settings.family,
            batch_tokens=self.settings.batch_tokens,
            precision="auto",
            title="scoring",
        )
        many = aggregate_scores(scores, self.settings.num_generations, BEST_AGGREGATE["best-of-n"])
        return [float(score) for pool in many for score in pool]

    def _drawn(
        self, place: Path, name: str, model: str, problems: Sequence[Problem],
        choices: dict[str, Any], seed: int,
    ) -> pa.Table:  # fmt: skip
        """Samples of a model, drawn as ``e2h sample`` draws them."""
        own = self.settings
        job = SamplingJob(
            model=model,
            settings=SampleSettings(
                **choices,
                seed=seed,
                engine=own.engine,
                engine_arg=own.engine_arg,
                generation_batch_size=own.generation_batch_size,
            ),
            problems=tuple(problems),
            prefix="",
            target=(place / name).resolve(),
            folder=(place / SCRATCH_DIR / name).resolve(),
            writer="parts",
        )
        if not job.target.is_file():
            store = job.store()
            todo = sum(len(request.samples) for request in job.missing(store.keys()))
            # In a process of its own on a GPU: its memory is needed for the training.
            apart = torch.cuda.is_available()
            for _ in sample_all(job, todo, f"{place.name} {name.removesuffix('.parquet')}", apart):
                pass
            store.merge(p.id for p in problems)
            shutil.rmtree(place / SCRATCH_DIR)
        return parquet_store.read_table(job.target, parquet_store.SAMPLE_SCHEMA)

    def _train(self, place: Path, model: str) -> dict[str, Any]:
        """Train on a round's rows: ReST-EM from the start, DPO from the model of the last round."""
        context = replace(
            self.context, output_dir=place, stage=f"{self.context.stage} {place.name}"
        )
        if self.settings.algo == "dpo":
            from e2h_cli.rl.dpo import train_dpo

            return train_dpo(context, model, place / "rows.jsonl", self.settings)
        tokenizer = load_tokenizer(self.start.path)
        encoded = [
            sft_row(tokenizer, row["prompt"], row["completion"])
            for _, row in read_jsonl(place / "rows.jsonl")
        ]
        kept = [row for row in encoded if len(row.input_ids) <= self.settings.max_length]
        if not kept:
            raise InputError(
                f"every right solution is longer than {self.settings.max_length} tokens",
                hint="raise --max-length",
            )
        base = load_generator(self.start.path, "fp32", to_device=False)
        counts = train_model(
            base,
            tokenizer,
            kept,
            self.settings,
            output_dir=context.output_dir,
            scratch_dir=context.scratch_dir,
            title=context.stage,
        )
        return {"loss": counts["final_loss"], "too_long": len(encoded) - len(kept)}

    def measure(self, place: Path, number: int, model: str) -> dict[str, Any]:
        """What the rules say of a model, from its greedy answers to the validation problems."""
        validation = self.setup.validation
        file = place / _VALIDATION

        def measured() -> dict[str, Any]:
            if not file.is_file():
                choices = {
                    "n": 1, "temperature": 0, "top_k": 0,
                    "max_tokens": self.settings.max_tokens, "stop": self.settings.stop,
                }  # fmt: skip
                samples = self._drawn(
                    place, "validation.parquet", model, validation.problems, choices, 0
                )
                pairs = zip(samples["id"].to_pylist(), samples["answer"].to_pylist(), strict=True)
                write_json(file, validation.values(dict(pairs)))
            return dict(read_json(file))

        return {"step": number, **distributed.run_on_main(measured)}

    def finish(
        self, history: list[dict[str, Any]], lines: list[dict[str, Any]], models: list[str]
    ) -> dict[str, Any]:
        """Write the log, save the best model, say what each rule would have taken."""
        if not distributed.is_main_process():
            return {}
        rule = self.settings.checkpoint_rule
        watch = Watch(self.context.output_dir, [], self.setup.validation.sizes)
        for line in lines:
            watch.add(line)
        watch.close()
        chosen = best(history, rule)
        assert chosen is not None  # there are validation problems
        place = models[chosen["step"]]
        load_generator(place, "fp32", to_device=False).save_pretrained(self.context.output_dir)
        load_tokenizer(place).save_pretrained(self.context.output_dir)
        choices = side_by_side(history, rule, "round")
        for text in choices:
            console.print(text)
        note = f"{self.context.stage}, {self.context.scale} scale; chosen: round {chosen['step']}"
        plot(lines, self.context.output_dir / "training", note=note, unit="round")
        return record(
            self.setup,
            {
                "rounds": len(models) - 1,
                "rule": rule,
                "best_step": chosen["step"],
                "best": {k: v for k, v in chosen.items() if k != "step"},
                "choices": choices,
            },
        )
