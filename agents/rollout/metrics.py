"""The metrics of collected episodes and of their training samples, by names of `METRICS`.

Undecided verdicts (timeout, error) are counted in `grade/`. Unless `RewardConfig.undecided` leaves
their episodes out, they enter the means of returns with their reward.
"""

from collections.abc import Iterable, Mapping, Sequence

from reason_env.agents.metrics import OUTCOMES, Number, mean
from reason_env.agents.rollout.trajectory import Group, TrainingSample, Trajectory
from reason_env.errors import ConfigError

COUNTED = ("num_trajectories", "sampled_tokens", "completion_tokens_mean")
"""The `rollout/` metrics that an auxiliary role has."""


def rollout_metrics(groups: Sequence[Group]) -> dict[str, Number]:
    """Compute the `rollout/`, `grade/` and group metrics of the groups of one iteration.

    A name without a role covers all answering episodes; auxiliary ones (localisation) enter the
    token counts only. If a role other than "base" occurs, every role has names with the role too,
    so that the success of a policy with help is not mistaken for the success of the policy alone.

    Raises:
        ConfigError: There is no trajectory.
    """
    trajectories = [item for group in groups for item in group.trajectories]
    if not trajectories:
        raise ConfigError("groups must hold at least one trajectory, got none; collect some first")
    answering = [item for item in trajectories if not item.start.is_auxiliary]
    if not answering:
        raise ConfigError("groups must hold an episode that answers, got auxiliary ones only")
    compared = [group for group in groups if not group.trajectories[0].start.is_auxiliary]
    roles = sorted({item.start.role for item in trajectories})
    per_role = [
        _role_metrics([item for item in trajectories if item.start.role == role], role)
        for role in (roles if roles != ["base"] else [])
    ]
    outcomes = [item.outcome for item in answering]
    assert set(outcomes) <= set(OUTCOMES), f"every outcome must be known, got {set(outcomes)}"
    return {
        **_episode_metrics(answering, ""),
        "rollout/sampled_tokens": sum(item.num_sampled_tokens for item in trajectories),
        "rollout/num_groups": len(compared),
        "rollout/solved_problems": _num_solved(answering),
        "rollout/solved_problems_unaided": _num_solved(
            item for item in answering if _is_unaided(item)
        ),
        **{f"grade/{name}_fraction": outcomes.count(name) / len(outcomes) for name in OUTCOMES},
        "advantage/groups_without_signal_fraction": mean(
            not has_signal(group) for group in compared if len(group.trajectories) > 1
        ),
        **_entropy_metrics(trajectories),
        **{name: value for metrics in per_role for name, value in metrics.items()},
    }


def advantage_metrics(samples: Sequence[TrainingSample]) -> dict[str, Number]:
    """Compute the mean of the samples' mean absolute advantages; None without samples."""
    return {"advantage/mean_abs": mean(sample.mean_abs_advantage for sample in samples)}


def signal_metrics(samples: Sequence[TrainingSample]) -> dict[str, Number]:
    """Compute the share of trained groups whose advantages are all 0; None without such a group.

    Trained groups differ from collected ones: a method may remove the trajectory that it resets
    from, discard tries, or replace failures, so that only equal returns remain.
    """
    groups: dict[str, list[bool]] = {}
    for sample in samples:
        groups.setdefault(sample.group, []).append(sample.has_signal)
    without = [not any(signals) for signals in groups.values() if len(signals) > 1]
    return {"advantage/trained_groups_without_signal_fraction": mean(without)}


def role_metrics(by_role: Mapping[str, Mapping[str, float]]) -> dict[str, Number]:
    """Name an update's metrics over tokens by role; nothing if "base" is the only role.

    A ratio between two contexts (hinted) and one between two policies differ only by the role.

    >>> role_metrics({"base": {"update/ratio_mean": 1.0}, "hinted": {"update/ratio_mean": 0.5}})
    {'update/ratio_mean/base': 1.0, 'update/ratio_mean/hinted': 0.5}
    """
    roles = sorted(by_role) if set(by_role) - {"base"} else []
    return {f"{name}/{role}": value for role in roles for name, value in by_role[role].items()}


def source_metrics(by_source: Mapping[str, Mapping[str, float]]) -> dict[str, Number]:
    """Name an update's metrics over tokens by their writer; nothing if the policy wrote them all.

    >>> source_metrics({"policy": {"update/ratio_mean": 1.0}})
    {}
    >>> source_metrics({"reference": {"update/ratio_mean": 0.5}})
    {'update/ratio_mean/from_reference': 0.5}
    """
    sources = sorted(by_source) if set(by_source) - {"policy"} else []
    return {
        f"{name}/from_{source}": value
        for source in sources
        for name, value in by_source[source].items()
    }


def staleness_metrics(trajectories: Sequence[Trajectory]) -> dict[str, Number]:
    """Average how many changes of the weights the episodes of one iteration are behind."""
    return {"rollout/staleness": mean(item.staleness for item in trajectories)}


def has_signal(group: Group) -> bool:
    """Tell whether the graded returns of a group differ."""
    return len({item.episode_return for item in group.graded}) > 1


def _entropy_metrics(trajectories: Sequence[Trajectory]) -> dict[str, Number]:
    kept = [item.entropies for item in trajectories if item.entropies is not None]
    if not kept:
        return {}
    return {"rollout/entropy_mean": mean(value for own in kept for value in own)}


def _num_solved(trajectories: Iterable[Trajectory]) -> int:
    return len({item.start.state.problem.problem_id for item in trajectories if item.is_success})


def _is_unaided(item: Trajectory) -> bool:
    return not item.start.state.guidance and item.prefix_length == 0


def _role_metrics(trajectories: Sequence[Trajectory], role: str) -> dict[str, Number]:
    """Compute a role's metrics; an auxiliary role has no returns and pass rate."""
    metrics = _episode_metrics(trajectories, f"/{role}")
    if not all(item.start.is_auxiliary for item in trajectories):
        return metrics
    return {name: value for name, value in metrics.items() if name.split("/")[1] in COUNTED}


def _episode_metrics(trajectories: Sequence[Trajectory], role: str) -> dict[str, Number]:
    graded = [item for item in trajectories if item.is_graded]
    return {
        f"rollout/return_mean{role}": mean(item.episode_return for item in graded),
        f"rollout/pass_rate{role}": mean(item.is_success for item in graded),
        f"rollout/num_trajectories{role}": len(trajectories),
        f"rollout/sampled_tokens{role}": sum(item.num_sampled_tokens for item in trajectories),
        f"rollout/completion_tokens_mean{role}": mean(
            len(item.behavior_log_probs) for item in trajectories
        ),
        f"rollout/truncated_fraction{role}": mean(
            item.outcome == "truncated" for item in trajectories
        ),
    }
