"""Every subcommand: its settings, its inputs, and the function that does the work.

The one place that ties a command to its code. Functions are named by their import path and loaded
only when they run, so that ``e2h --help`` never waits for torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from e2h_cli.data.hub_data import HUB_NAME
from e2h_cli.settings.base import Settings
from e2h_cli.settings.evaluate import EvalSettings
from e2h_cli.settings.pretrain import PretrainSettings
from e2h_cli.settings.rerank import RerankSettings
from e2h_cli.settings.rl import RLSettings
from e2h_cli.settings.sample import SampleSettings
from e2h_cli.settings.sft import SftSettings
from e2h_cli.settings.split import SplitSettings
from e2h_cli.settings.supervise import SuperviseSettings
from e2h_cli.settings.train_rm import TrainRMSettings

# The recipe of every command that names none.
DEFAULT_RECIPE = "experiment"

_GENERATORS = ("pretrain", "sft", "rl")
_MODELS = {*_GENERATORS, "train-rm"}


@dataclass(frozen=True, slots=True)
class InputSpec:
    """An input of a command.

    Attributes:
        commands: stages of these commands are accepted.
        about: what the input is, for help pages and messages.
        hub: whether a Hugging Face Hub name is accepted.
        many: whether several are accepted.
        optional: whether the command works without.
        replaces: inputs of the recipe that are dropped where this one is given.
        option: the flag, if it is not the input's name.
        format_setting: a setting that the flag takes as its first value (``--import FORMAT FILE``).
        metavar: what the help page calls both values.
    """

    commands: tuple[str, ...]
    about: str
    hub: bool = False
    many: bool = False
    optional: bool = False
    replaces: tuple[str, ...] = ()
    option: str = ""
    format_setting: str = ""
    metavar: str = "FORMAT FILE"

    def takes_hub_name(self, given: str) -> bool:
        """Whether this is a name on the Hub, and the input may be one."""
        found = HUB_NAME.fullmatch(given) if self.hub else None
        return found is not None and not (found["config"] and set(self.commands) & _MODELS)


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand that runs a stage.

    Attributes:
        name: as on the command line.
        about: one sentence for the help page.
        settings: class of its
        run: import path of ``run(context) -> counts``, as ``package.module:function``.
        inputs: by name.
        show_tokens: import path of the function behind ``--show-tokens``.
        extendable: settings whose increase keeps what is already made (``n`` of sample).
        cheap_to_rebuild: the output is rebuilt without asking when only its inputs have changed.
        preserve: files and folders that check for themselves whether they are still valid, and are
            not deleted when the stage is rebuilt.
        published: files that are copied to the run folder when the stage is made or up to date.
        distributed: whether several processes (accelerate launch) may work at it together.
        tasks: ``Settings.task`` -> the inputs that it reads, the model that it is about last. A
            command line that chooses another task than the recipe's works in a stage of its own.
    """

    name: str
    about: str
    settings: type[Settings]
    run: str
    inputs: dict[str, InputSpec] = field(default_factory=dict)
    show_tokens: str = ""
    extendable: tuple[str, ...] = ()
    cheap_to_rebuild: bool = False
    preserve: tuple[str, ...] = ()
    published: tuple[str, ...] = ()
    distributed: bool = False
    tasks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


_PROBLEMS = InputSpec(("split",), "a split stage, its folder, or a JSONL file of problems")
_ASKED = replace(_PROBLEMS, about=f"{_PROBLEMS.about}, or a data set of the Hub", hub=True)
_SAMPLES = "a sample stage, or a folder of samples"

