"""What the function of a stage is given."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from e2h_cli.common.errors import InputError
from e2h_cli.common.files import make_folder
from e2h_cli.common.tracking import TrackedRun, Tracker, open_tracker
from e2h_cli.pipeline.checked_yaml import flag_of
from e2h_cli.pipeline.recipe_file import Scale, scale_in_words
from e2h_cli.pipeline.run_folder import SCRATCH_DIR, RunFolder, StageFolder
from e2h_cli.settings.base import Settings, TrackedSettings

S = TypeVar("S", bound=Settings)


def verdict_cache() -> Path:
    """Cache of grading verdicts of this user; that of a run folder could be somebody else's."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "e2h" / "verdicts.sqlite"


@dataclass(frozen=True, slots=True)
class StageContext(Generic[S]):
    """The settings, inputs and folders of one stage.

    Attributes:
        stage: name of the stage.
        settings: of the command's own class.
        inputs: input name -> paths, each a folder, a file or (models only) a Hub name.
        input_names: the same as the recipe or the user names them.
        input_fingerprints: the same as hashes of their content.
        output_dir: the stage's folder.
        run_dir: the run folder.
        scale: of the recipe.
    """

    stage: str
    settings: S
    inputs: dict[str, list[str]]
    input_names: dict[str, list[str]]
    input_fingerprints: dict[str, list[str]]
    output_dir: Path
    run_dir: Path
    scale: Scale

    @property
    def made_at(self) -> str:
        """The scale in words, which stand in everything that is printed."""
        return scale_in_words(self.scale)

    def model_or_path(self, name: str) -> str:
        """The path or Hub name of an input. Raises InputError where the stage was given none."""
        found = self.optional_input(name)
        if found is None:
            raise InputError(f"{self.stage} needs {name}", hint=f"give {flag_of(name)}")
        return found

    def optional_input(self, name: str) -> str | None:
        """The path or Hub name of an input, or None."""
        return next(iter(self.inputs.get(name, [])), None)

    def input_path(self, name: str) -> Path:
        """The path of an input. Raises InputError where the stage was given none."""
        return Path(self.model_or_path(name))

    def input_name(self, name: str) -> str:
        """What an input is called in tables: the stage, or the last part of the path."""
        return Path(self.input_names[name][0]).name

    @property
    def verdict_cache(self) -> Path:
        """``verdict_cache``."""
        return verdict_cache()

    @property
    def scratch_dir(self) -> Path:
        """A folder for work in progress: kept when the process dies, removed at the end."""
        path = self.output_dir / SCRATCH_DIR
        make_folder(path)
        return path

    @contextmanager
    def tracker(self) -> Iterator[Tracker]:
        """The tracked run of this stage, under --track; otherwise one that does nothing.

        A stage that continues where it stopped continues its tracked run; one that is made anew
        has another.
        """
        settings = self.settings
        name = settings.track if isinstance(settings, TrackedSettings) else None
        about = RunFolder(self.run_dir).about | {"scale": self.scale, "stage": self.stage}
        run_dir = self.run_dir.resolve()
        started = StageFolder(self.output_dir).record.get("started", "")
        run = TrackedRun(
            name=self.stage,
            group=run_dir.name,
            key=f"{run_dir}\n{self.stage}\n{started}",
            config={**about, "inputs": self.input_names, **settings.model_dump(mode="json")},
        )
        with open_tracker(name, run) as tracker:
            yield tracker
