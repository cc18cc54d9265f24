"""collect(): run the episodes of some starts through the environment.

Each episode is `env.reset(options={"state": start.state})`, sampled tokens, `env.step(tokens)`, so
the user's wrappers change rewards, enforce budgets and record here as anywhere. If the stack drew
the start, the reset also gives its wrappers what they remember of it. All responses of a
batch are graded in parallel before the environment is stepped; stepping then reads the verdicts
from the cache.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import gymnasium as gym
import numpy as np

from reason_env.agents.engines import Completion, Context, SamplingConfig
from reason_env.agents.policy import Policy
from reason_env.agents.rollout.drawing import DrawnStart
from reason_env.agents.rollout.ending import EpisodeEnd
from reason_env.agents.rollout.trajectory import UNDECIDED, Group, Start, Trajectory
from reason_env.codec import Codec, step_ends
from reason_env.env import (
    START_MEMORIES_OPTION,
    ReasonEnv,
    StartMemories,
    commits,
    reason_env_of,
)
from reason_env.errors import ConfigError
from reason_env.state import ReasonState, transition
from reason_env.verdict import Outcome, Verdict
from reason_env.verify import GradesJobs, grade_many


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutBatch:
    """The episodes of one call of `collect`, or of several, and the seconds they took."""

    groups: tuple[Group, ...]
    sampling_s: float
    grading_s: float
    stepping_s: float

    @property
    def trajectories(self) -> tuple[Trajectory, ...]:
        """All trajectories, group by group."""
        return tuple(item for group in self.groups for item in group.trajectories)


def collect(
    starts: Sequence[Start],
    *,
    env: gym.Env[Any, Any],
    policy: Policy,
    sampling: SamplingConfig,
    seed: int,
    drawn: Sequence[DrawnStart] = (),
    may_be_stale: bool = False,
    graders: GradesJobs | None = None,
) -> RolloutBatch:
    """Run the episodes of all starts; groups are in the order in which their keys first occur.

    Args:
        starts: Where to begin, and how many episodes from there.
        env: Any stack on a `ReasonEnv` with format "tokens", at any granularity.
        policy: Samples the completions of all starts of one temperature in one call.
        sampling: The distribution to sample from; a start may replace its temperature.
        seed: Determines every sampled token, and names the trajectories: batches that are merged
            need different seeds.
        drawn: The starts that the stack drew, numbered as `Start.draw`. Episodes that begin at one
            of them count for its wrappers as those of plain resets do.
        may_be_stale: Whether an engine may sample from weights that are a few updates old, as its
            config allows.
        graders: Grade what needs a worker process, in place of the workers of this process.
    """
    inner = reason_env_of(env, format="tokens")
    _check_codec(policy, inner.codec)
    began = time.perf_counter()
    contexts = [_context(start, inner, may_be_stale) for start in starts]
    completions = _sample(starts, contexts, policy, sampling=sampling, seed=seed)
    sampled = time.perf_counter()
    pairs = _graded_pairs(starts, completions, inner)
    grade_many(pairs, inner.grade_options, grades_jobs=graders)
    graded = time.perf_counter()
    by_key: dict[str, list[Trajectory]] = {}
    number = 0
    memories = _memories(starts, drawn)
    for start, known, of_start in zip(starts, memories, completions, strict=True):
        for index, completion in enumerate(of_start):
            trajectory = run_episode(
                env,
                start,
                index,
                memories=known,
                trajectory_id=f"{seed}/{number}",
                completion=completion,
                policy_version=policy.policy_version,
            )
            by_key.setdefault(start.group, []).append(trajectory)
            number += 1
    return RolloutBatch(
        groups=_groups(by_key),
        sampling_s=sampled - began,
        grading_s=graded - sampled,
        stepping_s=time.perf_counter() - graded,
    )


def merge_batches(batches: Sequence[RolloutBatch]) -> RolloutBatch:
    """Join several batches; groups with equal keys become one group."""
    by_key: dict[str, list[Trajectory]] = {}
    for batch in batches:
        for group in batch.groups:
            by_key.setdefault(group.key, []).extend(group.trajectories)
    return RolloutBatch(
        groups=_groups(by_key),
        sampling_s=sum(batch.sampling_s for batch in batches),
        grading_s=sum(batch.grading_s for batch in batches),
        stepping_s=sum(batch.stepping_s for batch in batches),
    )


def _groups(by_key: Mapping[str, Sequence[Trajectory]]) -> tuple[Group, ...]:
    return tuple(Group(key=key, trajectories=tuple(members)) for key, members in by_key.items())


def _sample(
    starts: Sequence[Start],
    contexts: Sequence[Context],
    policy: Policy,
    *,
    sampling: SamplingConfig,
    seed: int,
) -> list[tuple[Completion, ...]]:
    """Sample the completions of each start, in one call for each temperature.

    A random stream belongs to a call's seed and the number of a context in it, so calls of one seed
    would share their streams. The first call has the batch's own seed.
    """
    completions: dict[int, tuple[Completion, ...]] = {}
    # The run's own temperature comes first, whatever the order of the starts.
    temperatures = sorted({start.temperature for start in starts}, key=lambda t: (t is not None, t))
    for number, temperature in enumerate(temperatures):
        indices = [i for i, start in enumerate(starts) if start.temperature == temperature]
        used = sampling if temperature is None else replace(sampling, temperature=temperature)
        asked = [contexts[index] for index in indices]
        own_seed = _derived_seed(seed, number) if number else seed
        completions |= zip(indices, policy.sample(asked, used, seed=own_seed), strict=True)
    return [completions[index] for index in range(len(starts))]


def _derived_seed(seed: int, number: int) -> int:
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> 1)


def _context(start: Start, inner: ReasonEnv, may_be_stale: bool) -> Context:
    room = inner.rules.max_tokens - len(start.state.response)
    return Context(
        token_ids=inner.prompt.token_ids(start.state) + start.state.response,
        num_samples=start.num_samples,
        max_new_tokens=room if start.max_new_tokens is None else min(room, start.max_new_tokens),
        # An auxiliary reply is read to its own end, past what would end a response.
        end_rule=None if start.is_auxiliary else EpisodeEnd(start.state, inner.rules),
        keeps_entropies=start.keeps_entropies,
        may_be_stale=may_be_stale,
    )


def _check_codec(policy: Policy, codec: Codec) -> None:
    if policy.codec.codec_id != codec.codec_id:
        raise ConfigError(
            f"policy and env must share a codec, got {policy.codec.codec_id!r} and "
            f"{codec.codec_id!r}; make the env with codec=policy.codec"
        )


def _graded_pairs(
    starts: Sequence[Start], completions: Sequence[Sequence[Completion]], inner: ReasonEnv
) -> list[tuple[str, str]]:
    """Find the (response, reference) pairs that stepping the environment will grade."""
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


def _memories(starts: Sequence[Start], drawn: Sequence[DrawnStart]) -> list[StartMemories]:
    """Find what the wrappers remember of each start; nothing of one that the stack did not draw.

    Equal states may have been drawn in different ways, so a start's own draw comes first.
    """
    equal = {one.state: one.memories for one in drawn}
    own: dict[tuple[int | None, ReasonState], StartMemories]
    own = {(draw, one.state): one.memories for draw, one in enumerate(drawn)}
    return [own.get((start.draw, start.state), equal.get(start.state, ())) for start in starts]


def run_episode(
    env: gym.Env[Any, Any],
    start: Start,
    index: int,
    *,
    memories: StartMemories,
    trajectory_id: str,
    completion: Completion,
    policy_version: int,
) -> Trajectory:
    """Run one episode of sampled tokens through the environment.

    Args:
        env: Any stack on a `ReasonEnv` with format "tokens".
        start: Where it begins.
        index: Its number among the start's samples.
        memories: What the start wrappers of the stack remember of the start.
        trajectory_id: Unique in a run.
        completion: The sampled tokens.
        policy_version: Updates before they were sampled.
    """
    inner = reason_env_of(env, format="tokens")
    known = {START_MEMORIES_OPTION: memories} if memories else {}
    env.reset(options={"state": start.state, **known})
    episode_return, terminated, truncated, info = 0.0, False, False, {}
    for turn in _turns(completion.token_ids, start.state, inner):
        _, reward, terminated, truncated, info = env.step(turn)
        episode_return += float(reward)
        if terminated or truncated:
            break
    final = inner.state
    begin = len(start.state.response)
    num_kept = sum(source == "policy" for source in final.sources[begin:])
    if num_kept > len(completion.log_probs):
        raise ConfigError(
            "an env at token granularity must get completions with an end token, got one of "
            f"{len(completion.log_probs)} tokens without it; use granularity 'response'"
        )
    return Trajectory(
        trajectory_id=trajectory_id,
        start=start,
        index=index,
        final_state=final,
        prompt_ids=inner.prompt.token_ids(start.state),
        learn_prompt_ids=inner.prompt.token_ids(start.learn_from),
        behavior_log_probs=completion.log_probs[:num_kept],
        sampled_ids=completion.token_ids,
        episode_return=episode_return,
        is_success=bool(info["success"]),
        outcome=str(info["outcome"]),
        policy_version=policy_version,
        is_left_out=info["outcome"] in UNDECIDED and inner.reward_config.undecided == "left_out",
        entropies=None if completion.entropies is None else completion.entropies[:num_kept],
        staleness=completion.staleness,
    )


def _turns(tokens: tuple[int, ...], state: ReasonState, inner: ReasonEnv) -> list[Any]:
    """Split a completion into actions of the environment's granularity.

    A last action ends the response if it is still open then, as `close` does at response level: the
    empty action at step level, the end token at token level.
    """
    if inner.layout.granularity == "response":
        return [tokens]
    if inner.layout.granularity == "token":
        return [*tokens, inner.codec.eos_id]
    begin = state.step_ends[-1] if state.step_ends else 0
    whole = state.response + tokens
    known = len(state.response)
    bounds = [known, *step_ends(inner.codec, whole, begin=begin, known=known), len(whole)]
    steps = [whole[a:b] for a, b in pairwise(bounds) if b > a]
    return [*steps, ()]
