"""collect(): starts -> episodes, through the environment. The act of rolling out, and nothing else.

Every episode is `env.reset(options={"state": start.state})`, sampled tokens, `env.step(tokens)`, so
whatever the user's stack does to rewards, budgets and recording happens here too. The responses of
a batch are graded in parallel first; stepping the environment then finds each verdict ready.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import gymnasium as gym

from reason_env.agents.engines import Completion, Context, SamplingConfig
from reason_env.agents.policy import Policy
from reason_env.agents.rollout.trajectory import Group, Start, Trajectory
from reason_env.codec import Codec, step_ends
from reason_env.env import ReasonEnv, commits, reason_env_of
from reason_env.errors import ConfigError
from reason_env.state import ReasonState, transition
from reason_env.verdict import Outcome, Verdict
from reason_env.verify import grade_many


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutBatch:
    """What one call of `collect` brought, and what it took."""

    groups: tuple[Group, ...]
    sampling_s: float
    grading_s: float
    stepping_s: float

    @property
    def trajectories(self) -> tuple[Trajectory, ...]:
        """All trajectories, group by group."""
        return tuple(item for group in self.groups for item in group.trajectories)


def initial_states(
    env: gym.Env[Any, Any], problem_ids: Sequence[str], *, seed: int
) -> list[ReasonState]:
    """Returns where the stack starts an episode of each problem, its start wrappers included."""
    inner = reason_env_of(env, format="tokens")
    states: list[ReasonState] = []
    for index, problem_id in enumerate(problem_ids):
        env.reset(seed=seed if index == 0 else None, options={"problem": problem_id})
        states.append(inner.state)
    return states


def collect(
    starts: Sequence[Start],
    *,
    env: gym.Env[Any, Any],
    policy: Policy,
    sampling: SamplingConfig,
    seed: int,
) -> RolloutBatch:
    """Returns the episodes of all starts, as groups in the order in which their keys first occur.

    Args:
        starts: Where to begin, and how often.
        env: Any stack on a `ReasonEnv` with format "tokens", at any granularity.
        policy: Samples the completions of all starts in one call.
        sampling: The distribution to sample from.
        seed: Decides every sampled token.
    """
    inner = reason_env_of(env, format="tokens")
    _check_codec(policy, inner.codec)
    began = time.perf_counter()
    completions = _sampled(starts, inner, policy, sampling=sampling, seed=seed)
    sampled = time.perf_counter()
    grade_many(_answers(starts, completions, inner), inner.grade_options)
    graded = time.perf_counter()
    by_key: dict[str, list[Trajectory]] = {}
    for start, of_start in zip(starts, completions, strict=True):
        for index, completion in enumerate(of_start):
            trajectory = _episode(
                env, start, index, completion=completion, policy_version=policy.policy_version
            )
            by_key.setdefault(start.group, []).append(trajectory)
    return RolloutBatch(
        groups=tuple(Group(key=key, trajectories=tuple(own)) for key, own in by_key.items()),
        sampling_s=sampled - began,
        grading_s=graded - sampled,
        stepping_s=time.perf_counter() - graded,
    )


def merge_batches(batches: Sequence[RolloutBatch]) -> RolloutBatch:
    """Returns several batches as one; groups with equal keys become one group."""
    by_key: dict[str, list[Trajectory]] = {}
    for batch in batches:
        for group in batch.groups:
            by_key.setdefault(group.key, []).extend(group.trajectories)
    return RolloutBatch(
        groups=tuple(Group(key=key, trajectories=tuple(own)) for key, own in by_key.items()),
        sampling_s=sum(batch.sampling_s for batch in batches),
        grading_s=sum(batch.grading_s for batch in batches),
        stepping_s=sum(batch.stepping_s for batch in batches),
    )


def _sampled(
    starts: Sequence[Start],
    inner: ReasonEnv,
    policy: Policy,
    *,
    sampling: SamplingConfig,
    seed: int,
) -> list[tuple[Completion, ...]]:
    """Returns each start's completions; starts of one temperature are sampled in one call."""
    completions: dict[int, tuple[Completion, ...]] = {}
    for temperature in dict.fromkeys(start.temperature for start in starts):
        indices = [i for i, start in enumerate(starts) if start.temperature == temperature]
        own = sampling if temperature is None else replace(sampling, temperature=temperature)
        contexts = [_context(starts[index], inner) for index in indices]
        sampled = policy.sample(contexts, own, seed=seed)
        completions |= zip(indices, sampled, strict=True)
    return [completions[index] for index in range(len(starts))]