COMMANDS: dict[str, Command] = {
    command.name: command
    for command in [
        Command(
            "split",
            "Split problems by level into easy, hard, validation and test.",
            SplitSettings,
            "e2h_cli.stages.split:run",
            {
                "data": InputSpec(
                    (),
                    "MATH: a folder with train*.jsonl and test*.jsonl, or a data set with a train "
                    "and a test split, by Hub name or as a folder",
                    hub=True,
                    optional=True,
                )
            },
        ),
        Command(
            "pretrain",
            "Train the tiny base model from random weights.",
            PretrainSettings,
            "e2h_cli.stages.pretrain:run",
            {"problems": _PROBLEMS},
            distributed=True,
        ),
        Command(
            "sft",
            "Fine-tune a generator on the reference solutions of easy problems.",
            SftSettings,
            "e2h_cli.stages.sft:run",
            {
                "problems": replace(_PROBLEMS, optional=True),
                "model": InputSpec(_GENERATORS, "the model to start from", hub=True),
                "rows": InputSpec(
                    ("supervise",),
                    "a supervise stage, or a JSONL file of prompts and completions, in place of "
                    "the problems' reference solutions",
                    optional=True,
                    replaces=("problems",),
                ),
            },
            distributed=True,
        ),
        Command(
            "sample",
            "Draw N solutions of every problem from a generator.",
            SampleSettings,
            "e2h_cli.stages.sample:run",
            {
                "problems": _ASKED,
                "model": InputSpec(_GENERATORS, "the generator", hub=True),
                "examples": InputSpec(
                    ("supervise",),
                    "a supervise stage, or a JSONL file of prompts and completions: few-shot "
                    "examples in place of the training problems' reference solutions",
                    optional=True,
                ),
            },
            extendable=("n",),
        ),
        Command(
            "supervise",
            "Make training rows of published step labels, or of samples of our own.",
            SuperviseSettings,
            "e2h_cli.stages.supervise:run",
            {
                "problems": _PROBLEMS,
                "samples": InputSpec(("sample",), _SAMPLES, many=True, optional=True),
                "model": InputSpec(
                    _GENERATORS,
                    "the generator that completes solutions, for --source rollouts",
                    hub=True,
                    optional=True,
                ),
                "data": InputSpec(
                    (),
                    "files of PRM800K, MetaMath or Math-Shepherd as published, or Hub names",
                    hub=True,
                    many=True,
                    optional=True,
                    replaces=("samples", "model"),
                ),
            },
            preserve=("completions",),
        ),
        Command(
            "train-rm",
            "Train a reward model on labelled solutions of easy problems.",
            TrainRMSettings,
            "e2h_cli.stages.train_rm:run",
            {
                "model": InputSpec(_GENERATORS, "the model to start from", hub=True),
                "rows": InputSpec(
                    ("supervise",),
                    "supervise stages, or JSONL files of labelled solutions",
                    many=True,
                ),
            },
            show_tokens="e2h_cli.stages.train_rm:show_tokens",
            distributed=True,
        ),
        Command(
            "rerank",
            "Score samples with a reward model and let them vote.",
            RerankSettings,
            "e2h_cli.stages.rerank:run",
            {
                "problems": replace(_ASKED, optional=True),
                "samples": InputSpec(("sample",), _SAMPLES, optional=True),
                "reward_model": InputSpec(
                    ("train-rm",), "the reward model", hub=True, optional=True
                ),
                "imported": InputSpec(
                    (),
                    "samples, and scores if it has them, of another project: a file, or a data "
                    "set as OWNER/NAME:CONFIG; --problems, where given, tells their levels and "
                    "gold answers",
                    hub=True,
                    optional=True,
                    replaces=("problems", "samples", "reward_model"),
                    option="import",
                    format_setting="import_format",
                ),
            },
            show_tokens="e2h_cli.stages.rerank:show_tokens",
            cheap_to_rebuild=True,
            preserve=("scores",),
        ),
        Command(
            "rl",
            "Train a generator by reinforcement learning against a reward model.",
            RLSettings,
            "e2h_cli.stages.rl:run",
            {
                "problems": _PROBLEMS,
                "model": InputSpec(_GENERATORS, "the generator to start from", hub=True),
                "reward_model": InputSpec(
                    ("train-rm",),
                    "the reward model; not needed for ReST-EM or with --shaping none",
                    hub=True,
                    optional=True,
                ),
                "votes": InputSpec(
                    ("rerank",),
                    "predictions of the initial generator on validation problems, for"
                    " --checkpoint-rule vote",
                    optional=True,
                ),
            },
            distributed=True,
        ),
        Command(
            "eval",
            "Accuracy of everything that was sampled and voted on: tables, tests and a plot; or a "
            "benchmark of a reward model, or a contamination probe of a generator.",
            EvalSettings,
            "e2h_cli.stages.evaluate:run",
            {
                "problems": replace(_ASKED, optional=True),
                "samples": InputSpec(("sample",), _SAMPLES, many=True, optional=True),
                "votes": InputSpec(("rerank",), "rerank stages", many=True, optional=True),
                "generator": InputSpec(
                    _GENERATORS, "the generator, for --probe", hub=True, optional=True
                ),
                "benchmark_data": InputSpec(
                    (),
                    "a benchmark of step scores, processbench or prmbench, and its file or folder "
                    "as published, or its Hub name",
                    hub=True,
                    optional=True,
                    option="benchmark",
                    format_setting="benchmark",
                    metavar="NAME DATA",
                ),
                "reward_model": InputSpec(
                    ("train-rm",), "the reward model, for --benchmark", hub=True, optional=True
                ),
            },
            tasks={
                "": ("problems", "samples", "votes"),
                "probe": ("problems", "generator"),
                "processbench": ("benchmark_data", "reward_model"),
                "prmbench": ("benchmark_data", "reward_model"),
            },
            preserve=("scores",),
            cheap_to_rebuild=True,
            published=(
                "results.json",
                "results.csv",
                "results.md",
                "results.tex",
                "accuracy-against-n.png",
                "accuracy-against-n.svg",
            ),
        ),
    ]
}
