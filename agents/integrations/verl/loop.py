# pyright: reportMissingImports=false, reportUntypedBaseClass=false
# verl is in the environment of `make test-interop` only.
"""The agent loops: one row of data is one problem, and its episodes are a method's.

verl's own loop samples one response of a row, and its estimator compares the rows of a prompt. Here
a session (`rollout.n=1`) runs the method for one problem: the plan, all follow-ups, the groups. It
returns an output for each training sample, with the context that the sample is trained under, 1 in
the mask on the tokens that are trained, and for each token its advantage. A problem without a
sample (POPE: one that is not hard) returns a row without a trained token.

Episodes run through the environment of the row, in a thread; the servers of verl sample. Random
choices of the method follow from verl's step and the row; sampling's random numbers are the
server's.

Not covered: images, and a trace of the turns.
"""

import asyncio
import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from verl.experimental.agent_loop.agent_loop import (
    AgentLoopBase,
    AgentLoopMetrics,
    AgentLoopOutput,
    register,
)

from reason_env.agents.engines import Completion, Context, SamplingConfig
from reason_env.agents.integrations.export import environment_of
from reason_env.agents.integrations.verl.losses import SERVED, packed
from reason_env.agents.integrations.verl.served import Served, find_served
from reason_env.agents.methods import Method, build_method, collect_rounds
from reason_env.agents.rollout import (
    DrawnStart,
    RolloutBatch,
    Start,
    TrainingSample,
    collect,
)
from reason_env.codec import Codec, load_codec
from reason_env.env import reason_env_of
from reason_env.errors import ConfigError, VerifierError, shown
from reason_env.problem import ProblemSet
from reason_env.state import ReasonState, is_over

MOST_ROWS = 512
"""Rows of a process that wait for servers at the same time; each has a thread."""
_THREADS = ThreadPoolExecutor(MOST_ROWS, thread_name_prefix="reason_env")
POPE_PREFIXES: dict[str, dict[str, int]] = {}
"""Name of a POPE -> problem id -> steps that are shown, as this process measured them."""
UNKNOWN_NUMBER = 2**62
"""Problems of the data set, of which a process knows one at a time."""


class SampleOutput(AgentLoopOutput):
    """A training sample as a row of verl's."""

    advantages: list[float]
    """Of each token [T]."""
    loss_number: int
    """Of `Served.losses`."""

    def as_dict(self) -> dict[str, Any]:
        """Write the advantages where verl has rewards, and what the loss must know."""
        output = super().as_dict()
        advantages, number = output.pop("advantages"), output.pop("loss_number")
        output["rm_scores"] = torch.tensor(advantages, dtype=torch.float32)
        output["rollout_is_weights"] = packed(output["rollout_log_probs"].tolist(), number)
        return output