def _context(start: Start, inner: ReasonEnv) -> Context:
    room = inner.rules.max_tokens - len(start.state.response)
    return Context(
        token_ids=inner.prompt.token_ids(start.state) + start.state.response,
        num_samples=start.num_samples,
        max_new_tokens=room if start.max_new_tokens is None else min(room, start.max_new_tokens),
    )


def _check_codec(policy: Policy, codec: Codec) -> None:
    if policy.codec.codec_id != codec.codec_id:
        raise ConfigError(
            f"policy and env must share a codec, got {policy.codec.codec_id!r} and "
            f"{codec.codec_id!r}; make the env with codec=policy.codec"
        )


def _answers(
    starts: Sequence[Start], completions: Sequence[Sequence[Completion]], inner: ReasonEnv
) -> list[tuple[str, str]]:
    """Returns the (response, reference) pairs that stepping the environment will grade."""
    pairs: list[tuple[str, str]] = []

    def note(response: str, answer: str) -> Verdict:
        pairs.append((response, answer))
        return Verdict(Outcome.ERROR, None, "not graded yet")

    for start, of_start in zip(starts, completions, strict=True):
        for completion in of_start:
            transition(
                start.state,
                completion.token_ids,
                rules=inner.rules,
                grade=note,
                has_answer=commits,
                close=True,
            )
    return pairs


def _episode(
    env: gym.Env[Any, Any],
    start: Start,
    index: int,
    *,
    completion: Completion,
    policy_version: int,
) -> Trajectory:
    inner = reason_env_of(env, format="tokens")
    env.reset(options={"state": start.state})
    episode_return, terminated, truncated, info = 0.0, False, False, {}
    for turn in _turns(completion.token_ids, start.state, inner):
        _, reward, terminated, truncated, info = env.step(turn)
        episode_return += float(reward)
        if terminated or truncated:
            break
    final = inner.state
    begin = len(start.state.response)
    taken = sum(source == "policy" for source in final.sources[begin:])
    if taken > len(completion.log_probs):
        raise ConfigError(
            "an env at token granularity must be given completions that end themselves, got one "
            f"of {len(completion.log_probs)} tokens without its end; use granularity 'response'"
        )
    return Trajectory(
        start=start,
        index=index,
        final_state=final,
        prompt_ids=inner.prompt.token_ids(start.state),
        learn_prompt_ids=inner.prompt.token_ids(start.learn_from),
        behavior_log_probs=completion.log_probs[:taken],
        sampled_ids=completion.token_ids,
        episode_return=episode_return,
        is_success=bool(info["success"]),
        outcome=str(info["outcome"]),
        policy_version=policy_version,
    )


def _turns(tokens: tuple[int, ...], state: ReasonState, inner: ReasonEnv) -> list[Any]:
    """Returns the actions that say these tokens at the environment's granularity.

    After the last token of a step- or token-level episode that is still open, the end of the
    response is said too: by an empty action or the end token, as `close` does at response level.
    """
    if inner.layout.granularity == "response":
        return [tokens]
    if inner.layout.granularity == "token":
        return [*tokens, inner.codec.eos_id]
    begin = state.step_ends[-1] if state.step_ends else 0
    whole = state.response + tokens
    known = len(state.response)
    bounds = [known, *step_ends(inner.codec, whole, begin=begin, known=known), len(whole)]
    pieces = [whole[a:b] for a, b in pairwise(bounds) if b > a]
    return [*pieces, ()]
