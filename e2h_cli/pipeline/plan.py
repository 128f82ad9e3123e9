"""What a recipe would cost: rows, tokens, GPU memory, GPU-hours and disk of every stage.

Nothing is loaded. Sizes come from the settings; what they do not tell is assumed, and every
assumption is printed with the plan.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from e2h_cli.common.errors import InputError
from e2h_cli.common.files import read_json
from e2h_cli.data.splitting import PARTS
from e2h_cli.pipeline.iteration import stage_of
from e2h_cli.pipeline.recipe import Recipe
from e2h_cli.pipeline.recipe_stage import Stage
from e2h_cli.pipeline.run_folder import RunFolder, Status
from e2h_cli.settings.base import SupervisedSettings
from e2h_cli.settings.pretrain import PretrainSettings
from e2h_cli.settings.rl import (
    DPOSettings,
    IteratedSettings,
    OnPolicySettings,
    PPOSettings,
    RestEMSettings,
    RLSettings,
)
from e2h_cli.settings.sample import SampleSettings
from e2h_cli.settings.sft import SftSettings
from e2h_cli.settings.split import SplitSettings
from e2h_cli.settings.supervise import SuperviseSettings

GIB = 2**30
# Dense bf16 peak of the GPU that a scale is meant for: an RTX 4090 (24 GB) and an H100.
PEAK_TFLOPS = {"small": 165.0, "paper": 989.0}
# Problems of MATH by level, 1 to 5: the training set without MATH500, and MATH500.
_MATH_TRAIN, _MATH_TEST = (958, 2152, 2618, 2776, 3494), (43, 90, 105, 128, 134)
# Labelled solutions, or responses, of the published data sets.
_PUBLISHED = {"prm800k": 75_000, "metamath": 395_000, "math-shepherd": 445_000}
# Those of APPS by difficulty.
_APPS_TRAIN = (2639, 2000, 361)
# Tokens of a question with its solution.
_TINY_TOKENS = 45
_ROW_TOKENS = {"chains": _TINY_TOKENS, "programs": 110, "apps": 900}
_BYTES_PER_TOKEN = 1.2  # of a sample on disk, compressed


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What a plan takes for granted.

    Attributes:
        solution_tokens: mean length of a solution; never more than ``max_tokens``.
        prompt_tokens: mean length of a question with its headers.
        steps: mean number of steps of a solution.
        tflops: dense bf16 peak of a GPU in 10^12 operations per second.
        training: share of the peak that training and scoring reach.
        sampling: share of the peak that sampling reaches.
        parameters: of models whose size neither a config nor a name tells.
    """

    solution_tokens: int = 300
    prompt_tokens: int = 120
    steps: int = 8
    tflops: float = PEAK_TFLOPS["paper"]
    training: float = 0.4
    sampling: float = 0.12
    parameters: float | None = None

    @property
    def prompt_share(self) -> float:
        """Share of the prompt in the tokens of a question and its solution."""
        return self.prompt_tokens / (self.prompt_tokens + self.solution_tokens)

    @property
    def lines(self) -> list[str]:
        """The assumptions in words."""
        return [
            f"a solution has {self.solution_tokens} tokens, a question {self.prompt_tokens} "
            f"({', '.join(f'{k}: {v}' for k, v in _ROW_TOKENS.items())} together); "
            f"{self.steps} steps; the prompt of several solutions is computed once",
            f"a GPU does {self.tflops:g} TFLOP/s in bf16; training and scoring reach "
            f"{self.training:.0%} of it, sampling {self.sampling:.0%}; 2 operations per parameter "
            "and token, 6 in training",
            "memory: weights, gradients and Adam's moments in fp32 (LoRA in bf16: weights in bf16, "
            "one parameter in a hundred is trained), weights alone where nothing is trained; "
            "activations and the KV cache come on top",
            "every question has its solutions, and no row is too long or dropped",
            "PRM800K has {prm800k:,} labelled solutions, MetaMath {metamath:,}, Math-Shepherd "
            "{math-shepherd:,}; their questions are spread over the levels as those of "
            "MATH".format_map(_PUBLISHED),
        ]


@dataclass(slots=True)
class StagePlan:
    """The plan of one stage; ``rows`` are problems, training rows or solutions."""

    name: str
    command: str
    status: Status
    rows: float = 0.0
    prompts: float = 0.0  # different ones, of samples
    tokens: float = 0.0
    operations: float = 0.0  # floating-point, in training and scoring
    sampling_operations: float = 0.0
    parameters: float = 0.0  # of the model that the stage makes
    memory: float = 0.0  # bytes
    disk: float = 0.0  # bytes
    parts: dict[str, float] = field(default_factory=dict)  # of a split: problems
    row_tokens: float = 0.0

    def gpu_hours(self, assumed: Assumptions) -> float:
        """Hours of one GPU."""
        share = self.operations / assumed.training + self.sampling_operations / assumed.sampling
        return share / (assumed.tflops * 1e12) / 3600


