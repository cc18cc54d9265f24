"""Compare gradients with finite differences."""

import pytest


def assert_slopes(parameters, gradients, value, rng, *, num, size, rel, floor):
    """Compares `num` entries of each gradient with the slope of `value` over +-`size`."""
    for weight, gradient in zip(parameters, gradients, strict=True):
        flat = weight.data.view(-1)
        for at in rng.choice(len(flat), size=min(num, len(flat)), replace=False):
            kept = flat[at].item()
            flat[at] = kept + size
            above = value()
            flat[at] = kept - size
            slope = (above - value()) / (2 * size)
            flat[at] = kept
            assert gradient.view(-1)[at].item() == pytest.approx(slope, rel=rel, abs=floor)
