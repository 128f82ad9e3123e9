"""Speed of ``e2h rerank``'s engines, vLLM and transformers: same reward model, rows, run, machine.

python -m benchmarks.vllm_scoring MODEL [--problems 8] [--samples 16] [--repeats 3]

MODEL is the folder or Hub name of a reward model that vLLM scores, or of a causal language model,
which is given a random head. All solutions of a problem begin with its question. The time is that
of scoring alone, without loading. "vllm, cache" reads vLLM's prefix cache and sends solutions that
lose a score by it once more.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from e2h_cli.common.errors import InputError
from e2h_cli.data import template
from e2h_cli.inference.batching import Scores, ScoringStats, score_batches
from e2h_cli.inference.engines.vllm_scoring import VLLMClassifier, open_encoder, score_chunks
from e2h_cli.models.loading import load_tokenizer
from e2h_cli.models.reward_formats import family_of, open_reward_model
from e2h_cli.models.reward_model import new_reward_model, score_head


def main() -> None:
    """Print solutions/s and tokens/s of each engine, and the largest difference of scores."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--problems", type=int, default=8)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    gpu = torch.cuda.is_available()
    precision = "bf16" if gpu else "fp32"

    with tempfile.TemporaryDirectory() as folder:
        path = _reward_model(options.model, Path(folder) / "model")
        family, encode = open_encoder(path)
        rows = _solutions(options.problems, options.samples)
        problems = [question for question, _ in rows]
        encoded = [encode(question, text, True) for question, text in rows]
        tokens = sum(len(e.input_ids) for e in encoded)
        model = open_reward_model(path, precision=precision)
        limit = {"gpu_memory_utilization": 0.3} if gpu else {}
        engines = {
            name: VLLMClassifier(
                path,
                family,
                max_model_len=max(len(e.input_ids) for e in encoded),
                precision=precision,
                engine_args={**limit, **more},
                copy=Path(folder) / name,
            )
            for name, more in (("vllm", {}), ("vllm, cache", {"enable_prefix_caching": True}))
        }
        stats = {name: ScoringStats() for name in ("transformers", *engines)}

        def transformers() -> dict[int, Scores]:
            counts = stats["transformers"] = ScoringStats()
            found = score_batches(model, encoded, problems=problems, stats=counts)
            return {i: s for indices, b in found for i, s in zip(indices, b, strict=True)}

        def vllm(name: str) -> dict[int, Scores]:
            counts = stats[name] = ScoringStats()
            found = score_chunks(engines[name], encoded, problems, counts)
            return {i: s for indices, b in found for i, s in zip(indices, b, strict=True)}

        methods: dict[str, Callable[[], dict[int, Scores]]] = {"transformers": transformers}
        methods |= {name: lambda name=name: vllm(name) for name in engines}  # type: ignore[misc]
        scores = {name: method() for name, method in methods.items()}
        seconds: dict[str, list[float]] = {name: [] for name in methods}
        for _ in range(options.repeats):
            for name, method in methods.items():
                # Only what is shared within a run is saved, as in a real one.
                if name == "vllm, cache":
                    engines[name].forget()
                start = time.perf_counter()
                method()
                seconds[name].append(time.perf_counter() - start)
    print(f"{Path(options.model).name} ({family}), {options.problems} problems x {options.samples} "
          f"samples, {tokens:,} tokens, {torch.get_num_threads()} threads, "
          f"{'GPU' if gpu else 'CPU'} {precision}")  # fmt: skip
    for name, taken in seconds.items():
        middle = statistics.median(taken)
        pairs = zip(seconds["transformers"], taken, strict=True)
        ratio = statistics.median(a / b for a, b in pairs)
        difference = max(
            abs(a - b)
            for i, ours in scores["transformers"].items()
            for a, b in zip(_values(ours), _values(scores[name][i]), strict=True)
        )
        print(f"{name:>12}: {len(encoded) / middle:8.1f} solutions/s, {tokens / middle:9,.0f} "
              f"tokens of solutions/s ({stats[name].tokens:,} computed), {ratio:.2f} times "
              f"transformers, largest difference {difference:.1e}")  # fmt: skip


def _values(scores: Scores) -> list[float]:
    return [*scores.steps, scores.outcome]


def _reward_model(name_or_path: str, folder: Path) -> str:
    """The reward model, or one with a random head on top of a causal language model."""
    try:
        family_of(name_or_path)
        return name_or_path
    except InputError:
        model = new_reward_model(name_or_path, "prm")
    torch.manual_seed(0)
    for parameter in score_head(model).parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    model.save_pretrained(folder)
    load_tokenizer(name_or_path).save_pretrained(folder)
    return str(folder)


def _solutions(problems: int, samples: int) -> list[tuple[str, str]]:
    """(question, solution) pairs; one solution in eight is two to four times as long as others."""
    rng = random.Random(0)
    pairs = []
    for i in range(problems):
        names = ", ".join(f"{rng.randint(2, 99)} boxes of {rng.randint(2, 99)}" for _ in range(9))
        question = f"A shop has {names}. How many things are in all of its boxes? Case {i}."
        for j in range(samples):
            count = rng.randint(3, 8) * (rng.randint(2, 4) if j % 8 == 0 else 1)
            steps = [
                f"We multiply {rng.randint(2, 99)} by {rng.randint(2, 99)} and add the result, "
                f"which is {rng.randint(4, 9999)}."
                for _ in range(count)
            ]
            pairs.append((question, template.completion(steps, str(rng.randint(4, 9999)))))
    return pairs


if __name__ == "__main__":
    main()
