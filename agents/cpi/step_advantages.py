r"""Estimate the policy advantage in the step-level MDP: one step of the candidate, then pi.

    E_{s ~ mu} sum_h E_{s_h ~ d_h} E_{a ~ pi'} A_pi(s_h, a)

over the steps of pi's episodes from mu: the horizon's form of A_{pi,mu}(pi') (Kakade and Langford
2002, section 4; the step-level MDP is the Thought MDP of arXiv 2605.25507). One episode of pi is
sampled from each restart. At k of its L steps, drawn without replacement, a step a' is sampled from
pi' and a step a from pi, and pi continues after both:

    L / k * sum (r(a', then pi) - r(a, then pi))

This is unbiased: given the episode, each of its states is equally likely, and the continuations are
fresh samples. Without roll-in, the deviation is at the restart, k times.

The steps a' and a come from equal random streams, so a' = a if the policies agree; such a pair has
the difference 0 and needs no continuation. The continuations after a' and a are independent.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from reason_env.agents.cpi.estimators import PolicyPair, RestartAdvantages
from reason_env.agents.cpi.restarts import Restart
from reason_env.agents.engines import Completion, Context, SamplingConfig
from reason_env.agents.metrics import mean
from reason_env.agents.policy import Policy
from reason_env.agents.rollout import Trajectory
from reason_env.codec import Codec, step_ends
from reason_env.env import reason_env_of
from reason_env.state import ReasonState


def step_advantages(
    pair: PolicyPair,
    restarts: Sequence[Restart],
    *,
    samples: int,
    seed: int,
    roll_in: bool = True,
) -> RestartAdvantages:
    """Estimate by `step`, with at most `samples` deviations for each restart.

    With `roll_in` a value is the sum over the steps of an episode; without, that of one step.
    """
    seeds = np.random.SeedSequence(seed).generate_state(4, np.uint64)
    roll_in_seed, step_seed, rest_seed = (int(one >> 1) for one in seeds[:3])
    episodes: tuple[Trajectory, ...] = ()
    if roll_in:
        episodes = pair.collect(restarts, 1, pair.old, roll_in_seed).trajectories
        rng = np.random.default_rng(int(seeds[3]))
        chosen, lengths = _choose_deviations(episodes, samples, rng)
    else:
        chosen = [(index, one.state) for index, one in enumerate(restarts) for _ in range(samples)]
        lengths = dict.fromkeys(range(len(restarts)), 1)
    compared = _compare_steps(pair, [state for _, state in chosen], step_seed, rest_seed)
    differences: dict[int, list[float]] = {index: [] for index in range(len(restarts))}
    for (index, _), difference in zip(chosen, compared.values, strict=True):
        if difference is not None:
            differences[index].append(difference)
    values = [
        None if (value := mean(of_restart)) is None else lengths[index] * value
        for index, of_restart in differences.items()
    ]
    found = RestartAdvantages.of(values, episodes)
    return replace(
        found,
        num_tokens=found.num_tokens + compared.num_tokens,
        returns=found.returns + compared.returns,
        max_steps=max(lengths.values(), default=1),
    )


def step_states(trajectory: Trajectory) -> list[ReasonState]:
    """Find the state before each step that the policy took in an episode."""
    start = trajectory.start.state
    prefix = trajectory.prefix_length
    end = prefix + len(trajectory.behavior_log_probs)
    response = trajectory.final_state.response[:end]
    begin = start.step_ends[-1] if start.step_ends else 0
    ends = step_ends(start.codec, response, begin=begin, known=prefix)
    bounds = (prefix, *(at for at in ends if at < end))
    return [start.extend(response[prefix:bound]) for bound in bounds]


def _choose_deviations(
    episodes: Sequence[Trajectory], samples: int, rng: np.random.Generator
) -> tuple[list[tuple[int, ReasonState]], dict[int, int]]:
    """Choose where to deviate, as (restart, state); count the steps of each restart's episode."""
    chosen: list[tuple[int, ReasonState]] = []
    lengths: dict[int, int] = {}
    for index, trajectory in enumerate(episodes):
        states = step_states(trajectory)
        lengths[index] = len(states)
        places = rng.choice(len(states), size=min(samples, len(states)), replace=False)
        chosen += [(index, states[place]) for place in sorted(places.tolist())]
    return chosen, lengths


def _compare_steps(
    pair: PolicyPair, states: Sequence[ReasonState], step_seed: int, rest_seed: int
) -> RestartAdvantages:
    """Estimate r(a', then pi) - r(a, then pi) at each state."""
    inner = reason_env_of(pair.env)
    contexts = [
        Context(
            token_ids=inner.prompt.token_ids(state) + state.response,
            num_samples=1,
            max_new_tokens=inner.rules.max_tokens - len(state.response),
        )
        for state in states
    ]

    (old_steps, old_tokens), (new_steps, new_tokens) = (
        _sample_steps(policy, contexts, states, pair.sampling, step_seed)
        for policy in (pair.old, pair.new)
    )
    differing = [
        index
        for index, (old, new) in enumerate(zip(old_steps, new_steps, strict=True))
        if old.token_ids != new.token_ids
    ]
    values: list[float | None] = [0.0] * len(states)
    num_tokens = old_tokens + new_tokens
    if not differing:
        return RestartAdvantages(values=tuple(values), num_tokens=num_tokens, returns=())
    # The continuations of the old steps, then those of the new steps.
    places = (*differing, *differing)
    steps = [drawn[index] for drawn in (old_steps, new_steps) for index in differing]
    whole = _continue(pair, [contexts[index] for index in places], steps, rest_seed)
    restarts = [Restart(state=states[index], draw=0, is_initial=True) for index in places]
    batch = pair.collect(restarts, 1, _ReplayPolicy(inner.codec, whole), rest_seed)
    for place, index in enumerate(differing):
        old, new = batch.trajectories[place], batch.trajectories[len(differing) + place]
        is_known = old.is_graded and new.is_graded
        values[index] = new.episode_return - old.episode_return if is_known else None
    num_tokens += sum(
        len(one.token_ids) - len(step.token_ids) for one, step in zip(whole, steps, strict=True)
    )
    return replace(RestartAdvantages.of(values, batch.trajectories), num_tokens=num_tokens)


