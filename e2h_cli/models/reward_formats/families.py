"""The families of reward models, and telling which one a model belongs to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from e2h_cli.common.errors import InputError
from e2h_cli.models.loading import load_config
from e2h_cli.models.reward_formats import (
    e2h_format,
    llemma,
    math_shepherd_format,
    rlhflow,
    sequence_classification,
    token_classification,
)
from e2h_cli.models.reward_formats.interface import RewardModel
from e2h_cli.models.reward_model import describe

# Family -> loader of (name or path, precision).
FAMILIES: dict[str, Callable[[str, str], RewardModel]] = {
    "e2h": e2h_format.load,
    "llemma": llemma.load,
    "math-shepherd": math_shepherd_format.load,
    "rlhflow": rlhflow.load,
    "token-classification": token_classification.load,
    "sequence-classification": sequence_classification.load,
}
# Word in the lower-case name of a causal language model -> family.
_WORDS = {"shepherd": "math-shepherd", "rlhflow": "rlhflow", "llemma": "llemma"}


def open_reward_model(
    name_or_path: str, family: str = "auto", precision: str = "auto"
) -> RewardModel:
    """Load a reward model of any family.

    Args:
        name_or_path: model folder or Hub name.
        family: a key of ``FAMILIES``, or "auto": by the model's config and name.
        precision: "auto", "fp32" or "bf16".

    Raises:
        InputError: no model there, or its family cannot be told.
    """
    name = family_of(name_or_path) if family == "auto" else family
    return FAMILIES[name](name_or_path, precision)


def family_of(name_or_path: str) -> str:
    """The family of a model by its config and name. Raises InputError if that is ambiguous."""
    config = load_config(name_or_path)
    if getattr(config, "e2h", None):
        return "e2h"
    architecture = (getattr(config, "architectures", None) or [""])[0]
    if "ProcessRewardModel" in architecture or "ForRewardModel" in architecture:
        raise InputError(
            f"{architecture} is code of the model's own, and e2h runs none",
            where=name_or_path,
            hint="convert it to a token classification model",
        )
    for suffix in ("token-classification", "sequence-classification"):
        if architecture.endswith("For" + suffix.title().replace("-", "")):
            return suffix
    path = Path(name_or_path)
    name = (path.name if path.exists() else name_or_path).lower()
    for word, family in _WORDS.items():
        if word in name:
            return family
    raise InputError(
        f"cannot tell how to read scores from {architecture or 'this model'}",
        where=name_or_path,
        hint=f"say it with --family {' or '.join(FAMILIES)}",
    )


def kind_of(name_or_path: str, family: str = "auto") -> str:
    """ "orm" if a model scores outcomes only, else "prm" or "oprm". Reads the config only."""
    name = family_of(name_or_path) if family == "auto" else family
    if name == "e2h":
        return str(describe(load_config(name_or_path), name_or_path)["kind"])
    return "orm" if name == "sequence-classification" else "prm"
