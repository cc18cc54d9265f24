import pytest
import torch
from torch import nn

pytest.importorskip("sb3_contrib", reason="pip install 'reason-env[sb3]'")

from reason_env.agents.sb3.gradient_norms import GradientNorms


def layer_and_norms():
    layer = nn.Linear(2, 1)  # d/dw = x, d/db = 1
    optimizer = torch.optim.SGD(layer.parameters())
    return layer, optimizer, GradientNorms(layer, optimizer)


def step(layer, optimizer, *batches):
    optimizer.zero_grad()
    for values in batches:
        layer(torch.tensor(values)).sum().backward()
    nn.utils.clip_grad_norm_(layer.parameters(), 0.1)
    optimizer.step()


def test_the_mean_is_over_the_steps_since_the_last_call_and_before_clipping():
    layer, optimizer, norms = layer_and_norms()
    step(layer, optimizer, [2.0, 2.0])  # sqrt(4 + 4 + 1) = 3
    step(layer, optimizer, [4.0, 8.0])  # sqrt(16 + 64 + 1) = 9
    assert norms.take_mean() == pytest.approx(6.0)
    step(layer, optimizer, [6.0, 6.0])  # sqrt(36 + 36 + 1)
    assert norms.take_mean() == pytest.approx(73**0.5)
    assert norms.take_mean() is None


def test_the_backward_passes_of_a_step_count_together():
    layer, optimizer, norms = layer_and_norms()
    step(layer, optimizer, [1.0, 0.0], [2.0, 6.0])  # w: (3, 6), b: 2; sqrt(9 + 36 + 4) = 7
    assert norms.take_mean() == pytest.approx(7.0)


def test_a_parameter_without_a_gradient_does_not_count():
    layer, optimizer, norms = layer_and_norms()
    step(layer, optimizer, [2.0, 2.0])
    assert norms.take_mean() == pytest.approx(3.0)
    layer.bias.requires_grad = False
    step(layer, optimizer, [3.0, 4.0])  # w alone: 5
    assert norms.take_mean() == pytest.approx(5.0)


def test_a_step_without_gradients_is_no_norm():
    _, optimizer, norms = layer_and_norms()
    optimizer.step()
    assert norms.take_mean() is None
