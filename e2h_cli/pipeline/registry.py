"""What each subcommand takes: its settings, its inputs, and the function that does the work.

The one place that ties a verb to its code. Functions are named by path and imported only when
they run, so that ``e2h --help`` never waits for torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from e2h_cli.settings import base
from e2h_cli.settings.rl import RLSettings


@dataclass(frozen=True, slots=True)
class Role:
    """An input of a verb: which kind of thing stands there.

    ``verbs``: stages of these may; ``hub``: a name on the Hugging Face Hub may; ``replaces``: roles
    that the recipe's values do not stand for where this one is given; ``option``: the flag, if it
    is not the role's name; ``kind``: a setting that the flag takes as a first value.
    """

    verbs: tuple[str, ...]
    about: str
    hub: bool = False
    many: bool = False
    optional: bool = False
    replaces: tuple[str, ...] = ()
    option: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Verb:
    """A subcommand.

    ``grows``: settings whose increase keeps what is already made. ``disposable``: the output is
    cheap, so that it is made anew without asking when only its inputs have changed. ``keeps``:
    files and folders that check for themselves whether they still hold, so are never cleared;
    ``team``: whether several processes may work at it together; ``recipe``: the one that the
    command belongs to, where none is named.
    """

    name: str
    about: str
    settings: type[base.Settings]
    function: str
    roles: dict[str, Role] = field(default_factory=dict)
    grows: tuple[str, ...] = ()
    disposable: bool = False
    keeps: tuple[str, ...] = ()
    team: bool = False
    recipe: str = "quickstart"


_PROBLEMS = Role(("split",), "a split stage, its folder, or a JSONL file of problems")
_GENERATORS = ("pretrain", "sft", "rl")
_SAMPLES = "a sample stage, or a folder of samples"

VERBS: dict[str, Verb] = {
    verb.name: verb
    for verb in [
        Verb(
            "split",
            "Split problems by level into easy, hard, validation and test.",
            base.SplitSettings,
            "e2h_cli.stages.split:run",
            {
                "data": Role(
                    (),
                    "MATH: a folder with train*.jsonl and test*.jsonl, or the Hub name of a data "
                    "set with a train and a test split",
                    hub=True,
                    optional=True,
                )
            },
        ),
        Verb(
            "pretrain",
            "Train the tiny base model from random weights.",
            base.PretrainSettings,
            "e2h_cli.stages.pretrain:run",
            {"problems": _PROBLEMS},
            team=True,
        ),
        Verb(
            "sft",
            "Fine-tune a generator on the reference solutions of easy problems.",
            base.SftSettings,
            "e2h_cli.training.sft:run",
            {
                "problems": replace(_PROBLEMS, optional=True),
                "model": Role(_GENERATORS, "the model to start from", hub=True),
                "rows": Role(
                    ("supervise",),
                    "a supervise stage, or a JSONL file of prompts and completions, in place of "
                    "the problems' reference solutions",
                    optional=True,
                    replaces=("problems",),
                ),
            },
            team=True,
        ),
        Verb(
            "sample",
            "Draw N solutions of every problem from a generator.",
            base.SampleSettings,
            "e2h_cli.inference.sampling:run",
            {
                "problems": _PROBLEMS,
                "model": Role(_GENERATORS, "the generator", hub=True),
            },
            grows=("n",),
        ),
        Verb(
            "supervise",
            "Make training rows of published step labels, or of samples of our own.",
            base.SuperviseSettings,
            "e2h_cli.stages.supervise:run",
            {
                "problems": _PROBLEMS,
                "samples": Role(("sample",), _SAMPLES, optional=True),
                "data": Role(
                    (),
                    "files of PRM800K, MetaMath or Math-Shepherd as published, or Hub names",
                    hub=True,
                    many=True,
                    optional=True,
                    replaces=("samples",),
                ),
            },
        ),
        Verb(
            "train-rm",
            "Train a reward model on labelled solutions of easy problems.",
            base.TrainRMSettings,
            "e2h_cli.stages.train_rm:run",
            {
                "model": Role(_GENERATORS, "the model to start from", hub=True),
                "rows": Role(
                    ("supervise",),
                    "supervise stages, or JSONL files of labelled solutions",
                    many=True,
                ),
            },
            team=True,
        ),
        Verb(
            "rerank",
            "Score samples with a reward model and let them vote.",
            base.RerankSettings,
            "e2h_cli.stages.rerank:run",
            {
                "problems": replace(_PROBLEMS, optional=True),
                "samples": Role(("sample",), _SAMPLES, optional=True),
                "reward": Role(("train-rm",), "the reward model", hub=True, optional=True),
                "imported": Role(
                    (),
                    "samples, and scores if it has them, of another project; --problems, where "
                    "given, tells their levels and gold answers",
                    optional=True,
                    replaces=("problems", "samples", "reward"),
                    option="import",
                    kind="import_format",
                ),
            },
            disposable=True,
            keeps=("scores",),
        ),
        Verb(
            "rl",
            "Train a generator by reinforcement learning against a reward model.",
            RLSettings,
            "e2h_cli.stages.rl:run",
            {
                "problems": _PROBLEMS,
                "model": Role(_GENERATORS, "the generator to start from", hub=True),
                "reward": Role(
                    ("train-rm",),
                    "the reward model; not needed for ReST-EM, or final answers only",
                    hub=True,
                    optional=True,
                ),
                "votes": Role(
                    ("rerank",),
                    "votes of the first generator on validation problems, for --rule vote",
                    optional=True,
                ),
            },
            team=True,
            recipe="table2",
        ),
        Verb(
            "eval",
            "Accuracy of everything that was sampled and voted on: tables, tests and a plot.",
            base.EvalSettings,
            "e2h_cli.stages.evaluate:run",
            {
                "problems": _PROBLEMS,
                "samples": Role(("sample",), _SAMPLES, many=True, optional=True),
                "votes": Role(("rerank",), "rerank stages", many=True, optional=True),
                "others": Role(
                    (),
                    "run folders of other seeds, whose table is shown beside this one",
                    many=True,
                    optional=True,
                ),
            },
            disposable=True,
        ),
    ]
}
