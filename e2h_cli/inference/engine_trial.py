"""Try an engine with a tiny random model in a process of its own, which may crash or hang.

python -m e2h_cli.inference.engine_trial vllm
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from e2h_cli.common.machine_facts import EngineTrial
from e2h_cli.settings.base import EngineName

_MARK = "e2h-trial:"


def try_engine(engine: EngineName, seconds: float, python: str = sys.executable) -> EngineTrial:
    """Sample one token in a child process.

    Args:
        engine: to be tried.
        seconds: after which the child and its children are killed.
        python: that runs it.
    """
    started = time.monotonic()
    child = subprocess.Popen(
        [python, "-m", "e2h_cli.inference.engine_trial", engine],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        # Its own group, so that processes of the engine are killed with it.
        start_new_session=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    try:
        output, errors = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        return EngineTrial(engine, "timeout", time.monotonic() - started)
    took = time.monotonic() - started
    told = [line for line in output.splitlines() if line.startswith(_MARK)]
    if told and child.returncode == 0:
        why = str(json.loads(told[-1].removeprefix(_MARK)))
        return EngineTrial(engine, "failed" if why else "sampled", took, why)
    last = [line for line in errors.splitlines() if line.strip()][-1:]
    return EngineTrial(engine, "crashed", took, ": ".join([_ending(child.returncode), *last]))


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


def _sample_one_token(engine: EngineName, folder: Path) -> str:
    """Why no token could be sampled; empty if one was."""
    from e2h_cli.common.errors import E2HError
    from e2h_cli.data.template import prompt as prompt_of
    from e2h_cli.inference.engines.base import Request
    from e2h_cli.inference.engines.select import open_engine, sampling_parameters
    from e2h_cli.models import tiny
    from e2h_cli.settings.sample import SampleSettings

    tokenizer = tiny.tokenizer()
    model = tiny.model(tokenizer, hidden_size=128, num_layers=1, num_heads=2, positions=64)
    tokenizer.save_pretrained(folder / "model")
    model.save_pretrained(folder / "model")
    settings = SampleSettings.model_validate({"engine": engine, "max_tokens": 1, "n": 1})
    prompt = prompt_of("1 + 1")
    try:
        opened = open_engine(str(folder / "model"), settings, [prompt], folder / "scratch")
        request = Request("trial", (0,), prompt, run_seed=0)
        drawn = [one for some in opened.generate([request], sampling_parameters(settings))
                 for one in some]  # fmt: skip
    except E2HError as error:
        return error.line
    return "" if [one.tokens for one in drawn] == [1] else f"{len(drawn)} samples, not one token"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="e2h-trial-") as name:
        why = _sample_one_token(sys.argv[1], Path(name))  # type: ignore[arg-type]
        sys.stdout.write(f"\n{_MARK}{json.dumps(why)}\n")
