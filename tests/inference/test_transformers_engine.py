"""The transformers engine samples from the model's distribution, whatever else is in the batch."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from e2h_cli.data.problem import Problem
from e2h_cli.inference.engines.base import Request, SamplingParameters, sample_seed
from e2h_cli.inference.engines.packed_weights import PackedWeights
from e2h_cli.inference.engines.transformers_engine import TransformersEngine, choose
from e2h_cli.inference.sampling import missing_requests
from e2h_cli.models import tiny

TOKENS = tiny.tokenizer()
PROMPTS = {"a": "a3 b+4", "b": "a1 b*2 c-3 d+4", "c": "a3 b+4 c*5"}


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return tiny.model(TOKENS, hidden_size=32, num_layers=2, num_heads=4).eval()


def requests(n: int, seed: int = 0, names: str = "abc") -> list[Request]:
    return [Request(name, tuple(range(n)), PROMPTS[name], seed) for name in names]


def draw(
    model: torch.nn.Module,
    wanted: list[Request],
    parameters: SamplingParameters,
    batch_size: int = 64,
) -> dict:
    engine = TransformersEngine(model, TOKENS, batch_size=batch_size)
    return {(g.id, g.sample): g for many in engine.generate(wanted, parameters) for g in many}


def check_greedy(model: Any) -> None:
    """Each of ``PROMPTS``, padded in one batch, continues as by ``model.generate`` alone."""
    expected = {}
    for name, text in PROMPTS.items():
        ids = TOKENS(text, return_tensors="pt").input_ids
        output = model.generate(ids, do_sample=False, max_new_tokens=24)[0, ids.shape[1] :]
        expected[name, 0] = TOKENS.decode(output, skip_special_tokens=True)
    found = draw(model, requests(1), SamplingParameters(temperature=0, max_tokens=24))
    assert {key: g.text for key, g in found.items()} == expected


def test_greedy_is_that_of_model_generate(model: LlamaForCausalLM) -> None:
    check_greedy(model)


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2", "qwen3", "olmo2", "gemma2"])
def test_greedy_of_other_models_is_that_of_generate(kind: str) -> None:
    """With query heads that share keys, and layers that are large enough to be packed."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        kind, vocab_size=len(TOKENS), hidden_size=256, intermediate_size=512, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=64, bos_token_id=None,
        eos_token_id=TOKENS.eos_token_id, pad_token_id=TOKENS.pad_token_id,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config).eval()
    check_greedy(model)
    # Changed weights count in the next call, as in RL.
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.05)
    check_greedy(model)


def sliding_window_model() -> MistralForCausalLM:
    torch.manual_seed(0)
    return MistralForCausalLM(
        MistralConfig(
            vocab_size=len(TOKENS), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, sliding_window=4, bos_token_id=None,
            eos_token_id=TOKENS.eos_token_id, pad_token_id=TOKENS.pad_token_id,
        )
    ).eval()  # fmt: skip


def test_sliding_window_models_take_the_library_s_cache() -> None:
    mistral = sliding_window_model()
    found = draw(mistral, requests(1, names="b"), SamplingParameters(temperature=0, max_tokens=16))
    ids = TOKENS(PROMPTS["b"], return_tensors="pt").input_ids
    expected = mistral.generate(ids, do_sample=False, max_new_tokens=16)[0, ids.shape[1] :]
    assert found["b", 0].text == TOKENS.decode(expected, skip_special_tokens=True)


def test_every_key_once_and_limits_are_kept(model: LlamaForCausalLM) -> None:
    parameters = SamplingParameters(temperature=1.0, top_k=0, max_tokens=20, logprob=True)
    engine = TransformersEngine(model, TOKENS, batch_size=16)
    written = [g for many in engine.generate(requests(10), parameters) for g in many]
    assert sorted((g.id, g.sample) for g in written) == sorted(
        (name, i) for name in "abc" for i in range(10)
    )
    assert {g.finish_reason for g in written} == {"stop", "length"}
    for g in written:
        assert g.tokens <= 20
        assert (g.tokens == 20) or g.finish_reason == "stop"
        assert "</s>" not in g.text
        assert g.logprob is not None
        assert g.logprob < 0


