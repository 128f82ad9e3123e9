"""Samples without seeds of their own: what is kept at a kill does not depend on their lengths."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Iterator, Sequence

import pytest

from e2h_cli.inference.engines.base import Generation, Request, WholeWaves

MEAN_LENGTH = 50
SLOTS = 256  # samples that the engine draws at the same time


def requests(count: int, done: set[tuple[str, int]]) -> list[Request]:
    found = []
    for i in range(count):
        samples = tuple(j for j in range(64) if (f"p{i}", j) not in done)
        if samples:
            found.append(Request(f"p{i}", samples, "", 0))
    return found


def engine(
    asked: Sequence[Request], until: float, rng: random.Random
) -> Iterator[tuple[Generation, int]]:
    """Samples and their lengths as they are finished, up to a moment in tokens."""
    waiting = ((r.id, sample) for r in asked for sample in r.samples)
    running: list[tuple[float, str, int, int]] = []
    now = 0.0
    while True:
        for key, sample in itertools.islice(waiting, SLOTS - len(running)):
            length = 1 + int(rng.expovariate(1 / MEAN_LENGTH))
            heapq.heappush(running, (now + length, key, sample, length))
        if not running or running[0][0] > until:
            return
        now, key, sample, length = heapq.heappop(running)
        yield Generation(key, sample, "", "stop", length, None), length


@pytest.mark.parametrize(("wave", "bias"), [(32, False), (0, True)])
def test_kills_do_not_prefer_short_samples(wave: int, bias: bool) -> None:
    """``wave`` 0 keeps every sample that was finished: its mean length is too low."""
    rng = random.Random(0)
    lengths: dict[tuple[str, int], int] = {}
    total = 160
    kept_each_time = []
    while missing := requests(total, set(lengths)):
        waves = WholeWaves(missing, wave or 1)
        before = len(lengths)
        drawn = {}
        # Killed after the time of about a wave and a half.
        until = rng.uniform(1, 2) * 32 * 64 / SLOTS * MEAN_LENGTH
        for generation, length in engine(missing, until, rng):
            drawn[generation.id, generation.sample] = length
            kept = waves.add([generation]) if wave else [generation]
            lengths |= {(g.id, g.sample): drawn[g.id, g.sample] for g in kept}
        kept_each_time.append(len(lengths) - before)
    assert len(lengths) == total * 64
    assert len(kept_each_time) > 2
    if wave:
        assert all(count % (32 * 64) == 0 for count in kept_each_time)
    mean = sum(lengths.values()) / len(lengths)
    # The standard error of the mean is half a token.
    expected = MEAN_LENGTH + 0.5
    assert mean < expected - 2 if bias else mean == pytest.approx(expected, abs=1.5)


def test_a_wave_that_an_earlier_run_began_is_whole_when_the_rest_is_drawn() -> None:
    asked = [Request("a", (0, 2), "", 0), Request("a", (64,), "", 0), Request("b", (5,), "", 0)]
    waves = WholeWaves(asked, 2)

    def finished(key: str, sample: int) -> list[int]:
        return [g.sample for g in waves.add([Generation(key, sample, "", "stop", 1, None)])]

    assert finished("a", 2) == []
    assert finished("b", 5) == [5]
    assert finished("a", 0) == []
    assert finished("a", 64) == [2, 0, 64]