def plan_of(recipe: Recipe, run_folder: RunFolder, assumed: Assumptions) -> list[StagePlan]:
    """The plan of every stage, each after the stages that it reads.

    Raises:
        InputError: the size of a model is not known.
    """
    plans: dict[str, StagePlan] = {}

    for stage in recipe.order:
        plan = StagePlan(stage.name, stage.command.name, run_folder.stage(stage.name).status)
        _Planner(stage, plan, plans, assumed).fill()
        plans[stage.name] = plan
    return list(plans.values())


@dataclass(frozen=True, slots=True)
class _Planner:
    """Fills the plan of a stage, given those of the stages before it."""

    stage: Stage
    plan: StagePlan
    before: Mapping[str, StagePlan]
    assumed: Assumptions

    def fill(self) -> None:
        match self.stage.settings:
            case SplitSettings() as settings:
                self.plan.parts = split_sizes(settings)
                self.plan.rows = sum(self.plan.parts.values())
                tokens = self.assumed.solution_tokens + self.assumed.prompt_tokens
                self.plan.row_tokens = _ROW_TOKENS.get(settings.source, tokens)
            case PretrainSettings() as settings:
                self.plan.parameters = 12.0 * settings.num_layers * settings.hidden_size**2
                self._train(settings, settings.documents, _TINY_TOKENS)
            case SampleSettings() as settings:
                self._sample(settings)
            case SuperviseSettings() as settings:
                self._supervise(settings)
            case RLSettings() as settings:
                self._reinforce(settings)
            case SupervisedSettings() as settings:
                levels = settings.levels if isinstance(settings, SftSettings) else "easy"
                sources = self._inputs("rows")
                rows = sum(plan.rows for plan in sources) if sources else self._problems(levels)
                self.plan.parameters = self._parameters("model")
                self._train(settings, rows, self._row_tokens())
            case _ if self.stage.command.name == "rerank":
                self._rerank()
            case _:
                pass

    def _train(self, settings: SupervisedSettings, rows: float, tokens: float) -> None:
        plan = self.plan
        steps = settings.max_steps or math.ceil(rows * settings.epochs / settings.batch_size)
        plan.rows, plan.tokens = rows, steps * settings.batch_size * tokens
        plan.operations += 6 * plan.parameters * plan.tokens
        weights, training = settings.training_bytes(plan.parameters)
        plan.memory, plan.disk = weights + training, weights

    def _sample(self, settings: SampleSettings) -> None:
        problems = self._problems(settings.part)
        problems = min(problems, settings.limit or problems)
        self.plan.parameters = self._parameters("model")
        self._generate(problems * settings.n, problems, settings.max_tokens)
        self.plan.rows, self.plan.prompts = problems * settings.n, problems
        self.plan.memory = 2 * self.plan.parameters
        self.plan.disk = self.plan.tokens * _BYTES_PER_TOKEN

    def _generate(self, solutions: float, prompts: float, max_tokens: int) -> None:
        tokens = self._tokens(solutions, prompts, max_tokens)
        self.plan.tokens += tokens
        self.plan.sampling_operations += 2 * self.plan.parameters * tokens

    def _tokens(self, solutions: float, prompts: float, max_tokens: float = math.inf) -> float:
        """The prompt of several solutions is computed once (prefix caching)."""
        row = self._row_tokens()
        prompt = row * self.assumed.prompt_share
        return solutions * min(row - prompt, max_tokens) + prompts * prompt

    def _supervise(self, settings: SuperviseSettings) -> None:
        if settings.source in _PUBLISHED:
            parts = self._split().parts
            share = self._problems(settings.levels) / max(parts["easy"] + parts["hard"], 1)
            self.plan.rows = _PUBLISHED[settings.source] * share
        else:
            self.plan.rows = sum(plan.rows for plan in self._inputs("samples"))
        if settings.source == "rollouts":
            self.plan.rows = min(self.plan.rows, settings.max_solutions * self._problems("easy"))
            self.plan.parameters = self._parameters("model")
            # A completion has half of the steps on average.
            steps = self.assumed.steps * settings.rollouts_per_step / 2
            self._generate(self.plan.rows * steps, self.plan.rows, settings.max_tokens)
            self.plan.memory = 2 * self.plan.parameters
        self.plan.disk = self.plan.rows * self._row_tokens() * 4

    def _rerank(self) -> None:
        plan = self.plan
        plan.rows = sum(samples.rows for samples in self._inputs("samples"))
        prompts = sum(samples.prompts for samples in self._inputs("samples"))
        plan.tokens = self._tokens(plan.rows, prompts)
        if self.stage.inputs.get("reward_model"):
            size = self._parameters("reward_model")
            plan.operations, plan.memory = 2 * size * plan.tokens, 2 * size

    def _reinforce(self, settings: RLSettings) -> None:
        plan = self.plan
        size = plan.parameters = self._parameters("model")
        reward = self._parameters("reward_model") if self.stage.inputs.get("reward_model") else 0.0
        tokens = self._row_tokens()
        weights, training = settings.training_bytes(size)
        plan.memory, plan.disk = weights + training + 2 * reward, weights
        if isinstance(settings, OnPolicySettings):
            solutions = float(settings.steps * settings.rollout_batch_size)
            asked = settings.steps * settings.prompts_per_step
            self._generate(solutions, asked, settings.max_tokens)
            # Old and reference log-probabilities, scores; then the update.
            passes = 2 * size + 2 * size + 2 * reward + 6 * size * settings.update_epochs
            if isinstance(settings, PPOSettings) and not settings.shared_value_head:
                passes += 2 * size + 6 * size * settings.update_epochs
                plan.memory += weights + training
            plan.operations = passes * solutions * tokens
        elif isinstance(settings, IteratedSettings):
            plan.disk += weights * settings.iterations  # the model of each is kept
            questions = self._problems(settings.questions)
            solutions = settings.iterations * questions * settings.num_generations
            self._generate(solutions, settings.iterations * questions, settings.max_tokens)
            most = settings.num_generations
            if isinstance(settings, RestEMSettings):
                most = min(most, settings.max_correct_per_problem or most)
            elif isinstance(settings, DPOSettings):
                most = 2 * (settings.max_pairs_per_problem or most)
            trained = settings.iterations * questions * most
            per_token = 6 * size + (2 * size if isinstance(settings, DPOSettings) else 0)
            plan.operations = per_token * trained * settings.epochs * tokens
            plan.operations += 2 * reward * solutions * tokens
        if not settings.lora_rank and settings.algo != "rest-em":
            plan.memory += 2 * size  # the reference
        plan.rows = solutions

    def _inputs(self, name: str) -> list[StagePlan]:
        names = map(stage_of, self.stage.inputs.get(name, ()))
        return [self.before[one] for one in names if one in self.before]

    def _split(self) -> StagePlan:
        for plan in self._inputs("problems") or self.before.values():
            if plan.parts:
                return plan
        math_split = SplitSettings.model_validate({"source": "math"})
        return StagePlan("", "split", "missing", parts=split_sizes(math_split))

    def _problems(self, part: str) -> float:
        parts = self._split().parts
        return parts["easy"] + parts["hard"] if part == "all" else parts[part]

    def _row_tokens(self) -> float:
        return self._split().row_tokens or self.assumed.solution_tokens + self.assumed.prompt_tokens

    def _parameters(self, name: str) -> float:
        for given in self.stage.inputs.get(name, ()):
            if (maker := stage_of(given)) in self.before:
                return self.before[maker].parameters
            if known := parameters_of(given) or self.assumed.parameters:
                return known
            raise InputError(
                f"{self.stage.name}: the size of {given} is not known", hint="give --parameters 7e9"
            )
        return 0.0


