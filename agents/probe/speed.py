"""How fast this machine samples and trains, and what an iteration of GRPO costs.

Sampling is timed on the largest block of episodes that the probe collected anyway. Training is
timed on one update of whole groups, all advantages set so that every row has a gradient; weights,
optimizer and counters are then put back. An iteration's time is an estimate from both: rows of
groups without signal are not trained, so it uses the measured share of groups with signal.

Memory is the peak of this process (of the device, if it is a GPU), with one spare copy of the
trained weights, which the probe needs to put them back.
"""

import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from reason_env.agents.probe.figure import Figure, mean_figure
from reason_env.agents.probe.subject import success_rate
from reason_env.agents.rollout import Group, RolloutBatch, TrainingSample, training_sample
from reason_env.agents.train import Session

HOUR_S = 3600
BUDGET_TOKENS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledBlock:
    """What one block of episodes cost."""

    num_rows: int
    sampled_tokens: int
    sampling_s: float
    other_s: float
    """Grading and stepping the environment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What one update cost."""

    num_rows: int
    num_tokens: int
    """Tokens of prompts and responses, each row counted by itself."""
    seconds: float
    peak_bytes: int
    spare_bytes: int
    """Part of the peak: the copy of the weights."""


def sampled_block(batch: RolloutBatch) -> SampledBlock:
    """Read a block's costs from its batch."""
    return SampledBlock(
        num_rows=len(batch.trajectories),
        sampled_tokens=sum(item.num_sampled_tokens for item in batch.trajectories),
        sampling_s=batch.sampling_s,
        other_s=batch.grading_s + batch.stepping_s,
    )


def trial_samples(groups: Sequence[Group], max_tokens: int) -> list[TrainingSample]:
    """Take whole groups as samples with advantage 1 or -1, until they have `max_tokens` tokens."""
    samples: list[TrainingSample] = []
    total = 0
    for group in groups:
        if total >= max_tokens:
            break
        own = [
            training_sample(item, 1.0 if item.is_success else -1.0)
            for item in group.graded
            if item.behavior_log_probs
        ]
        samples += own
        total += sum(len(one.context_ids) + len(one.token_ids) for one in own)
    return samples


def timed_update(session: Session, samples: Sequence[TrainingSample]) -> Trained:
    """Time one update on these samples, and put weights, optimizer and counters back."""
    policy, learner = session.policy, session.learner
    parameters = [value for value in policy.model.parameters() if value.requires_grad]
    spare = [value.detach().to("cpu", copy=True) for value in parameters]
    version, state = policy.policy_version, learner.state_dict()
    is_cuda = policy.device.type == "cuda"
    if is_cuda:
        torch.cuda.reset_peak_memory_stats(policy.device)
        torch.cuda.synchronize(policy.device)
    began = time.perf_counter()
    learner.update(samples, np.random.default_rng(0))
    if is_cuda:
        torch.cuda.synchronize(policy.device)
    seconds = time.perf_counter() - began
    peak = (
        torch.cuda.max_memory_allocated(policy.device)
        if is_cuda
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    with torch.no_grad():
        for value, kept in zip(parameters, spare, strict=True):
            value.copy_(kept)
    learner.load_state_dict(state)
    policy.mark_updated(version)
    return Trained(
        num_rows=len(samples),
        num_tokens=sum(len(item.context_ids) + len(item.token_ids) for item in samples),
        seconds=seconds,
        peak_bytes=peak,
        spare_bytes=0 if is_cuda else sum(kept.nbytes for kept in spare),
    )


def speed_figures(
    blocks: Sequence[SampledBlock],
    trained: Trained | None,
    groups: Sequence[Group],
    *,
    group_size: int,
    problems_per_iteration: int,
    updates_per_iteration: int = 1,
) -> list[Figure]:
    """Compute speeds, and the seconds, tokens and updates of an iteration of GRPO.

    Args:
        blocks: At least one; the last of the largest is the one that counts.
        trained: The timed update; None leaves out what depends on it.
        groups: All sampled groups; their share with signal decides how many rows are trained.
        group_size: Episodes a problem.
        problems_per_iteration: Problems of an iteration.
        updates_per_iteration: Optimizer steps of an iteration.
    """
    most = max(block.num_rows for block in blocks)
    largest = [block for block in blocks if block.num_rows == most][-1]
    rows = group_size * problems_per_iteration
    tokens = mean_figure(
        "speed/iteration_tokens",
        f"generated tokens of an iteration ({problems_per_iteration} problems x {group_size})",
        [
            rows * float(np.mean([item.num_sampled_tokens for item in group.trajectories]))
            for group in groups
        ],
        unit="tokens",
    )
    figures = [
        Figure(
            name="speed/sampled",
            label=f"sampling, {most} episodes at once",
            estimate=largest.sampled_tokens / largest.sampling_s,
            unit="tokens/s",
        )
    ]
    if trained is None:
        return [*figures, tokens]
    rates = [rate for group in groups if (rate := success_rate(group)) is not None]
    signal = sum(0 < rate < 1 for rate in rates) / len(rates) if rates else 0.0
    rollout_s = tokens.estimate * largest.sampling_s / largest.sampled_tokens
    rollout_s += rows * largest.other_s / largest.num_rows
    row_s = trained.seconds / trained.num_rows
    iteration_s = rollout_s + rows * signal * row_s
    seconds = [
        ("speed/iteration", "an iteration, groups with signal as measured", iteration_s),
        ("speed/iteration_full", "an iteration in which every group has signal",
         rollout_s + rows * row_s),
    ]  # fmt: skip
    return [
        *figures,
        Figure(
            name="speed/trained",
            label=f"training, {trained.num_rows} rows, tokens of prompts and responses",
            estimate=trained.num_tokens / trained.seconds,
            unit="tokens/s",
        ),
        Figure(
            name="speed/memory",
            label="peak memory, a spare copy of the weights "
            f"({trained.spare_bytes / 1e9:.2f} GB) included",
            estimate=trained.peak_bytes / 1e9,
            unit="GB",
        ),
        tokens,
        *(Figure(name=name, label=label, estimate=s, unit="s") for name, label, s in seconds),
        Figure(
            name="speed/updates_per_hour",
            label="updates that an hour buys",
            estimate=HOUR_S / iteration_s * updates_per_iteration,
            unit="updates",
        ),
        Figure(
            name="speed/updates_per_million",
            label="updates that a million generated tokens buy",
            estimate=BUDGET_TOKENS / tokens.estimate * updates_per_iteration,
            unit="updates",
        ),
    ]
