"""Completions of the first steps of solutions, drawn and stored as samples are."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from e2h_cli.data.rollout_labels import Prefix
from e2h_cli.inference.sampling import SampleStats, SamplingJob, sample_all
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
        target: file of all completions; ids are keys of prefixes.
        folder: for part files while it works.
        title: of the progress bar.
        on_engine: called with the record of every engine.
    """

    model: str
    settings: EngineSettings
    count: int
    target: Path
    folder: Path
    title: str
    on_engine: Callable[[Mapping[str, Any]], None] = lambda record: None
    stats: SampleStats = field(default_factory=SampleStats)
    _prefixes: dict[str, Prefix] = field(default_factory=dict)

    def complete(self, prefixes: Sequence[Prefix]) -> Mapping[str, Mapping[str | None, int]]:
        """Key of each prefix -> how often its completions end in each answer.

        Raises:
            InputError: there is no such model, or a prefix and its completion do not fit into it.
            RunError: the engine failed. The completions that it had finished are on disk.
        """
        self._prefixes |= {prefix.key: prefix for prefix in prefixes}
        job = self._job(prefixes)
        store = job.store()
        missing = sum(len(request.samples) for request in job.missing(store.keys()))
        total = self.count * len(prefixes)
        if missing < total:
            logger.info(f"{total - missing:,} of {total:,} completions are on disk already")
        if missing:
            for record in sample_all(job, missing, self.title):
                if record:
                    self.on_engine(record)
        answers: dict[str, Counter[str | None]] = {prefix.key: Counter() for prefix in prefixes}

        def count(table: pa.Table) -> None:
            new = pa.array([key in answers for key in table["id"].to_pylist()], pa.bool_())
            table = table.filter(new)
            if table.num_rows:
                self.stats.add(table)
            for key, answer in zip(
                table["id"].to_pylist(), table["answer"].to_pylist(), strict=True
            ):
                answers[key][answer] += 1

        store.merge(self._prefixes, count)
        return answers

    def _job(self, prefixes: Sequence[Prefix]) -> SamplingJob:
        shared = {name: getattr(self.settings, name) for name in EngineSettings.model_fields}
        return SamplingJob(
            model=self.model,
            settings=SampleSettings(**shared, n=self.count),
            problems=tuple(replace(prefix.problem, id=prefix.key) for prefix in prefixes),
            prefix="",
            target=self.target.resolve(),
            folder=self.folder.resolve(),
            writer="parts",
            begun={prefix.key: prefix.text for prefix in prefixes},
        )