def test_samples_do_not_depend_on_what_shares_the_batch(model: LlamaForCausalLM) -> None:
    """A resumed run draws what an unbroken one would have drawn."""
    parameters = SamplingParameters(temperature=1.0, top_k=0, max_tokens=16, logprob=True)
    together = draw(model, requests(8), parameters, batch_size=64)
    alone = draw(model, [Request("b", (5, 2), PROMPTS["b"], 0)], parameters)
    assert {k: g.text for k, g in alone.items()} == {k: together[k].text for k in alone}
    assert alone["b", 5].logprob == pytest.approx(together["b", 5].logprob, abs=1e-3)


def passes(model: torch.nn.Module) -> tuple[list[int], Any]:
    """Rows of every pass of a model from now on, and the hook that notes them."""
    rows: list[int] = []
    hook = model.register_forward_pre_hook(
        lambda _, __, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    return rows, hook


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_rows_and_not_samples_are_limited(model: LlamaForCausalLM, temperature: float) -> None:
    """Equal samples: many prompts at a time. Different ones: never more rows than asked for."""
    parameters = SamplingParameters(temperature=temperature, top_k=0, max_tokens=16)
    wanted = [Request(f"{name}{i}", tuple(range(8)), PROMPTS[name], 0)
              for i in range(30) for name in "abc"]  # fmt: skip
    rows, hook = passes(model)
    found = draw(model, wanted, parameters, batch_size=8)
    hook.remove()
    assert found.keys() == {(r.id, i) for r in wanted for i in range(8)}
    assert max(rows) <= 1.25 * 8
    # Without sharing 90 batches of 16 tokens.
    assert len(rows) < 400 if temperature == 0 else len(rows) > 900
    whole = draw(model, wanted, parameters, batch_size=1000)
    assert {k: g.text for k, g in found.items()} == {k: g.text for k, g in whole.items()}


def test_prompts_whose_samples_differ_are_put_off(model: LlamaForCausalLM) -> None:
    engine = TransformersEngine(model, TOKENS, batch_size=8)
    parameters = SamplingParameters(temperature=1.0, top_k=0, max_tokens=16)
    wanted = [Request(f"{name}{i}", tuple(range(8)), PROMPTS[name], 0)
              for i in range(2) for name in "abc"]  # fmt: skip
    prompts = [(r, TOKENS(r.prompt).input_ids) for r in wanted]
    found, most, left = {}, 0, prompts
    calls = 0
    while left:
        batches = engine._generate_batch(left, parameters, None, PackedWeights(model))
        while True:
            try:
                found |= {(g.id, g.sample): g.text for g in next(batches)}
            except StopIteration as end:
                rows, left = end.value
                break
        most, calls = max(most, rows), calls + 1
    assert calls > 2
    assert most <= 1.25 * 8
    whole = draw(model, wanted, parameters, batch_size=1000)
    assert found == {key: g.text for key, g in whole.items()}


@pytest.mark.parametrize("kind", ["full attention", "sliding window"])
def test_equal_beginnings_are_computed_once(kind: str, model: LlamaForCausalLM) -> None:
    """Samples share rows until they part, and are what each of them is alone."""
    model, temperature = (
        (model, 0.1) if kind == "full attention" else (sliding_window_model(), 0.003)
    )
    # So cold that some samples are the same to the end, and others part late.
    parameters = SamplingParameters(temperature=temperature, top_k=0, max_tokens=16)
    rows = []
    hook = model.register_forward_pre_hook(
        lambda _, __, kwargs: rows.append(kwargs["input_ids"].shape), with_kwargs=True
    )
    together = draw(model, requests(40), parameters, batch_size=200)
    hook.remove()
    prompts, *steps = rows
    assert prompts[0] == 3
    assert len(steps) == 15
    texts = {(key[0], g.text) for key, g in together.items()}
    assert 3 < len(texts) < 90
    assert steps[0][0] < 60
    assert sum(count for count, _ in steps) < 0.7 * len(together) * len(steps)
    alone = {}
    for name, sample in [*together][::4]:
        alone |= draw(model, [Request(name, (sample,), PROMPTS[name], 0)], parameters)
    assert {key: g.text for key, g in alone.items()} == {key: together[key].text for key in alone}


def test_seeds_make_other_samples(model: LlamaForCausalLM) -> None:
    parameters = SamplingParameters(temperature=1.0, top_k=0, max_tokens=16)
    one, two = (draw(model, requests(8, seed), parameters) for seed in (0, 1))
    assert {k: g.text for k, g in one.items()} != {k: g.text for k, g in two.items()}
    seeds = {sample_seed(r, p, s) for r in (0, 1) for p in ("a", "b") for s in (0, 1, 11)}
    assert len(seeds) == 12


def test_logprobs_are_those_of_the_model(model: LlamaForCausalLM) -> None:
    parameters = SamplingParameters(temperature=0.7, top_k=5, max_tokens=12, logprob=True)
    found = draw(model, requests(2), parameters)["b", 1]
    text = PROMPTS["b"] + found.text
    ids = TOKENS(text).input_ids + [TOKENS.eos_token_id] * (found.finish_reason == "stop")
    start = len(TOKENS(PROMPTS["b"]).input_ids)
    with torch.inference_mode():
        logits = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    expected = sum(float(logits[i - 1, ids[i]]) for i in range(start, len(ids)))
    assert found.logprob == pytest.approx(expected, abs=1e-3)


def frequencies(parameters: SamplingParameters, logits: torch.Tensor) -> dict[int, float]:
    rows = 40_000
    noise = torch.rand(rows, generator=torch.Generator().manual_seed(0))
    tokens, _ = choose(logits, noise, parameters, torch.zeros(rows, dtype=torch.long))
    return {token: count / rows for token, count in Counter(tokens.tolist()).items()}


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        (SamplingParameters(temperature=1.0, top_k=0), [0.5, 0.3, 0.15, 0.05]),
        (SamplingParameters(temperature=1.0, top_k=2), [0.625, 0.375]),
        (SamplingParameters(temperature=1.0, top_k=0, top_p=0.7), [0.625, 0.375]),
        (SamplingParameters(temperature=1.0, top_k=0, min_p=0.2), [0.5263, 0.3158, 0.1579]),
        (SamplingParameters(temperature=0.5, top_k=0), [0.6849, 0.2466, 0.0616, 0.0068]),
        (SamplingParameters(temperature=0), [1.0]),
    ],
)
def test_tokens_are_chosen_with_their_probability(
    parameters: SamplingParameters, expected: list[float]
) -> None:
    logits = torch.tensor([[0.05, 0.5, 0.15, 0.3]]).log()
    found = frequencies(parameters, logits)
    by_rank = [1, 3, 2, 0]
    assert set(found) == set(by_rank[: len(expected)])
    for token, share in zip(by_rank, expected, strict=False):
        assert found[token] == pytest.approx(share, abs=0.01)


def test_missing_asks_for_the_rest_in_small_requests() -> None:
    problems = [Problem(name, "q", 1, "s", "t") for name in "ab"]
    have = {("a", 0), ("a", 2), *(("b", i) for i in range(130))}
    found = list(missing_requests(problems, 130, have, seed=7))
    assert [len(r.samples) for r in found] == [62, 64, 2]
    assert found[0].samples[:3] == (1, 3, 4)
    assert {r.id for r in found} == {"a"}
    assert list(missing_requests(problems, 2, {(n, i) for n in "ab" for i in (0, 1)}, 0)) == []


def test_a_model_without_end_token_uses_the_tokenizer_s() -> None:
    config = LlamaConfig(
        vocab_size=len(TOKENS), hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, eos_token_id=None, bos_token_id=None,
    )  # fmt: skip
    engine = TransformersEngine(LlamaForCausalLM(config), TOKENS)
    assert engine._eos.tolist() == [TOKENS.eos_token_id]
