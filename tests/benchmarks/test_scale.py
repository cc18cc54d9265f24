"""The arithmetic of docs/scale.md: by hand, against transformers, and against its simulator."""

import statistics

import numpy as np
import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from benchmarks.engines.scale.__main__ import iteration_table, memory_table
from benchmarks.engines.scale.iteration import (
    Layout,
    Lengths,
    Load,
    iteration_s,
    learning_s,
    mean_age,
    mean_length,
    rest_survivals,
    wave_s,
)
from benchmarks.engines.scale.measure import sampled_s
from benchmarks.engines.scale.memory import device_memory, kv_bytes, rows_that_fit
from benchmarks.engines.scale.rates import Device, Efficiency, Rates, gather_s, rates
from benchmarks.engines.scale.simulate import drawn, engine_s, simulate
from benchmarks.engines.scale.sizes import QWEN3, Architecture
from benchmarks.engines.small_model import small_model

TINY = Architecture(
    name="tiny", hidden=4, intermediate=6, layers=2, heads=2, kv_heads=1, head_dim=3, vocab=10,
    is_tied=False,
)  # fmt: skip
DEVICE = Device(
    name="d", memory_bytes=1e6, flops=1000.0, bandwidth=100.0, link=20.0, network=4.0, per_machine=2
)
ALL_OF_IT = Efficiency(learning=1.0, decoding=1.0, transfer=1.0, step_s=0.25)


@pytest.mark.parametrize("name", QWEN3)
def test_parameters_are_those_that_transformers_builds(name):
    own = QWEN3[name]
    config = Qwen3Config(
        vocab_size=own.vocab, hidden_size=own.hidden, intermediate_size=own.intermediate,
        num_hidden_layers=own.layers, num_attention_heads=own.heads,
        num_key_value_heads=own.kv_heads, head_dim=own.head_dim, tie_word_embeddings=own.is_tied,
    )  # fmt: skip
    with torch.device("meta"):
        model = Qwen3ForCausalLM(config)
    assert own.parameters == sum(value.numel() for value in model.parameters())


def test_weights_and_bytes_by_hand():
    # A layer: 4 * 3 * 2 * (2 + 1) = 72 of attention, 3 * 4 * 6 = 72 of the MLP.
    assert TINY.layer_weights == 144
    assert TINY.product_weights == 2 * 144 + 40
    # The input embedding, 40; norms: 2 * (8 + 6) + 4.
    assert TINY.parameters == 328 + 40 + 32
    assert TINY.attention_flop(5) == 4 * 2 * 2 * 3 * 5
    assert kv_bytes(TINY) == 2 * (2 * 2 * 1 * 3)
    one, four, divided = (device_memory(TINY, *own) for own in ((1,), (4,), (4, 2)))
    assert (one.share, one.copy, one.gathered) == (6400, 800, 0)
    assert (four.share, four.copy, four.gathered) == (1600, 2400, 4 * (2 * 144 + 40))
    assert four.total == 1600 + 2400 + 1312
    assert (divided.share, divided.copy) == (1600, 400)
    # 7 tokens of 24 bytes: 168 a sequence.
    assert rows_that_fit(TINY, 500, 7) == 2
    assert rows_that_fit(TINY, 500, 7, tensor_parallel=2) == 5
    assert rows_that_fit(TINY, -1, 7) == 0


def test_rates_by_hand():
    found = rates(TINY, DEVICE, tensor_parallel=2, context=5, reached=ALL_OF_IT)
    assert found.step_fixed_s == pytest.approx(0.25 + 656 / 200)
    assert found.step_row_s == pytest.approx(656 / 2000)
    assert found.step_key_s == pytest.approx(24 / 200)
    assert found.token_s == pytest.approx((6 * 328 + 3 * 240) / 1000)
    # Two rows of 3 keys read for 3.53 + 0.72 and multiply for 0.656; 100 of none multiply longer.
    assert found.step_s(2, 3) == pytest.approx(3.53 + 0.72)
    assert found.step_s(100, 0) == pytest.approx(32.8)
    in_turn = Rates(step_fixed_s=1.0, step_row_s=0.5, step_key_s=0.25, token_s=0.0)
    assert in_turn.step_s(2, 3) == 1.0 + 1.0 + 1.5
    assert gather_s(TINY, 1, DEVICE, 12, ALL_OF_IT) == 0
    assert gather_s(TINY, 2, DEVICE, 12, ALL_OF_IT) == pytest.approx(12 * 400 * 0.5 / 20)
    assert gather_s(TINY, 4, DEVICE, 4, ALL_OF_IT) == pytest.approx(4 * 400 * 0.75 / 4)


