"""Settings of prompts by a chat template, which commands with a setting ``prompt`` share."""

from __future__ import annotations

import difflib
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializerFunctionWrapHandler, model_serializer

from e2h_cli.common.errors import InputError
from e2h_cli.settings.base import Settings

PromptName = Literal["e2h", "minerva", "chat"]
# The system message of chats in which programs are written, in place of the default.
PROGRAM_SYSTEM = "Write a Python program that solves the problem, in one ```python block."
STEP_SEPARATORS = ("blank-line", "newline", "step-headers")


def _separator(value: object) -> object:
    r"""The name of a separator, or a text in which a newline is written \n."""
    if not isinstance(value, str) or not value:
        raise ValueError("not a text")
    close = difflib.get_close_matches(value, STEP_SEPARATORS, n=1, cutoff=0.75)
    if close and value != close[0]:
        raise ValueError(f"did you mean {close[0]}?")
    return value.replace("\\n", "\n")


class StepSettings(Settings):
    """How solutions of chat models are read; not in the record of a stage with other prompts."""

    step_separator: Annotated[str, BeforeValidator(_separator)] = Field(
        "blank-line",
        description="With --prompt chat, what separates the steps of a solution: blank-line, "
        "newline, step-headers (lines such as '## Step 2:'), or any other text.",
    )

    @model_serializer(mode="wrap")
    def _without_chat_settings(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        unused = () if self.is_chat else _CHAT_SETTINGS
        return {name: value for name, value in values.items() if name not in unused}

    @property
    def is_chat(self) -> bool:
        """Whether the prompts are chats."""
        return getattr(self, "prompt", "") == "chat"

    def refuse_unused(self) -> None:
        """Raise InputError for a setting of chats where the prompts are others."""
        for name in _CHAT_SETTINGS:
            field = type(self).model_fields.get(name)
            if field and not self.is_chat and getattr(self, name) != field.default:
                flag = f"--{name.replace('_', '-')}"
                raise InputError(f"{flag} is a setting of chats", hint="add --prompt chat")


class ChatSettings(StepSettings):
    """How chat models are asked, and how their solutions are read."""

    system: str = Field(
        r"Please reason step by step, and put your final answer within \boxed{}.",
        description="With --prompt chat, the system message; '' for none.",
    )


_CHAT_SETTINGS = ("system", "step_separator")
