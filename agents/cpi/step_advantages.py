r"""The policy advantage of the step-level MDP, sampled: one step by the candidate, the rest by pi.

    E_{s ~ mu} sum_h E_{s_h ~ d_h} E_{a ~ pi'} A_pi(s_h, a)

over the steps of pi's episodes from mu: the horizon's form of A_{pi,mu}(pi') (Kakade and Langford
2002, section 4; the step-level MDP is the Thought MDP of arXiv 2605.25507). One episode of pi is
sampled from each restart; at k of its L steps, drawn without replacement, the next step a' is
sampled from pi' and a from pi, and pi goes on after either:

    L / k * sum (r(a', then pi) - r(a, then pi))

Unbiased: given the episode, the states before its steps are drawn with equal chance, and what
follows is sampled anew. Without roll-in the deviation is at the restart itself, k times.

Both first steps come from equal random streams, so a' = a wherever the policies agree; such a pair
has the difference 0 and samples nothing further. What goes on after a' and after a is independent.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from reason_env.agents.cpi.estimators import Arms, Sampled, mean, sampled
from reason_env.agents.cpi.restarts import Restart
from reason_env.agents.engines import Completion, Context, SamplingConfig
from reason_env.agents.policy import Policy
from reason_env.agents.rollout import Trajectory
from reason_env.codec import Codec, step_ends
from reason_env.env import reason_env_of
from reason_env.state import ReasonState


def step_advantages(
    arms: Arms,
    restarts: Sequence[Restart],
    *,
    samples: int,
    seed: int,
    roll_in: bool = True,
) -> Sampled:
    """Returns the estimate `step`, with at most `samples` deviations a restart.

    With `roll_in` the value is a sum over the steps of an episode; without, that of one step.
    """
    seeds = np.random.SeedSequence(seed).generate_state(4, np.uint64)
    first, second, third = (int(one >> 1) for one in seeds[:3])
    rolled = arms.collect(restarts, 1, arms.old, first).trajectories if roll_in else ()
    if roll_in:
        rng = np.random.default_rng(int(seeds[3]))
        chosen, lengths = _deviations(rolled, samples, rng)
    else:
        chosen = [(index, one.state) for index, one in enumerate(restarts) for _ in range(samples)]
        lengths = dict.fromkeys(range(len(restarts)), 1)
    compared = _compared(arms, [state for _, state in chosen], second, third)
    differences: dict[int, list[float]] = {index: [] for index in range(len(restarts))}
    for (index, _), difference in zip(chosen, compared.values, strict=True):
        if difference is not None:
            differences[index].append(difference)
    values = [
        None if (value := mean(own)) is None else lengths[index] * value
        for index, own in differences.items()
    ]
    rolled_in = sampled(values, rolled)
    return replace(
        rolled_in,
        num_tokens=rolled_in.num_tokens + compared.num_tokens,
        returns=rolled_in.returns + compared.returns,
        max_steps=max(lengths.values(), default=1),
    )


def step_states(trajectory: Trajectory) -> list[ReasonState]:
    """Returns the state before each step that the policy took in an episode."""
    start = trajectory.start.state
    prefix = trajectory.prefix_length
    end = prefix + len(trajectory.behavior_log_probs)
    response = trajectory.final_state.response[:end]
    begin = start.step_ends[-1] if start.step_ends else 0
    ends = step_ends(start.codec, response, begin=begin, known=prefix)
    bounds = (prefix, *(at for at in ends if at < end))
    return [start.extend(response[prefix:bound]) for bound in bounds]


def _deviations(
    rolled: Sequence[Trajectory], samples: int, rng: np.random.Generator
) -> tuple[list[tuple[int, ReasonState]], dict[int, int]]:
    """Returns where to deviate, as (restart, state), and the steps of each restart's episode."""
    chosen: list[tuple[int, ReasonState]] = []
    lengths: dict[int, int] = {}
    for index, trajectory in enumerate(rolled):
        states = step_states(trajectory)
        lengths[index] = len(states)
        places = rng.choice(len(states), size=min(samples, len(states)), replace=False)
        chosen += [(index, states[place]) for place in sorted(places.tolist())]
    return chosen, lengths


