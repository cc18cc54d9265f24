"""Learning rates: the default by the model's size, and the schedule over a run.

The default is a rule because no single number serves: the rate that teaches a million parameters
ruins a billion. Full fine-tuning takes 2e-4 up to 1e6 parameters and 1e-6 from 1e9; between, a
power law (exponent -0.767). An adapter on frozen weights (LoRA) takes ten times the rate of its
model.

Facts behind the rule: 2e-4 is measured on the shipped model of 0.8 M parameters. GRPO on all
weights uses 1e-6 (DeepSeekMath 7B, arXiv 2402.03300; DAPO 32B, arXiv 2503.14476; the default of TRL
and of verl's recipes). LoRA's best rate is about ten times that of full fine-tuning, also in
reinforcement learning (Schulman et al. 2025, "LoRA Without Regret"); SRPO's release uses 5e-5 with
rank 64. Between 1 M and 1 B the rule interpolates; it is a start for a sweep, not an optimum.

The schedule is a function of the share of the run that is done, and keeps no state. A resumed run
therefore continues exactly; a prolonged run continues at the rate of the longer plan (linear and
cosine rise at that moment); a run that stops early never reaches the final rate.
"""

import math
from dataclasses import replace
from typing import Literal

from torch import nn

from reason_env.agents.learning.learner_config import LearnerConfig

Schedule = Literal["constant", "linear", "cosine"]

SMALL_MODEL, SMALL_RATE = 1e6, 2e-4
"""Parameters up to which the rate is constant, and that rate."""
LARGE_MODEL, LARGE_RATE = 1e9, 1e-6
"""Parameters from which the rate is constant, and that rate."""
ADAPTER_FACTOR = 10.0
"""The rate of an adapter, in rates of full fine-tuning."""
FINAL_FRACTION = 0.1
"""Linear and cosine end at this fraction of the learning rate."""


def default_learning_rate(num_parameters: int, *, is_adapter: bool = False) -> float:
    """Compute the learning rate for a model of this size.

    Args:
        num_parameters: Of the whole model, frozen weights included, the adapter's own not.
        is_adapter: Whether only an adapter (LoRA) is trained.

    >>> default_learning_rate(820_864), default_learning_rate(7_000_000_000)
    (0.0002, 1e-06)
    >>> f"{default_learning_rate(100_000_000, is_adapter=True):.2e}"  # 100 M with LoRA
    '5.80e-05'
    """
    slope = math.log(LARGE_RATE / SMALL_RATE) / math.log(LARGE_MODEL / SMALL_MODEL)
    if num_parameters <= SMALL_MODEL:
        rate = SMALL_RATE
    elif num_parameters >= LARGE_MODEL:
        rate = LARGE_RATE
    else:
        # Two digits: the rule is no more precise, and the number is printed and stored.
        rate = float(f"{SMALL_RATE * (num_parameters / SMALL_MODEL) ** slope:.1e}")
    return rate * ADAPTER_FACTOR if is_adapter else rate


def with_learning_rate(config: LearnerConfig, model: nn.Module) -> LearnerConfig:
    """Return the config with a number as learning rate: its own, or the default for the model."""
    if config.learning_rate is not None:
        return config
    num_parameters, is_adapter = _size(model)
    rate = default_learning_rate(num_parameters, is_adapter=is_adapter)
    return replace(config, learning_rate=rate)


def learning_rate_line(config: LearnerConfig, model: nn.Module, *, is_default: bool) -> str:
    """Say in one line which learning rate a run has, and where it comes from.

    Args:
        config: With a number as learning rate.
        model: The trained model.
        is_default: Whether `with_learning_rate` chose the rate.
    """
    num_parameters, is_adapter = _size(model)
    what = "an adapter on" if is_adapter else "all of"
    source = f"default for {what} {num_parameters / 1e6:,.1f} M parameters" * is_default
    schedule: str = config.schedule
    if schedule != "constant":
        schedule = f"{schedule} to {FINAL_FRACTION:g} of it"
    return f"learning rate {config.learning_rate:g} ({source or 'as given'}), {schedule}"


def schedule_factor(schedule: Schedule, run_share: float) -> float:
    """Compute the fraction of the learning rate at a share of the run, from 1 to FINAL_FRACTION.

    Args:
        schedule: Its form.
        run_share: Share of the run that is done, 0..1.

    >>> [schedule_factor("linear", share) for share in (0.0, 0.5, 1.0)]
    [1.0, 0.55, 0.1]
    >>> round(schedule_factor("cosine", 0.25), 4)  # 0.1 + 0.9 (1 + cos(pi / 4)) / 2
    0.8682
    """
    if schedule == "constant":
        return 1.0
    left = 1 - run_share if schedule == "linear" else (1 + math.cos(math.pi * run_share)) / 2
    return FINAL_FRACTION + (1 - FINAL_FRACTION) * left


def _size(model: nn.Module) -> tuple[int, bool]:
    """Count the parameters (tied ones once, LoRA's not), and tell whether some are frozen."""
    named = list(model.named_parameters())
    is_adapter = not all(parameter.requires_grad for _, parameter in named)
    return sum(value.numel() for name, value in named if ".lora_" not in name), is_adapter