def test_lengths_at_work_are_longer():
    # Lengths 1 and 3, equally often: E[L] = 2, E[L^2] = 5.
    survivals = (1.0, 0.5, 0.5)
    assert mean_length(survivals) == 2
    assert mean_age(survivals) == 1.25
    assert rest_survivals(survivals) == (1.0, 0.5, 0.25)
    lengths = Lengths(median=40.0, spread=0.7, limit=128)
    draws = drawn(lengths, 20_000, np.random.default_rng(0))
    assert (min(draws) >= 1, max(draws)) == (True, 128)
    assert mean_length(lengths.survivals) == pytest.approx(statistics.mean(draws), rel=0.01)
    squares = statistics.mean(draw**2 for draw in draws)
    expected = squares / 2 / statistics.mean(draws)
    assert mean_age(lengths.survivals) == pytest.approx(expected, rel=0.01)


def test_an_engine_refills_its_slots_by_hand():
    own = Rates(step_fixed_s=1.0, step_row_s=10.0, step_key_s=100.0, token_s=0.0, change_s=1000.0)
    # Lengths 1, 3 in two slots after 5 keys: a step with 10 keys; then length 2 takes the place of
    # the first: steps with 5 + 6 and 6 + 7 keys, after which both end.
    seconds = engine_s([1, 3, 2], 5, 2, own)
    assert seconds == (1 + 20 + 1000) + 1000 + 2 * (1 + 20) + 100 * (11 + 13) + 1000
    assert engine_s([], 5, 2, own) == 0


def test_learning_by_hand():
    own = Rates(step_fixed_s=0, step_row_s=0, step_key_s=0, token_s=0.5)
    layout = Layout(num_engines=1, slots=1, num_learners=3, micro_batch_tokens=10, gather_s=4.0)
    # 70 tokens are seven micro-batches of ten, so three for each of three learners: 70 / 9 each.
    assert learning_s(70, layout, own) == pytest.approx(3 * 4.0)
    assert learning_s(90, layout, own) == pytest.approx(3 * 5.0)


@pytest.mark.parametrize("is_overlapped", [False, True])
def test_an_iteration_adds_waves_learning_and_sending(is_overlapped):
    own = Rates(step_fixed_s=2.0, step_row_s=0, step_key_s=0, token_s=1.0)
    lengths = Lengths(median=1e9, spread=0.1, limit=7)  # all are cut at 7
    load = Load(responses=6, group_size=3, prompt_tokens=5, lengths=lengths, num_waves=2)
    layout = Layout(
        num_engines=2, slots=3, num_learners=1, micro_batch_tokens=1000, send_s=9.0,
        max_staleness=2, is_overlapped=is_overlapped,
    )  # fmt: skip
    found = iteration_s(load, layout, own)
    # Two waves of 7 steps; 12 responses of 7 and 2 * 2 prompts of 5 tokens.
    assert (found.sampling, found.learning, found.sending) == (28, 104, 3)
    assert found.total == (107 if is_overlapped else 135)
    assert simulate(load, layout, own, seed=1) == found


@pytest.mark.parametrize(("responses", "slots"), [(64, 64), (512, 32), (96, 40), (8, 64)])
@pytest.mark.parametrize("engines", [1, 4])
def test_the_arithmetic_agrees_with_the_simulator(responses, slots, engines):
    own = Rates(step_fixed_s=2.0, step_row_s=0.05, step_key_s=0.0002, token_s=0.0)
    load = Load(
        responses=engines * responses, group_size=8, prompt_tokens=64,
        lengths=Lengths(median=100.0, spread=0.8, limit=600),
    )  # fmt: skip
    layout = Layout(num_engines=engines, slots=slots, num_learners=1)
    found = [simulate(load, layout, own, seed).sampling for seed in range(20)]
    assert wave_s(load, layout, own) == pytest.approx(statistics.mean(found), rel=0.12)


def test_the_tables_have_a_row_for_each_size_and_say_what_does_not_fit():
    memory, iteration = list(memory_table()), list(iteration_table(64))
    assert (len(memory), len(iteration)) == (2 + 4, 2 + 16)
    # 16 + 2 bytes of 8.19 B parameters; on eight devices 2 + 6, and gathered layers of 3.2 GB.
    row = next(row for row in memory if "Qwen3-8B" in row)
    assert row.startswith("| Qwen3-8B | 8.19 B | 147 kB | 147 GB | 70 GB |")
    assert sum("| Qwen3-8B | 1 | does not fit |" in row for row in iteration) == 1
    assert sum("`--devices`" in row for row in iteration if "0.6B" in row) == 4


def test_responses_of_given_lengths_are_sampled():
    assert sampled_s(small_model().eval(), [2, 5, 3], 4, 2) > 0
