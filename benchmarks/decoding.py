"""Tokens/s of e2h's transformers engine and of ``model.generate``: same run, same model.

python -m benchmarks.decoding [--model FOLDER] [--samples 64] [--repeats 3]

Without --model: the tiny model with random weights, which never stops early. With the model of a
quickstart run (runs/experiment-tiny/sft) finished samples leave the batch, as in real work.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable

import torch

from e2h_cli.data import chain_arithmetic, template
from e2h_cli.inference.engines.base import Request, SamplingParameters
from e2h_cli.inference.engines.transformers_engine import TransformersEngine
from e2h_cli.models import tiny
from e2h_cli.models.loading import load_generator, load_tokenizer

TARGET = 2.0


def main() -> None:
    """Time all methods in turn; print median tokens/s and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--model", help="model folder; the tiny model with random weights if not given"
    )
    parser.add_argument("--problems", type=int, default=16)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--max-tokens", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()

    # Two copies, since the engine sets an attention function that generate must not use.
    models = []
    for _ in range(2):
        torch.manual_seed(0)
        if options.model:
            model, tokenizer = load_generator(options.model), load_tokenizer(options.model)
        else:
            tokenizer = tiny.tokenizer()
            model = tiny.model(tokenizer, hidden_size=96, num_layers=4, num_heads=6)
        models.append(model.eval())
    ours, theirs = models
    rng = random.Random(0)
    levels = [1 + i % 5 for i in range(options.problems)]
    prompts = [template.prompt(chain_arithmetic.draw(level, rng).question) for level in levels]
    parameters = SamplingParameters(temperature=0.7, top_k=20, max_tokens=options.max_tokens)

    def engine() -> int:
        requests = [
            Request(str(i), tuple(range(options.samples)), p, 0) for i, p in enumerate(prompts)
        ]
        batches = TransformersEngine(ours, tokenizer).generate(requests, parameters)
        return sum(g.tokens for generations in batches for g in generations)

    def generate(batch: int) -> Callable[[], int]:
        def run() -> int:
            tokens = 0
            for i in range(0, len(prompts), batch):
                inputs = tokenizer(
                    prompts[i : i + batch], return_tensors="pt", padding=True, padding_side="left"
                )
                generated = theirs.generate(
                    **inputs,
                    do_sample=True,
                    temperature=0.7,
                    top_k=20,
                    max_new_tokens=options.max_tokens,
                    num_return_sequences=options.samples,
                )[:, inputs["input_ids"].shape[1] :]
                is_eos = (generated == tokenizer.eos_token_id).long()
                # Tokens before the first end-of-text token, and that token.
                tokens += int((is_eos.cumsum(1) - is_eos == 0).sum())
            return tokens

        return run

    methods = {
        "e2h": engine,
        "generate, one problem a call": generate(1),
        "generate, all problems in one call": generate(len(prompts)),
    }
    rates: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(options.repeats):
        for name, method in methods.items():
            start = time.perf_counter()
            tokens = method()
            rates[name].append(tokens / (time.perf_counter() - start))
    threads = torch.get_num_threads()
    size = f"{options.problems} problems x {options.samples} samples"
    print(f"{size}, {threads} threads, tokens/s (median):")
    for name, values in rates.items():
        print(f"  {name:36s} {statistics.median(values):10,.0f}")
    for name in list(methods)[1:]:
        ratios = [a / b for a, b in zip(rates["e2h"], rates[name], strict=True)]
        print(f"e2h / {name}: {statistics.median(ratios):.2f} (target {TARGET:.0f})")


if __name__ == "__main__":
    main()