class ServerPolicy:
    """The servers of verl as a policy, for the thread of one row."""

    policy_version = 0

    def __init__(
        self, servers: Any, codec: Codec, loop: asyncio.AbstractEventLoop, request: str
    ) -> None:
        """Take what samples.

        Args:
            servers: verl's `LLMServerClient`.
            codec: The environment's.
            loop: The event loop in which the servers are asked.
            request: Begins the names of the requests.
        """
        self.codec = codec
        self.steps: list[int] = []
        """verl's numbers of the weights that sampled, oldest and newest of each request."""
        self._servers, self._loop, self._request = servers, loop, request
        self._number = 0

    def sample(
        self,
        contexts: Sequence[Context],
        sampling: SamplingConfig,
        *,
        seed: int,
        stop_ids: tuple[int, ...] | None = None,
    ) -> list[tuple[Completion, ...]]:
        """Ask for all completions at once and wait; the seed is not used."""
        del seed
        stops = tuple(self.codec.end_ids) if stop_ids is None else stop_ids
        asked = self._all(contexts, sampling, stops)
        return asyncio.run_coroutine_threadsafe(asked, self._loop).result()

    async def _all(
        self, contexts: Sequence[Context], sampling: SamplingConfig, stops: tuple[int, ...]
    ) -> list[tuple[Completion, ...]]:
        groups = [
            asyncio.gather(*(self._one(one, sampling, stops) for _ in range(one.num_samples)))
            for one in contexts
        ]
        return [tuple(found) for found in await asyncio.gather(*groups)]

    async def _one(
        self, context: Context, sampling: SamplingConfig, stops: tuple[int, ...]
    ) -> Completion:
        self._number += 1
        found = await self._servers.generate(
            request_id=f"{self._request}-{self._number}",
            prompt_ids=list(context.token_ids),
            sampling_params={
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                # verl's servers take -1 for all tokens.
                "top_k": sampling.top_k or -1,
                "repetition_penalty": 1.0,
                "logprobs": True,
                "max_tokens": context.max_new_tokens,
                "stop_token_ids": list(stops),
            },
        )
        ids, log_probs = tuple(found.token_ids), tuple(found.log_probs or ())
        if not ids or len(ids) != len(log_probs):
            raise ConfigError(
                "a server must return tokens with a log-probability each, got "
                f"{len(ids)} tokens and {len(log_probs)} log-probabilities"
            )
        known = (found.extra_fields.get(f"{end}_global_steps") for end in ("min", "max"))
        self.steps += [step for step in known if step is not None]
        return Completion(token_ids=ids, log_probs=log_probs, is_finished=ids[-1] in stops)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A row's environment, and the state that its episodes begin in."""

    env: gym.Env[Any, Any]
    state: ReasonState

    def fits(self, state: ReasonState) -> bool:
        """Whether an episode can begin at a state: not over, and its prompt is short enough."""
        inner = reason_env_of(self.env)
        is_short = len(inner.prompt.token_ids(state)) <= inner.max_prompt_tokens
        return is_short and not is_over(state, inner.rules)


class _Loop(AgentLoopBase):
    """What both loops share."""

    async def run(self, sampling_params: dict[str, Any], **row: Any) -> list[AgentLoopOutput]:
        """Run the episodes of a row in a thread; one output for each of its training samples."""
        loop = asyncio.get_running_loop()
        model = self.config.actor_rollout_ref.model
        place = _place(row["extra_info"], str(model.get("tokenizer_path") or model.path))
        self._check_room(place.env)
        seeds = [int(row.get(name, 0)) for name in ("global_steps", "index", "session_id")]
        policy = ServerPolicy(
            self.server_manager, place.state.codec, loop, f"{row.get('uid', 'row')}-{seeds[2]}"
        )
        sampling = SamplingConfig(
            temperature=float(sampling_params["temperature"]),
            top_p=float(sampling_params["top_p"]),
            top_k=max(0, int(sampling_params["top_k"])),
        )
        rng = np.random.default_rng(np.random.SeedSequence(seeds))
        outputs = await loop.run_in_executor(_THREADS, self._outputs, place, policy, sampling, rng)
        oldest, newest = min(policy.steps, default=None), max(policy.steps, default=None)
        for one in outputs:
            one.extra_fields |= {"min_global_steps": oldest, "max_global_steps": newest}
        return outputs

    @abstractmethod
    def _outputs(
        self, place: Place, policy: ServerPolicy, sampling: SamplingConfig, rng: np.random.Generator
    ) -> list[AgentLoopOutput]:
        """Run the episodes of a row, in a thread."""

    def _check_room(self, env: gym.Env[Any, Any]) -> None:
        """Check that verl's lengths hold the environment's.

        Raises:
            ConfigError: They do not.
        """
        inner, rollout = reason_env_of(env), self.rollout_config
        for name, given, needed in (
            ("response_length", rollout.response_length, inner.rules.max_tokens),
            ("prompt_length", rollout.prompt_length, inner.max_prompt_tokens),
        ):
            if given < needed:
                raise ConfigError(
                    f"rollout.{name} must hold the {needed} tokens of the data's environment, got "
                    f"{given}; raise data.max_{name}, or export with fewer"
                )


