"""Tokens/s of e2h's transformers engine and of ``model.generate``: same run, same model.

python -m benchmarks.decoding [--model FOLDER] [--samples 64] [--repeats 3] [--same-length]

Without --model: the tiny model with random weights, which never stops early. With the model of a
quickstart run (runs/experiment-tiny/sft) finished samples leave the batch, as in real work. With
--same-length no sample ends before --max-tokens, so that both do the same work; it is for models of
a real size, and times one prompt with 8 samples, and 32 prompts of different lengths.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from e2h_cli.data import chain_arithmetic, template
from e2h_cli.inference.engines.base import Request, SamplingParameters
from e2h_cli.inference.engines.transformers_engine import TransformersEngine
from e2h_cli.models import tiny
from e2h_cli.models.loading import load_generator, load_tokenizer

TARGET = 2.0
TARGET_SAME_LENGTH = 1.2
Method = Callable[[], int]  # returns how many tokens it has generated


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
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--same-length", action="store_true")
    options = parser.parse_args()
    tokenizer = load_tokenizer(options.model) if options.model else tiny.tokenizer()
    # Two copies, since the engine sets an attention function that generate must not use.
    ours, theirs = (load(options, tokenizer) for _ in range(2))

    def ratios(case: str, problems: int, samples: int, target: float) -> None:
        texts = prompts(problems)
        lengths = [len(ids) for ids in tokenizer(texts).input_ids]
        print(
            f"{case}: {problems} problems x {samples} samples, prompts of {min(lengths)} to "
            f"{max(lengths)} tokens, {torch.get_num_threads()} threads"
        )
        n = options.max_tokens
        batch_sizes = {"all problems in one call": problems}
        if not options.same_length:
            batch_sizes["one problem a call"] = 1
        methods = {
            f"generate, {name}": generate(theirs, tokenizer, texts, samples, n, size)
            for name, size in batch_sizes.items()
        }
        methods["e2h"] = engine(ours, tokenizer, texts, samples, n)
        compare(methods, options.repeats, target)

    if options.same_length:
        ours.generation_config.eos_token_id = -1
        theirs.generation_config.eos_token_id = None
        ratios("unpadded", 1, 8, TARGET_SAME_LENGTH)
        ratios("padded", 32, 1, TARGET_SAME_LENGTH)
    else:
        ratios("decoding", options.problems, options.samples, TARGET)


def load(options: argparse.Namespace, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """The model of the options."""
    torch.manual_seed(0)
    if options.model:
        return load_generator(options.model, options.precision).eval()
    return tiny.model(tokenizer, hidden_size=96, num_layers=4, num_heads=6).eval()


def prompts(n: int) -> list[str]:
    """Prompts of ``n`` problems of all levels, of different lengths."""
    rng = random.Random(0)
    levels = [1 + i % 5 for i in range(n)]
    return [template.prompt(chain_arithmetic.draw(level, rng).question) for level in levels]


def engine(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    texts: list[str],
    samples: int,
    max_tokens: int,
) -> Method:
    """The engine, with all problems in one call."""
    parameters = SamplingParameters(temperature=0.7, top_k=20, max_tokens=max_tokens)

    def run() -> int:
        requests = [Request(str(i), tuple(range(samples)), p, 0) for i, p in enumerate(texts)]
        batches = TransformersEngine(model, tokenizer).generate(requests, parameters)
        return sum(g.tokens for generations in batches for g in generations)

    return run


def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    texts: list[str],
    samples: int,
    max_tokens: int,
    batch: int,
) -> Method:
    """``model.generate``, with ``batch`` problems a call."""

    def run() -> int:
        tokens = 0
        for i in range(0, len(texts), batch):
            inputs = tokenizer(
                texts[i : i + batch], return_tensors="pt", padding=True, padding_side="left"
            )
            generated = model.generate(
                **inputs,
                do_sample=True,
                temperature=0.7,
                top_k=20,
                max_new_tokens=max_tokens,
                num_return_sequences=samples,
            )[:, inputs["input_ids"].shape[1] :]
            if model.generation_config.eos_token_id is None:  # every token counts
                tokens += generated.numel()
                continue
            is_eos = (generated == tokenizer.eos_token_id).long()
            # Tokens before the first end-of-text token, and that token.
            tokens += int((is_eos.cumsum(1) - is_eos == 0).sum())
        return tokens

    return run


def compare(methods: dict[str, Method], repeats: int, target: float) -> None:
    """Time the methods in turn; print median tokens/s, and the median of e2h's ratios."""
    rates: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(repeats):
        for name, method in methods.items():
            start = time.perf_counter()
            tokens = method()
            rates[name].append(tokens / (time.perf_counter() - start))
    for name, values in rates.items():
        print(f"  {name:36s} {statistics.median(values):10,.0f} tokens/s")
    for name in list(methods)[:-1]:
        ratios = [a / b for a, b in zip(rates["e2h"], rates[name], strict=True)]
        print(f"  e2h / {name}: {statistics.median(ratios):.2f} (target {target:.1f})")


if __name__ == "__main__":
    main()
