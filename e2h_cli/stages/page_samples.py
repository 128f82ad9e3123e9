"""Sample and rerank stages of a run, read for its page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pyarrow.parquet as pq

from e2h_cli.common.errors import E2HError, InputError
from e2h_cli.data.external_samples import import_samples
from e2h_cli.data.problem import Problem
from e2h_cli.data.split_files import read_answered_problems
from e2h_cli.evaluation.measurements import VotingMethod, voting_methods
from e2h_cli.evaluation.sample_groups import group_samples
from e2h_cli.evaluation.voting import BEST_AGGREGATE
from e2h_cli.grading import grader_for
from e2h_cli.inference.sampling import SAMPLES_FILE
from e2h_cli.pipeline.lineage import input_path
from e2h_cli.pipeline.run_folder import StageFolder
from e2h_cli.pipeline.stage_context import verdict_cache
from e2h_cli.reports.page.kept_samples import limit_for
from e2h_cli.reports.page.sample_data import SampleSet, Scoring, problems_json, sample_set_json
from e2h_cli.reports.result_files import IMPORTED, read_measurements
from e2h_cli.settings.base import ProgramSettings
from e2h_cli.stages.case_inputs import read_samples_and_scores

Json = dict[str, Any]
# Parts of a split whose samples are looked at; of the others only training rows are made.
_SHOWN_PARTS = (None, "test", "validation")


@dataclass(slots=True)
class SampleSource:
    """Samples of a stage or of an imported file, and the rerank stages that read them.

    Attributes:
        stage: the sample stage, or the rerank stage that imported them.
        file: of the samples, or a folder.
        problems: path of the problems; None for those of the imported file.
        settings: of the stage that judged them.
        votes: the rerank stages.
    """

    stage: StageFolder
    file: Path
    problems: Path | None
    settings: Json
    votes: list[StageFolder] = field(default_factory=list)

    @property
    def grader(self) -> str:
        """The rule for answers."""
        return str(self.settings.get("grader", "e2h"))

    @property
    def name(self) -> str:
        """Of the sample stage."""
        return self.stage.path.name


def sample_sources(stages: Sequence[StageFolder]) -> list[SampleSource]:
    """What finished stages have sampled of problems that are not trained on, or voted on."""
    records = {stage.path.name: stage.record for stage in stages}
    judges = _judges(records)
    found: dict[tuple[Path, Path | None, str], SampleSource] = {}
    for stage in stages:
        record = records[stage.path.name]
        if record["command"] == "sample" and record["settings"].get("part") in _SHOWN_PARTS:
            problems = input_path(stage.path, "problems")
            settings = judges.get(stage.path.name, judges[""])
            source = SampleSource(stage, stage.path, problems, settings)
            found.setdefault((stage.path.resolve(), problems, source.grader), source)
    for stage in stages:
        record = records[stage.path.name]
        if record["command"] != "rerank":
            continue
        samples, problems = input_path(stage.path, "samples"), input_path(stage.path, "problems")
        maker = stage if samples is None else StageFolder(samples)
        file = stage.path / IMPORTED if samples is None else samples
        source = SampleSource(maker, file, problems, record["settings"])
        key = (file.resolve(), problems, source.grader)
        found.setdefault(key, source).votes.append(stage)
    return list(found.values())


def _judges(records: Mapping[str, Json]) -> dict[str, Json]:
    """Sample stage -> settings of a stage that judges it; "" -> those of an eval stage."""
    found: dict[str, Json] = {"": {}}
    for record in records.values():
        settings = record["settings"]
        if settings.get("grader") and record["command"] in ("rerank", "eval"):
            found[""] = settings
            for given in record["inputs"].get("samples", []):
                found[given["path"]] = settings
    return found


def limit_of(sources: Sequence[SampleSource]) -> int:
    """Solutions of each problem with which the page does not grow too large."""
    sizes = []
    for source in sources:
        file = source.file / SAMPLES_FILE if source.file.is_dir() else source.file
        if not file.is_file():
            continue
        about = pq.read_metadata(file)
        text = about.schema.names.index("text")
        size = sum(about.row_group(i).column(text).total_uncompressed_size
                   for i in range(about.num_row_groups))  # fmt: skip
        ids = max(1, len(set(pq.read_table(file, columns=["id"])["id"].to_pylist())))
        sizes.append((ids, about.num_rows // ids, size / max(1, about.num_rows)))
    return limit_for(sizes)


@dataclass(slots=True)
class SamplePages:
    """Reads the sources one after another.

    Attributes:
        limit: solutions of each problem.
        sets: what is told of each set, but for its problems.
        notes: why a source is not shown.
    """

    limit: int
    sets: list[Json] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _problems: dict[Path | str, tuple[int, dict[str, Problem]]] = field(default_factory=dict)

    def chunks(self, sources: Sequence[SampleSource]) -> Iterator[tuple[str, Any]]:
        """Names and contents of the parts of the page: sets, scores and then problems."""
        for source in sources:
            try:
                number, problems = self._problems_of(source)
                given = _read(source, problems)
            except E2HError as error:
                self.notes.append(f"{source.name} is not shown: {error.line}")
                continue
            samples, scorings = sample_set_json(given, self.limit)
            name = f"samples-{len(self.sets)}"
            yield name, samples.pop("problems")
            methods = {}
            for scoring in scorings:
                methods[scoring["stage"]] = scoring["methods"]
                yield f"{name}-{scoring['stage']}", scoring["problems"]
            about = {"chunk": name, "problems": number, "grader": source.grader, "votes": methods}
            self.sets.append({**samples, **about})
        yield "problems", [problems_json(known) for _, known in self._problems.values()]

    def _problems_of(self, source: SampleSource) -> tuple[int, dict[str, Problem]]:
        """The number of a file or split of problems on the page, and the problems by id."""
        key: Path | str = source.problems or source.name
        if key not in self._problems:
            read = _imported_problems(source.stage) if source.problems is None else (
                read_answered_problems(source.problems))  # fmt: skip
            self._problems[key] = (len(self._problems), read)
        return self._problems[key]


def _imported_problems(stage: StageFolder) -> dict[str, Problem]:
    """The problems of the file of another project that a rerank stage has read."""
    file, kind = input_path(stage.path, "imported"), stage.record["settings"].get("import_format")
    if file is None or not kind:
        raise InputError("the record of this stage names no problems", where=stage.path)
    return {problem.id: problem for problem in import_samples(cast("Any", kind), file).problems}


def _read(source: SampleSource, problems: Mapping[str, Problem]) -> SampleSet:
    """Samples in groups with verdicts, and the votes of each rerank stage.

    InputError where a sampled problem is unknown, RunError where programs cannot be run.
    """
    first = source.votes[0].path if source.votes else source.stage.path
    samples, _ = read_samples_and_scores(first)
    known = {k: v for k, v in source.settings.items() if k in ProgramSettings.model_fields}
    settings = ProgramSettings.model_validate(known)
    with grader_for(problems.values(), settings, source.grader, cache=verdict_cache()) as grader:
        groups = group_samples(samples, problems, grader)
    scorings = []
    for stage in source.votes:
        _, scores = read_samples_and_scores(stage.path)
        _, measured = read_measurements(stage.path)
        methods: list[VotingMethod] = voting_methods(groups, None)
        for name, best in BEST_AGGREGATE.items():
            used = [m.aggregate for m in measured if m.method == name]
            if scores is not None and used:
                aggregate = best if best in used else used[0]
                methods += [m for m in voting_methods(groups, scores, method=name,
                                                      aggregates=[aggregate])
                            if m.name == name]  # fmt: skip
        scorings.append(Scoring(stage.path.name, scores, methods))
    return SampleSet(source.name, groups, samples, scorings)