def _continue(
    pair: PolicyPair, contexts: Sequence[Context], steps: Sequence[Completion], seed: int
) -> list[Completion]:
    """Append the old policy's continuation to each step that does not end the response."""
    unfinished = [
        index
        for index, (context, step) in enumerate(zip(contexts, steps, strict=True))
        if not step.is_finished and len(step.token_ids) < context.max_new_tokens
    ]
    following = [
        replace(
            contexts[index],
            token_ids=contexts[index].token_ids + steps[index].token_ids,
            max_new_tokens=contexts[index].max_new_tokens - len(steps[index].token_ids),
        )
        for index in unfinished
    ]
    drawn = pair.old.sample(following, pair.sampling, seed=seed) if following else []
    whole = list(steps)
    for index, (rest,) in zip(unfinished, drawn, strict=True):
        whole[index] = _joined(steps[index], rest)
    return whole


def _sample_steps(
    policy: Policy,
    contexts: Sequence[Context],
    states: Sequence[ReasonState],
    sampling: SamplingConfig,
    seed: int,
) -> tuple[list[Completion], int]:
    """Sample the step that follows each state; count the sampled tokens.

    A delimiter after nothing but white space stops the sampling and closes no step; sampling then
    goes on after it, with other random numbers.
    """
    stops = step_stop_ids(policy.codec)
    drawn = policy.sample(contexts, sampling, seed=seed, stop_ids=stops)
    steps: list[Completion] = []
    num_tokens = 0
    for index, (context, state, (first,)) in enumerate(zip(contexts, states, drawn, strict=True)):
        whole, step = first, _first_step(state, first)
        while whole.is_finished and not step.is_finished and not _ends_after(state, step):
            room = context.max_new_tokens - len(whole.token_ids)
            if room < 1:
                break
            # One context a call: its random numbers depend on no other, so that equal policies
            # sample equal steps.
            entropy = (seed, index, len(whole.token_ids))
            own_seed = np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1
            following = replace(
                context, token_ids=context.token_ids + whole.token_ids, max_new_tokens=room
            )
            ((rest,),) = policy.sample([following], sampling, seed=int(own_seed), stop_ids=stops)
            whole = _joined(whole, rest)
            step = _first_step(state, whole)
        steps.append(step)
        num_tokens += len(whole.token_ids)
    return steps, num_tokens


def _joined(first: Completion, rest: Completion) -> Completion:
    return Completion(
        token_ids=first.token_ids + rest.token_ids,
        log_probs=first.log_probs + rest.log_probs,
        is_finished=rest.is_finished,
    )


def step_stop_ids(codec: Codec) -> tuple[int, ...]:
    """List the end tokens and every id that closes a step after any text.

    A delimiter of several ids is not among them; `_first_step` cuts what is sampled after it.
    """
    ids = range(codec.vocab_size)
    delimiters = [token for token in ids if codec.step_delimiter in codec.decode((token,))]
    return tuple(dict.fromkeys((*codec.end_ids, *delimiters)))


def _first_step(state: ReasonState, completion: Completion) -> Completion:
    """Cut the completion after the step that it closes first; finished if the response ends."""
    ends = _ends_after(state, completion)
    size = ends[0] - len(state.response) if ends else len(completion.token_ids)
    token_ids = completion.token_ids[:size]
    return Completion(
        token_ids=token_ids,
        log_probs=completion.log_probs[:size],
        is_finished=bool(token_ids) and token_ids[-1] in state.codec.end_ids,
    )


def _ends_after(state: ReasonState, completion: Completion) -> tuple[int, ...]:
    """Index just after each step that the completion closes in the response."""
    begin = state.step_ends[-1] if state.step_ends else 0
    whole = state.response + completion.token_ids
    return step_ends(state.codec, whole, begin=begin, known=len(state.response))


class _ReplayPolicy:
    """A policy that replays given completions, one for each context."""

    def __init__(self, codec: Codec, completions: Sequence[Completion]) -> None:
        self.codec = codec
        self.policy_version = 0
        self.completions = completions

    def sample(
        self,
        contexts: Sequence[Context],
        sampling: SamplingConfig,
        *,
        seed: int,
        stop_ids: tuple[int, ...] | None = None,
    ) -> list[tuple[Completion, ...]]:
        """Return the completions in order."""
        assert len(contexts) == len(self.completions), "give one completion for each context"
        return [(completion,) for completion in self.completions]
