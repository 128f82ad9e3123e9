"""Settings of ``e2h eval``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from e2h_cli.settings.base import GRADER_HELP, EngineOptions, Family, GraderName, ProgramSettings

BenchmarkName = Literal["processbench", "prmbench"]


class EvalSettings(EngineOptions, ProgramSettings):
    """Settings of ``e2h eval``."""

    reward_metrics: bool = Field(
        False,
        description="Also measure the reward models by themselves: accuracy, ROC, calibration, "
        "first errors, length (paper p.38).",
    )
    draws: int = Field(
        400, ge=1, description="Random subsets that the accuracy of majority voting averages over."
    )
    tables: bool = Field(
        True,
        description="Print and write tables of all results; off in the recipes of the paper's "
        "tables and figures, which have a report of their own.",
    )
    confidence: float = Field(0.95, gt=0, lt=1, description="Level of the intervals.")
    grader: GraderName = Field("e2h", description=GRADER_HELP)
    benchmark: BenchmarkName | None = Field(
        None, description="The benchmark that the data under --benchmark are of."
    )
    threshold: float = Field(
        0.5, ge=0, le=1, description="Benchmarks: a step that scores below it is called wrong."
    )
    threshold_from: str | None = Field(
        None,
        description="ProcessBench: choose the threshold with the highest F1 on this split, as "
        "gsm8k, in place of --threshold.",
    )
    family: Family = Field(
        "auto", description="Benchmarks: how the reward model is read; see e2h rerank."
    )
    batch_tokens: int | None = Field(
        None,
        ge=1,
        exclude=True,
        description="Benchmarks: tokens per forward pass; 16384 on a GPU and 2048 elsewhere if "
        "not given.",
    )
    probe: bool = Field(
        False,
        description="Give --generator the first part of every test question, and count how often "
        "it writes the rest: a sign that it was trained on the questions (arXiv 2507.10532).",
    )
    probe_fraction: float = Field(
        0.6, gt=0, lt=1, description="Probe: share of the characters of a question that is given."
    )
    max_tokens: int | None = Field(
        None,
        ge=1,
        description="Probe: tokens that the generator may write; as many as the longest rest of a "
        "question has, and 8 more, if not given.",
    )

    @field_validator("threshold_from")
    @classmethod
    def _needs_splits(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("benchmark") != "processbench":
            raise ValueError("only --benchmark processbench has splits to choose it on")
        return value

    @field_validator("probe")
    @classmethod
    def _one_task(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("benchmark") is not None:
            raise ValueError("not together with --benchmark")
        return value

    @property
    def task(self) -> str:
        """The benchmark, "probe", or "" for the accuracy of samples and votes."""
        return self.benchmark or ("probe" if self.probe else "")
