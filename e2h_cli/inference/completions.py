"""Completions of the first steps of solutions, drawn and stored as samples are."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from e2h_cli.data.prompt_styles import E2H, PromptStyle
from e2h_cli.data.rollout_labels import Prefix
from e2h_cli.inference.sampling import SampleStats, SamplingJob, sample_all, style_of
from e2h_cli.settings.base import EngineSettings
from e2h_cli.settings.sample import SampleSettings

logger = logging.getLogger(__name__)


@dataclass
class Completer:
    """Completes prefixes with a generator; what is on disk already is not drawn again.

    Attributes:
        model: folder or Hub name of the generator.
        settings: of decoding and engines.
        count: completions of each prefix.
        target: file of all completions, rows of ``SAMPLE_SCHEMA``; ids are keys of prefixes.
        folder: for part files while it works.
        title: of the progress bar.
        wording: of the solutions that the prefixes are from.
        shard: name of the share of a larger whole that the prefixes are; it is not merged.
        before_drawing: called with the numbers of missing and of all completions.
        on_engine: called with the record of every engine.
        stats: of the completions of all calls.
    """

    model: str
    settings: EngineSettings
    count: int
    target: Path
    folder: Path
    title: str
    wording: PromptStyle = E2H
    shard: str = ""
    before_drawing: Callable[[int, int], None] = lambda missing, total: None
    on_engine: Callable[[Mapping[str, Any]], None] = lambda record: None
    stats: SampleStats = field(default_factory=SampleStats)

    def complete(self, prefixes: Sequence[Prefix]) -> Mapping[str, Mapping[str | None, int]]:
        """Key of each prefix -> how often its completions end in each answer.

        Raises:
            InputError: there is no such model, or a prefix and its completion do not fit into it.
            RunError: the engine failed. The completions that it had finished are on disk.
        """
        job = self._job(prefixes)
        store = job.store()
        missing = sum(len(request.samples) for request in job.missing(store.keys()))
        total = self.count * len(prefixes)
        self.before_drawing(missing, total)
        if missing < total:
            logger.info(f"{total - missing:,} of {total:,} completions are on disk already")
        if missing:
            for record in sample_all(job, missing, self.title):
                self.on_engine(record)
        answers: dict[str, Counter[str | None]] = {prefix.key: Counter() for prefix in prefixes}

        def count(table: pa.Table) -> None:
            # The file may hold more: of earlier calls, or of a run that asked for more.
            asked = pc.is_in(table["id"], value_set=pa.array(answers, pa.string()))
            table = table.filter(pc.and_(asked, pc.less(table["sample"], self.count)))
            self.stats.add(table)
            columns = table["id"].to_pylist(), table["answer"].to_pylist()
            for key, answer in zip(*columns, strict=True):
                answers[key][answer] += 1

        if self.shard:
            # Other shards may be writing, and whoever merges them writes the file.
            for table in store.tables(answers):
                count(table)
            return answers
        on_disk = store.keys()
        store.merge(dict.fromkeys([*answers, *(key for key, _ in on_disk)]), count)
        return answers

    def _job(self, prefixes: Sequence[Prefix]) -> SamplingJob:
        shared = {name: getattr(self.settings, name) for name in EngineSettings.model_fields}
        settings = SampleSettings(**shared, **self.wording.settings, n=self.count)
        begin = style_of(settings, self.model).begin
        return SamplingJob(
            model=self.model,
            settings=settings,
            problems=tuple(replace(prefix.problem, id=prefix.key) for prefix in prefixes),
            examples=(),
            target=self.target.resolve(),
            folder=self.folder.resolve(),
            writer=self.shard or "parts",
            begun={prefix.key: begin(prefix.steps) for prefix in prefixes},
        )
