"""Speed of scoring, by e2h and by the usual methods: same run, model, machine.

python -m benchmarks.scoring [--size tiny|20m|1b|7b] [--solutions 256] [--repeats 3]

file order: batches of equal size in file order, padded to the longest solution of all, logits at
            every token
prefixes:   one sequence per step, the solution up to its end, in batches of equal size
sharing:    e2h if all solutions are of one problem, whose prompt is computed once; not part of the
            two ratios
Lengths have a long tail, as those of real solutions: some are three times as long as most. On a GPU
the weights are random bf16, and the share of the GPU's rate for matrix products is printed.
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

from benchmarks.random_model import save_random_model
from e2h_cli.data import template
from e2h_cli.inference.batching import ScoringStats, score_batches
from e2h_cli.models.reward_formats import open_reward_model
from e2h_cli.models.reward_model import new_reward_model
from e2h_cli.models.token_spans import EncodedSolution

SIZES = ("tiny", "20m", "1b", "7b")
TARGETS = {"file order": 6.0, "prefixes": 15.0}


@torch.inference_mode()
def main() -> None:
    """Print tokens/s of each method, ratios, padding, and the largest difference of scores."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--solutions", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--batch", type=int, default=32, help="solutions per batch of the other methods"
    )
    options = parser.parse_args()
    gpu = torch.cuda.is_available()

    with tempfile.TemporaryDirectory() as folder:
        _save_reward_model(Path(folder), options.size)
        model = open_reward_model(folder, precision="bf16" if gpu else "fp32")
        full = model.backbone
        encoded = [model.encode(*one, True) for one in _solutions(options.solutions)]
        results: dict[str, list[list[float]]] = {}
        stats = ScoringStats()

        def score(name: str, problems: list[str] | None) -> None:
            nonlocal stats
            stats = ScoringStats()
            values: dict[int, list[float]] = {}
            batches = score_batches(model, encoded, problems=problems, stats=stats)
            for indices, batch in batches:
                for i, scores in zip(indices, batch, strict=True):
                    values[i] = [*scores.steps, scores.outcome]
            results[name] = [values[i] for i in range(len(encoded))]

        def sharing() -> None:
            score("sharing", ["one problem"] * len(encoded))

        def ours() -> None:
            score("e2h", None)

        def file_order() -> None:
            longest = max(len(r.input_ids) for r in encoded)
            results["file order"] = []
            for start in range(0, len(encoded), options.batch):
                batch = encoded[start : start + options.batch]
                values = model.head(_features(batch, longest)).float().cpu()
                for row, r in enumerate(batch):
                    results["file order"].append(
                        values[row, [*r.step_positions, r.outcome_position]].tolist()
                    )

        def prefixes() -> None:
            cuts = [
                (i, EncodedSolution(r.input_ids[: position + 1], [], position))
                for i, r in enumerate(encoded)
                for position in [*r.step_positions, r.outcome_position]
            ]
            results["prefixes"] = [[] for _ in encoded]
            for start in range(0, len(cuts), options.batch):
                batch = cuts[start : start + options.batch]
                longest = max(len(cut.input_ids) for _, cut in batch)
                values = model.head(_features([cut for _, cut in batch], longest)).float().cpu()
                for row, (i, cut) in enumerate(batch):
                    results["prefixes"][i].append(float(values[row, cut.outcome_position]))

        def _features(batch: list[EncodedSolution], longest: int) -> torch.Tensor:
            ids = torch.full((len(batch), longest), model.pad_token_id)
            mask = torch.zeros_like(ids)
            for row, r in enumerate(batch):
                ids[row, : len(r.input_ids)] = torch.tensor(r.input_ids)
                mask[row, : len(r.input_ids)] = 1
            out = full(input_ids=ids.to(model.device), attention_mask=mask.to(model.device))
            return out.last_hidden_state

        methods: dict[str, Callable[[], None]] = {
            "sharing": sharing, "e2h": ours, "file order": file_order, "prefixes": prefixes,
        }  # fmt: skip
        seconds: dict[str, list[float]] = {name: [] for name in methods}
        ours()
        for _ in range(options.repeats):
            for name, method in methods.items():
                start = time.perf_counter()
                method()
                seconds[name].append(time.perf_counter() - start)
        tokens = sum(len(r.input_ids) for r in encoded)
        print(f"{options.size}, {len(encoded)} solutions, {tokens:,} tokens, "
              f"{torch.get_num_threads()} threads, {'GPU' if gpu else 'CPU'}")  # fmt: skip
        for name, taken in seconds.items():
            rate = tokens / statistics.median(taken)
            print(f"{name:>10}: {rate:10,.0f} tokens of solutions/s")
        for name, target in TARGETS.items():
            pairs = zip(seconds[name], seconds["e2h"], strict=True)
            ratio = statistics.median(a / b for a, b in pairs)
            worst = max(
                abs(a - b)
                for left, right in zip(results["e2h"], results[name], strict=True)
                for a, b in zip(left, right, strict=True)
            )
            short = "" if ratio >= target else "   BELOW TARGET"
            print(f"e2h / {name}: {ratio:.1f} (target {target:.0f}){short}; "
                  f"largest difference {worst:.1e}")  # fmt: skip
        pairs = zip(seconds["e2h"], seconds["sharing"], strict=True)
        print(f"sharing the prompt / not: {statistics.median(a / b for a, b in pairs):.2f}")
        print(f"padding: {100 * stats.padding / (stats.tokens + stats.padding):.1f} %")
        if gpu:
            weights = sum(p.numel() for p in full.parameters())
            rate = 2 * weights * tokens / min(seconds["e2h"])
            print(f"{rate / 1e12:.0f} of {_matrix_rate() / 1e12:.0f} TFLOP/s: "
                  f"{100 * rate / _matrix_rate():.0f} % of the GPU's rate")  # fmt: skip


def _solutions(count: int) -> list[tuple[str, str]]:
    """(question, solution) pairs; one in eight is two to four times as long as the others."""
    rng = random.Random(0)
    pairs = []
    for i in range(count):
        steps = rng.randint(3, 8) * (rng.randint(2, 4) if i % 8 == 0 else 1)
        lines = [f"b={rng.randint(0, 9)}+{rng.randint(0, 9)}={rng.randint(0, 9)}"] * steps
        pairs.append(("a3 b+4 c*5 d-2", template.completion(lines, "7")))
    rng.shuffle(pairs)
    return pairs


def _save_reward_model(folder: Path, size: str) -> None:
    save_random_model(folder, size, torch.bfloat16 if size == "7b" else torch.float32)
    model = new_reward_model(str(folder), "prm", "bf16" if size == "7b" else "fp32")
    torch.nn.init.normal_(model.score.weight, std=0.1)
    model.save_pretrained(folder)


def _matrix_rate() -> float:
    """FLOP/s of a large bf16 matrix multiplication."""
    a = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    for _ in range(3):
        a @ a
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(20):
        a @ a
    torch.cuda.synchronize()
    return 20 * 2 * 8192**3 / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