def split_sizes(settings: SplitSettings) -> dict[str, float]:
    """Problems of each part of a split, before it is made; data sets in their published sizes."""
    train: Sequence[int] = settings.train_counts
    test: Sequence[int] = settings.test_counts
    if settings.source == "math":
        train, test = _MATH_TRAIN, _MATH_TEST
    elif settings.source == "apps":
        train = _APPS_TRAIN
    size = sum(test) if settings.validation_size is None else settings.validation_size
    held_out = [min(size * t / sum(test), n) for n, t in zip(train, test, strict=False)]
    left = [n - v for n, v in zip(train, held_out, strict=False)]
    level = settings.max_level
    counts = sum(left[:level]), sum(left[level:]), sum(held_out), sum(test)
    return dict(zip(PARTS, map(float, counts), strict=True))


def parameters_of(model: str) -> float | None:
    """Parameters of a model by its local config, or by a size in its name, as 7b or 135M."""
    config = Path(model) / "config.json"
    if config.is_file():
        return _parameters_of_config(read_json(config))
    found = re.search(r"(?<![\d.])(\d+(?:\.\d+)?)\s*([bm])(?![a-z])", Path(model).name.lower())
    return float(found[1]) * (1e9 if found[2] == "b" else 1e6) if found else None


def _parameters_of_config(config: Mapping[str, Any]) -> float | None:
    """Of a decoder with gated feed-forward layers, as Llama and Qwen: their matrices alone."""
    try:
        hidden, layers = int(config["hidden_size"]), int(config["num_hidden_layers"])
        heads = int(config["num_attention_heads"])
        groups = int(config.get("num_key_value_heads") or heads) / heads
        inner = int(config.get("intermediate_size") or 4 * hidden)
        embeddings = int(config["vocab_size"]) * hidden
    except (KeyError, TypeError, ValueError):
        return None
    attention = hidden * hidden * (2 + 2 * groups)
    tied = 1 if config.get("tie_word_embeddings") else 2
    return float(layers * (attention + 3 * hidden * inner) + tied * embeddings)
