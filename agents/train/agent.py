"""AgentSession: a run whose learner is an algorithm of Stable-Baselines3.

It has the directory, evaluation, checkpoints and reports of any run. The algorithm's policy is the
language model that is evaluated and saved, so `eval --model RUN` and further training read it as
they read any other. An environment step is a generated token.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reason_env.agents.learning import with_learning_rate
from reason_env.agents.methods import SB3Config, build_method
from reason_env.agents.metrics import Number
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.processes import ALONE, Processes
from reason_env.agents.rollout import (
    Group,
    TrainingSample,
    Trajectory,
    advantage_metrics,
    episode_rows,
    rollout_metrics,
    signal_metrics,
    trained_rows,
    training_sample,
)
from reason_env.agents.runs import load_checkpoint
from reason_env.agents.train.collecting import draw_starts
from reason_env.agents.train.config import TrainConfig
from reason_env.agents.train.iterate import NOTHING_SAMPLED, Written, check_verifier
from reason_env.agents.train.session import (
    RunSession,
    Session,
    build_session,
    make_envs,
)
from reason_env.env import ReasonEnv, reason_env_of
from reason_env.errors import ConfigError
from reason_env.vector_env import ReasonVectorEnv

if TYPE_CHECKING:
    from reason_env.agents.sb3 import Agent, OpenEpisode, Rollout

OF_A_SOURCE = (
    "split",
    "size",
    "levels",
    "problem_seed",
    "columns",
    "allow_ungradable",
    "drop_ungradable",
    "hold_out",
)
"""Arguments of the environment that choose problems; a loaded set needs none."""


@dataclass(slots=True, kw_only=True)
class AgentSession(RunSession):
    """A run of an algorithm; `prepare`, `iterate_agent` and `train` advance it."""

    agent: "Agent"

    @property
    def learner_state(self) -> dict[str, Any]:
        """Optimizer, critic and open episodes."""
        return self.agent.state_dict()

    @property
    def has_diverged(self) -> bool:
        """False: the first update that is not finite ends the run, before it is saved."""
        return False

    def check_finite(self) -> None:
        """Raise nothing; see `has_diverged`."""


AnySession = Session | AgentSession


def session_of(
    config: TrainConfig, checkpoint: Path | None = None, *, processes: Processes = ALONE
) -> AnySession:
    """Build the live objects of any run; with a checkpoint, in the state that it holds.

    Args:
        config: The run's.
        checkpoint: A directory.
        processes: Those that train together.

    Raises:
        ConfigError: The method needs Stable-Baselines3, which is not installed, or is one of its
            algorithms and there are several processes; or the device does not exist here.
        ModelError: A prompt and its response exceed the model's context length.
        StateError: A wrapper does not support snapshots, so that no checkpoint could hold it.
    """
    if isinstance(config.method, SB3Config):
        if not processes.is_alone:
            raise ConfigError(
                f"devices must be 1 for {config.name}, got {processes.number}; it trains in one "
                "process"
            )
        return _build_agent_session(config, config.method, checkpoint)
    return build_session(config, checkpoint, processes=processes)


def iterate_agent(session: AgentSession) -> Written:
    """Collect steps and learn from them; advances the session by one iteration.

    Raises:
        VerifierError: The verifier failed on more than `max_ungraded_fraction` of the episodes.
    """
    config, agent = session.config, session.agent
    share = session.run_share
    session.iteration += 1
    began = time.perf_counter()
    found = agent.collect(config.seed_of("sampling", session.iteration))
    collected = time.perf_counter()
    session.sampled_tokens_total += found.num_steps
    check_verifier(found.trajectories, config.max_ungraded_fraction)
    update = agent.update(config.seed_of("updates", session.iteration), share)
    ended = time.perf_counter()
    samples = _samples(found.trajectories, found.advantages)
    metrics: dict[str, Number] = {
        **(rollout_metrics(_groups(found.trajectories)) if found.trajectories else NOTHING_SAMPLED),
        **(advantage_metrics(samples) | signal_metrics(samples) if samples else {}),
        **({} if found.advantages is None else _idle_metrics(found)),
        "rollout/sampled_tokens": found.num_steps,
        "rollout/sampled_tokens_total": session.sampled_tokens_total,
        **update,
        "update/num_updates_total": session.policy.policy_version,
        "time/rollout_s": collected - began,
        "time/update_s": ended - collected,
        "time/iteration_s": ended - began,
    }
    return Written(metrics=metrics, episodes=_rows(found.trajectories, samples, config))


def _build_agent_session(
    config: TrainConfig, method: SB3Config, checkpoint: Path | None
) -> AgentSession:
    # Here, since the extra may be missing.
    from reason_env.agents.sb3 import build_agent

    loaded = None if checkpoint is None else load_checkpoint(checkpoint)
    name = config.model if loaded is None else str(loaded.model_dir)
    first = LanguageModelPolicy.load(
        name, device=config.device, step_delimiter=config.env.step_delimiter
    )
    config = replace(
        config,
        env=config.env.resolved(first.codec),
        learner=with_learning_rate(config.learner, first.model),
    )
    env, eval_env = make_envs(config, first)
    inner = reason_env_of(env)
    if inner.reward_config.undecided != "no_reward":
        raise ConfigError(
            f"reward undecided must be no_reward with {method.kind}, got "
            f"{inner.reward_config.undecided!r}; each step is learned from"
        )
    agent = build_agent(
        # The weights of a checkpoint are trained ones.
        method if loaded is None else replace(method, weights="pretrained"),
        config.learner,
        model=name,
        codec=first.codec,
        envs=_vector_env(config, inner, method.num_episodes(config.problems_per_iteration)),
        stack=env,
        next_group=lambda: _next_group(session),
        device=config.device,
        max_batch_size=config.max_batch_size,
        seed=config.seed_of("initialisation", 0),
    )
    session = AgentSession(
        config=config,
        policy=agent.policy,
        env=env,
        eval_env=eval_env,
        method=build_method(method),
        problem_ids=[problem.problem_id for problem in inner.problems],
        agent=agent,
    )
    if loaded is not None:
        session.continue_from(loaded)
        agent.load_state_dict(loaded.learner_state)
    return session


def _vector_env(config: TrainConfig, inner: ReasonEnv, num_envs: int) -> ReasonVectorEnv:
    """Make environments with the problems of another, whose observations are no longer than needed.

    A buffer holds every observation of an iteration.
    """
    settings = config.env.arguments(inner.codec)
    settings = {name: value for name, value in settings.items() if name not in OF_A_SOURCE}
    settings |= {"problems": inner.problems, "granularity": "token"}
    if not config.is_wrapped:
        lengths = [
            len(inner.prompt.token_ids(inner.initial_state(problem))) for problem in inner.problems
        ]
        settings["max_prompt_tokens"] = min(inner.max_prompt_tokens, max(lengths))
    return ReasonVectorEnv(num_envs, autoreset_mode="Disabled", **settings)


def _next_group(session: AgentSession) -> list["OpenEpisode"]:
    """Draw the next start of the run and give the episodes that begin there together."""
    from reason_env.agents.sb3 import OpenEpisode, start_of

    config, number = session.config, session.num_drawn
    method = config.method
    assert isinstance(method, SB3Config), "an agent's"
    (drawn,) = draw_starts(session, 1, config.seed_of("starts", number))
    size = method.num_episodes(1)
    start = start_of(drawn.state, f"{number}:{drawn.state.problem.problem_id}", size)
    return [
        OpenEpisode(
            start=start,
            memories=drawn.memories,
            index=index,
            policy_version=session.policy.policy_version,
            token_ids=[],
            log_probs=[],
        )
        for index in range(size)
    ]


def _idle_metrics(found: "Rollout") -> dict[str, Number]:
    """Count the steps of environments that waited for the slowest one."""
    idle = found.num_steps - sum(item.num_sampled_tokens for item in found.trajectories)
    return {
        "rollout/discarded_tokens": idle,
        "rollout/idle_steps_fraction": idle / found.num_steps,
    }


def _groups(trajectories: Sequence[Trajectory]) -> list[Group]:
    by_key: dict[str, list[Trajectory]] = {}
    for item in trajectories:
        by_key.setdefault(item.start.group, []).append(item)
    return [Group(key=key, trajectories=tuple(own)) for key, own in by_key.items()]


def _samples(
    trajectories: Sequence[Trajectory], advantages: Sequence[float] | None
) -> list[TrainingSample]:
    """Give the samples that GRPO learned from; none where each token has its own advantage."""
    if advantages is None:
        return []
    return [training_sample(*pair) for pair in zip(trajectories, advantages, strict=True)]


def _rows(
    trajectories: Sequence[Trajectory], samples: Sequence[TrainingSample], config: TrainConfig
) -> list[dict[str, Any]]:
    """Convert the first episodes to rows; without an advantage if each token has its own."""
    rows = episode_rows(
        trajectories,
        config.episodes_per_iteration,
        samples=samples,
        rows=trained_rows(trajectories, samples),
        old_log_probs={},
    )
    unknown = {"old_log_probs"} if samples else {"advantage", "old_log_probs"}
    return [{key: own for key, own in row.items() if key not in unknown} for row in rows]
