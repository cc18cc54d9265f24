import math

import pytest
import torch

from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.policy.dither import dither, dithered
from reason_env.codec import ByteCodec
from tests.agents.policy.test_precision import model_of


def stored_in(dtype):
    """A model whose weights were once of this type."""
    return model_of(dtype).float()


def test_places_are_uniform_in_the_interval_that_rounds_to_the_same_number():
    # 1.5 has steps of 2^-7 on both sides, so its interval is 1.5 -+ 2^-8.
    weight = torch.full((100_000,), 1.5)
    moved = dithered(weight, torch.Generator().manual_seed(1))
    places = (moved - 1.5) * 2**7
    assert bool((moved.bfloat16() == weight).all())
    assert places.min() == pytest.approx(-0.5, abs=1e-3)
    assert places.max() == pytest.approx(0.5, abs=1e-3)
    assert places.mean() == pytest.approx(0, abs=3 / math.sqrt(12 * 100_000))
    assert places.var() == pytest.approx(1 / 12, rel=0.02)


def test_a_weight_on_the_border_goes_to_the_interval_it_was_rounded_to():
    # -(1 + 2^-8) lies between -1 and -(1 + 2^-7); ties go to the even number, here -1.
    weight = torch.full((100_000,), -(1 + 2**-8))
    moved = dithered(weight, torch.Generator().manual_seed(1))
    # Towards zero the steps at 1 are half as wide: the interval is 1 - 2^-9 to 1 + 2^-8.
    places = (moved.abs() - 1) * 2**7
    assert bool((moved.bfloat16() == -1).all())
    assert places.min() == pytest.approx(-0.25, abs=1e-3)
    assert places.max() == pytest.approx(0.5, abs=1e-3)
    assert places.mean() == pytest.approx(0.125, abs=3 * 0.75 / math.sqrt(12 * 100_000))
    assert (moved == -1).float().mean() < 1e-3


def test_weights_of_one_bit_are_moved_once_and_zeros_are_no_lattice():
    """Powers of two and pruned weights: neither moves when a run is resumed."""
    model = stored_in(torch.float32)
    products = [
        value
        for name, value in model.state_dict().items()
        if value.ndim == 2 and "embed" not in name and "lm_head" not in name
    ]
    for weight in products:
        weight.copy_(0.125 * weight.sign())
    assert dither(model)
    assert not dither(model)
    sparse = stored_in(torch.float32)
    for value in sparse.state_dict().values():
        value.mul_(torch.rand(value.shape, generator=torch.Generator().manual_seed(0)) < 0.9)
    assert not dither(sparse)


@pytest.mark.parametrize("size", [1e-6, 3e-5, 4e-4])
def test_products_see_an_update_of_any_size_in_expectation(size):
    generator = torch.Generator().manual_seed(2)
    stored = (0.15 * torch.randn(400_000, generator=generator)).bfloat16().float()
    stored = stored[stored.abs() > 0.02]
    moved = dithered(stored, generator)

    def seen(weight):
        change = (weight + size).bfloat16().double() - weight.bfloat16().double()
        return change.mean().item()

    assert seen(moved) == pytest.approx(size, rel=0.15)
    if size == 1e-6:
        assert seen(stored) == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_products_of_a_lattice_are_moved_and_nothing_else(dtype):
    model = stored_in(dtype)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert dither(model)
    for name, value in model.state_dict().items():
        is_product = value.ndim == 2 and "embed" not in name and "lm_head" not in name
        assert torch.equal(value, before[name]) == (not is_product), name
        assert torch.equal(value.bfloat16(), before[name].bfloat16())
    after = {name: value.clone() for name, value in model.state_dict().items()}
    assert not dither(model)
    assert all(torch.equal(value, after[name]) for name, value in model.state_dict().items())


def test_weights_of_full_precision_stay():
    model = stored_in(torch.float32)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert not dither(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_stored_bfloat16_model_computes_the_same_and_is_moved_for_mixed_precision_alone(
    tmp_path,
):
    LanguageModelPolicy(stored_in(torch.bfloat16), ByteCodec()).save(tmp_path)
    exact = LanguageModelPolicy.load(str(tmp_path))
    mixed, again = (
        LanguageModelPolicy.load(str(tmp_path), precision="bf16-mixed") for _ in range(2)
    )
    plain = LanguageModelPolicy(exact.model, exact.codec, precision="bf16-mixed")
    ids = torch.tensor([[5, 9, 14, 20, 7]])
    scores = [p.token_log_probs(ids, torch.ones_like(ids))[0] for p in (mixed, plain, again)]
    assert torch.equal(scores[0], scores[1])
    assert torch.equal(scores[0], scores[2])
    pairs = list(zip(exact.model.parameters(), mixed.model.parameters(), strict=True))
    assert all(torch.equal(a.bfloat16().float(), a) for a, _ in pairs)
    assert sum(not torch.equal(a, b) for a, b in pairs) == 3 * 7