def _compared(arms: Arms, states: Sequence[ReasonState], seed: int, rest_seed: int) -> Sampled:
    """Returns r(a', then pi) - r(a, then pi) at each state."""
    inner = reason_env_of(arms.env)
    stops = step_stop_ids(inner.codec)
    contexts = [
        Context(
            token_ids=inner.prompt.token_ids(state) + state.response,
            num_samples=1,
            max_new_tokens=inner.rules.max_tokens - len(state.response),
        )
        for state in states
    ]

    def first_steps(policy: Policy) -> tuple[list[Completion], int]:
        drawn = policy.sample(contexts, arms.sampling, seed=seed, stop_ids=stops)
        steps = [_first_step(inner.codec, one) for (one,) in drawn]
        return steps, sum(len(one.token_ids) for (one,) in drawn)

    (old_steps, old_tokens), (new_steps, new_tokens) = map(first_steps, (arms.old, arms.new))
    differing = [
        index
        for index, (old, new) in enumerate(zip(old_steps, new_steps, strict=True))
        if old.token_ids != new.token_ids
    ]
    steps = [made[index] for made in (old_steps, new_steps) for index in differing]
    whole = _continued(
        arms, [contexts[index] for index in (*differing, *differing)], steps, rest_seed
    )
    restarts = [
        Restart(state=states[index], unit=0, is_base=True) for index in (*differing, *differing)
    ]
    values: list[float | None] = [0.0] * len(states)
    if not differing:
        return Sampled(values=tuple(values), num_tokens=old_tokens + new_tokens, returns=())
    batch = arms.collect(restarts, 1, _Recorded(inner.codec, whole), rest_seed)
    half = len(differing)
    for place, index in enumerate(differing):
        old, new = batch.trajectories[place], batch.trajectories[half + place]
        is_known = old.is_graded and new.is_graded
        values[index] = new.episode_return - old.episode_return if is_known else None
    rest_tokens = sum(
        len(one.token_ids) - len(step.token_ids) for one, step in zip(whole, steps, strict=True)
    )
    found = sampled(values, batch.trajectories)
    return replace(found, num_tokens=old_tokens + new_tokens + rest_tokens)


def _continued(
    arms: Arms, contexts: Sequence[Context], steps: Sequence[Completion], seed: int
) -> list[Completion]:
    """Returns each step with what the old policy says after it; one that is finished as it is."""
    open_ones = [
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
        for index in open_ones
    ]
    drawn = arms.old.sample(following, arms.sampling, seed=seed) if following else []
    whole = list(steps)
    for index, (rest,) in zip(open_ones, drawn, strict=True):
        whole[index] = Completion(
            token_ids=steps[index].token_ids + rest.token_ids,
            log_probs=steps[index].log_probs + rest.log_probs,
            is_finished=rest.is_finished,
        )
    return whole


def step_stop_ids(codec: Codec) -> tuple[int, ...]:
    """Returns the end token and the ids that end a step whatever came before them.

    A delimiter of several ids is not among them: what is sampled too far is cut off.
    """
    alone = [token for token in range(codec.vocab_size) if codec.ends_step((token,))]
    return tuple(dict.fromkeys((codec.eos_id, *alone)))


def _first_step(codec: Codec, completion: Completion) -> Completion:
    """Returns the completion up to its first step's end; finished if that is the response's end."""
    ends = step_ends(codec, completion.token_ids)
    size = ends[0] if ends else len(completion.token_ids)
    token_ids = completion.token_ids[:size]
    return Completion(
        token_ids=token_ids,
        log_probs=completion.log_probs[:size],
        is_finished=bool(token_ids) and token_ids[-1] == codec.eos_id,
    )


class _Recorded:
    """A policy that says what was sampled before, one completion a context."""

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
        """Returns the completions in order."""
        assert len(contexts) == len(self.completions), "one completion was recorded a context"
        return [(completion,) for completion in self.completions]
