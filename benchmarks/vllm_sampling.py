"""Tokens/s of ``e2h sample`` with vLLM and of vLLM's ``LLM.generate``: same run, model, machine.

python -m benchmarks.vllm_sampling [--size 5m | --model FOLDER] [--problems 64] [--samples 16]
                                   [--max-tokens 256] [--repeats 3]

Random weights: any token may be the last, so lengths have a long tail. e2h parses answers and
writes samples to disk; the others keep texts in memory.

e2h:      whole waves of samples, no seeds, as by default
seeded:   e2h with a seed per sample
whole:    LLM.generate as usually called: one request per problem, no seeds
by 25:    one call of LLM.generate per 25 problems, as in search-and-learn
generate: transformers' model.generate, one call per problem (only where --generate is given)
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM

from benchmarks.random_model import save_random_model
from e2h_cli.common import parquet_store
from e2h_cli.data import template
from e2h_cli.inference.engines.base import (
    Request,
    SamplingParameters,
    WholeWaves,
)
from e2h_cli.inference.sampling import REQUESTS_PER_WAVE, sample_row
from e2h_cli.models.loading import load_tokenizer

SIZES = ("5m", "1b", "7b")


def main() -> None:
    """Print tokens/s of each method and the ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=SIZES, default="5m")
    parser.add_argument("--model", help="a model's folder, in place of random weights")
    parser.add_argument("--problems", type=int, default=64)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--generate", action="store_true", help="also time model.generate")
    options = parser.parse_args()

    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    from e2h_cli.inference.engines.vllm_engine import VLLMEngine, import_vllm

    vllm = import_vllm()
    with tempfile.TemporaryDirectory() as folder:
        gpu = torch.cuda.is_available()
        if options.model:
            tokenizer, path = load_tokenizer(options.model), options.model
        else:
            small, path = options.size == "5m", folder
            tokenizer = save_random_model(
                Path(folder),
                options.size,
                torch.float32 if small else torch.bfloat16,
                vocab_size=None if small else 32000,
            )
        limit = {"gpu_memory_utilization": 0.3} if gpu else {}
        ours, with_seeds = (
            VLLMEngine(
                path,
                tokenizer,
                max_model_len=512,
                precision="bf16" if gpu else "fp32",
                engine_args=limit,
                scratch_dir=Path(folder),
                seed=seed,
            )
            for seed in (0, None)
        )
        theirs = vllm.LLM(
            path,
            dtype="bfloat16" if gpu else "float32",
            max_model_len=512,
            enable_prefix_caching=True,
            disable_log_stats=True,
            **(limit if gpu else {"enforce_eager": True}),
        )
        model = (
            LlamaForCausalLM.from_pretrained(path, dtype=torch.bfloat16).to("cuda")
            if options.generate and gpu
            else LlamaForCausalLM.from_pretrained(path)
            if options.generate
            else None
        )
        prompts = [
            template.prompt(f"a{i % 10} b+{i % 7} c*{2 + i % 5} d-{i % 3}")
            for i in range(options.problems)
        ]
        samples = range(options.samples)
        requests = [Request(str(i), tuple(samples), p, 0) for i, p in enumerate(prompts)]
        parameters = SamplingParameters(temperature=1.0, top_k=0, max_tokens=options.max_tokens)

        def sampled(engine: VLLMEngine, seed_per_sample: bool) -> int:
            settings = replace(parameters, seed_per_sample=seed_per_sample)
            waves = None if seed_per_sample else WholeWaves(requests, REQUESTS_PER_WAVE)
            with tempfile.TemporaryDirectory() as scratch:
                store = parquet_store.ShardedParquetStore(
                    Path(scratch) / "all.parquet", Path(scratch), parquet_store.SAMPLE_SCHEMA
                )
                tokens = 0
                for generations in engine.generate(requests, settings):
                    kept = waves.add(generations) if waves else generations
                    store.add(sample_row(g) for g in kept)
                    tokens += sum(g.tokens for g in generations)
                store.flush()
            return tokens

        def call(texts: list[str], params: Any) -> int:
            outputs = theirs.generate(texts, params, use_tqdm=False)
            return sum(len(o.token_ids) for output in outputs for o in output.outputs)

        def params(**extra: Any) -> Any:
            return vllm.SamplingParams(temperature=1.0, max_tokens=options.max_tokens, **extra)

        def whole() -> int:
            return call(prompts, params(n=options.samples))

        def by_25() -> int:
            return sum(
                call(prompts[i : i + 25], params(n=options.samples))
                for i in range(0, len(prompts), 25)
            )

        def generate() -> int:
            assert model is not None
            tokens = 0
            for prompt in prompts:
                ids = tokenizer(prompt, return_tensors="pt").input_ids.to(model.device)
                out = model.generate(
                    ids,
                    attention_mask=torch.ones_like(ids),
                    do_sample=True,
                    top_k=0,
                    max_new_tokens=options.max_tokens,
                    num_return_sequences=options.samples,
                )
                new = out[:, ids.shape[1] :]
                tokens += int((new != tokenizer.pad_token_id).sum())
            return tokens

        methods: dict[str, Callable[[], int]] = {
            "e2h": lambda: sampled(ours, False),
            "seeded": lambda: sampled(with_seeds, True),
            "whole": whole,
            "by 25": by_25,
        }
        if model is not None:
            methods["generate"] = generate
        for method in methods.values():
            method()
        rates: dict[str, list[float]] = {name: [] for name in methods}
        for _ in range(options.repeats):
            for name, method in methods.items():
                start = time.perf_counter()
                tokens = method()
                rates[name].append(tokens / (time.perf_counter() - start))
        name = Path(options.model).name if options.model else options.size
        print(f"{name}, {options.problems} problems x {options.samples} samples, "
              f"{torch.get_num_threads()} threads, {'GPU' if gpu else 'CPU'}")  # fmt: skip
        targets = {"whole": 0.97, "by 25": 1.0, "generate": 1.0}
        for name, found in rates.items():
            print(f"{name:>9}: {statistics.median(found):10,.0f} tokens/s")
        for name, target in targets.items():
            if name in rates:
                pairs = zip(rates["e2h"], rates[name], strict=True)
                ratio = statistics.median(a / b for a, b in pairs)
                verdict = "" if ratio >= target else "   BELOW TARGET"
                print(f"e2h / {name}: {ratio:.2f} (target {target:.2f}){verdict}")
        pairs = zip(rates["seeded"], rates["whole"], strict=True)
        print(f"seeded / whole: {statistics.median(a / b for a, b in pairs):.2f}")


if __name__ == "__main__":
    main()