@register("reason_env")
class ReasonLoop(_Loop):
    """Runs the method that `actor.policy_loss.loss_mode` names, for one problem."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Find the method.

        Raises:
            UnknownNameError: No method has the name.
        """
        super().__init__(*args, **kwargs)
        name = self.config.actor_rollout_ref.actor.policy_loss.loss_mode
        self._served = find_served(name, SERVED)

    def _outputs(
        self, place: Place, policy: ServerPolicy, sampling: SamplingConfig, rng: np.random.Generator
    ) -> list[AgentLoopOutput]:
        method = _method(self._served, place)
        # The method's choices and those of sampling do not share a stream.
        own, seeds = rng.spawn(2)

        def collected(starts: Sequence[Start]) -> RolloutBatch:
            return _collected(place, starts, policy, sampling, seeds)

        states = _chosen(self._served, method, place.state, lambda starts: collected(starts).groups)
        if not states:
            return [_untrained(place)]
        _, batch = collect_rounds(method, states, collected, own)
        failed = [one for one in batch.trajectories if one.is_undecided]
        if len(failed) == len(batch.trajectories):
            raise VerifierError(
                f"the verifier must grade a response of {place.state.problem.problem_id!r}, got "
                f"{len(failed)} of {len(failed)} failed"
            )
        samples = method.training_samples(batch.groups, own)
        outputs = [self._output(one, batch, place) for one in samples]
        return outputs or [_untrained(place)]

    def _output(self, sample: TrainingSample, batch: RolloutBatch, place: Place) -> SampleOutput:
        known = {one.trajectory_id: one for one in batch.trajectories}
        # None: tokens of a reference.
        episode = None if sample.trajectory_id is None else known[sample.trajectory_id]
        advantages = self._served.advantages(
            sample,
            num_problems=int(self.config.data.train_batch_size),
            max_tokens=reason_env_of(place.env).rules.max_tokens,
        )
        played = [one for one in batch.trajectories if not one.start.is_auxiliary]
        return SampleOutput(
            prompt_ids=list(sample.context_ids),
            response_ids=list(sample.token_ids),
            response_mask=[int(own) for own in sample.action_mask],
            response_logprobs=list(sample.behavior_log_probs),
            advantages=list(advantages),
            loss_number=self._served.number(sample.role),
            # Set, so that no reward worker grades the row.
            reward_score=0.0 if episode is None else episode.episode_return,
            num_turns=2,
            metrics=AgentLoopMetrics(
                generate_sequences=batch.sampling_s, compute_score=batch.grading_s
            ),
            extra_fields={
                "role": sample.role,
                "group": sample.group,
                "episode_return": None if episode is None else episode.episode_return,
                # verl gives all rows of a session the last one's.
                "reward_extra_info": {"acc": sum(one.is_success for one in played) / len(played)},
            },
        )


@register("reason_env_evaluation")
class EvaluationLoop(_Loop):
    """Samples one episode of a problem, for verl's validation: its return is the reward."""

    def _outputs(
        self, place: Place, policy: ServerPolicy, sampling: SamplingConfig, rng: np.random.Generator
    ) -> list[AgentLoopOutput]:
        start = Start(state=place.state, num_samples=1, learn_from=place.state, group="evaluation")
        batch = _collected(place, [start], policy, sampling, rng)
        (episode,) = batch.trajectories
        prefix = episode.prefix_length
        mask = [0] * prefix + [int(own == "policy") for own in episode.completion_sources]
        return [
            AgentLoopOutput(
                prompt_ids=list(episode.prompt_ids),
                response_ids=list(episode.final_state.response),
                response_mask=mask,
                reward_score=episode.episode_return,
                num_turns=2,
                metrics=AgentLoopMetrics(
                    generate_sequences=batch.sampling_s, compute_score=batch.grading_s
                ),
                extra_fields={
                    "reward_extra_info": {
                        "acc": float(episode.is_success),
                        "undecided": float(episode.is_undecided),
                    }
                },
            )
        ]


@lru_cache(maxsize=8)
def _codec(name: str, step_delimiter: str) -> Codec:
    return load_codec(name, step_delimiter=step_delimiter)


def _place(extra_info: Mapping[str, Any], model: str) -> Place:
    """Make the environment of a row, with its problem alone, and read the row's state.

    Raises:
        ConfigError: The row was not written by `reason-env export verl`.
        StateError: The row was written with another model's tokens.
    """
    missing = [name for name in ("env", "state") if not extra_info.get(name)]
    if missing:
        raise ConfigError(
            f"a row's extra_info must hold {' and '.join(missing)}, got {shown(list(extra_info))}; "
            "write the data with reason-env export verl"
        )
    config = environment_of(extra_info["env"])
    codec = _codec(model, config.step_delimiter)
    state = ReasonState.from_dict(json.loads(extra_info["state"]), codec)
    env = config.make(codec, **_with_problem(state))
    return Place(env=env, state=state)


def _with_problem(state: ReasonState) -> dict[str, Any]:
    """The arguments of an environment with one problem, in place of those that choose some."""
    one = ProblemSet(state.problem.problem_id, (state.problem,))
    none = dict.fromkeys(("size", "levels", "columns", "hold_out"))
    off = dict.fromkeys(("allow_ungradable", "drop_ungradable"), False)
    return {"problems": one, "problem_seed": 0, **none, **off}


def _method(served: Served, place: Place) -> Method:
    inner = reason_env_of(place.env)
    method = build_method(
        served.method,
        inner.problems.checker,
        place.fits,
        None,
        inner.rules.max_tokens,
        reference_ids=lambda state: inner.reference_ids(state.problem),
        prompt_ids=inner.prompt.token_ids,
        grade_options=inner.grade_options,
    )
    if served.is_pope:
        known = POPE_PREFIXES.setdefault(served.name, {})
        method.load_state_dict({"prefixes": dict(known), "search": "first_draw"})
    return method


def _chosen(
    served: Served, method: Any, state: ReasonState, groups_of: Any
) -> Sequence[ReasonState]:
    """Return the state if the method trains on its problem; POPE measures a problem once."""
    if not served.is_pope:
        return [state]
    method.num_problems = UNKNOWN_NUMBER
    kept = method.measure([state], groups_of)
    POPE_PREFIXES[served.name] |= method.state_dict()["prefixes"]
    return kept


def _collected(
    place: Place,
    starts: Sequence[Start],
    policy: ServerPolicy,
    sampling: SamplingConfig,
    seeds: np.random.Generator,
) -> RolloutBatch:
    return collect(
        starts,
        env=place.env,
        policy=policy,
        sampling=sampling,
        # It names the trajectories.
        seed=int(seeds.integers(2**62)),
        drawn=[DrawnStart(state=place.state, memories=())],
    )


def _untrained(place: Place) -> SampleOutput:
    """A row without a trained token, where a problem gives none: verl waits for each problem."""
    inner = reason_env_of(place.env)
    return SampleOutput(
        prompt_ids=list(inner.prompt.token_ids(place.state)),
        response_ids=[place.state.codec.eos_id],
        response_mask=[0],
        response_logprobs=[0.0],
        advantages=[0.0],
        loss_number=0,
        reward_score=0.0,
        num_turns=2,
        metrics=AgentLoopMetrics(),
        extra_fields={
            "role": "untrained",
            "group": place.state.problem.problem_id,
            "episode_return": None,
            "reward_extra_info": {"acc": 0.0},
        },
    )
