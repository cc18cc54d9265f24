"""Session: the live objects of a run, built from its config and, to resume, its newest checkpoint.

What a resumed run needs is in the checkpoint or follows from the config's seed, so a session built
from a checkpoint continues as the session that wrote it would have.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from reason_env.agents.cpi import ConservativeUpdate
from reason_env.agents.engines import EngineConfig, SharedEngine, build_graders
from reason_env.agents.learning import (
    AVERAGE,
    INITIAL,
    POLICY,
    Learner,
    PairLearner,
    TrainablePolicy,
)
from reason_env.agents.methods import Method, SB3Config, build_method
from reason_env.agents.policy import (
    Judge,
    JudgeConfig,
    LanguageModelPolicy,
    LoraConfig,
    ShardedPolicy,
)
from reason_env.agents.processes import ALONE, Processes, take_device
from reason_env.agents.runs import Checkpoint, SavesModel, WritesState, load_checkpoint
from reason_env.agents.train.config import TrainConfig
from reason_env.agents.train.fingerprint import preparation_fingerprint
from reason_env.agents.train.guidance_budget import check_guidance, problems_with_room
from reason_env.env import ReasonEnv, long_prompts, other_ids, reason_env_of
from reason_env.errors import ConfigError, ModelError, shown
from reason_env.snapshot import snapshot
from reason_env.state import ReasonState, is_over
from reason_env.verify import GradesJobs

_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class RunSession(ABC):
    """What all sessions share: the objects and the progress that the loop needs."""

    config: TrainConfig
    """With a number as learning rate, so that the stored config repeats the run."""
    policy: LanguageModelPolicy
    env: gym.Env[Any, Any]
    """Episodes for training; format "tokens"."""
    eval_env: gym.Env[Any, Any] | None
    """The environment for evaluation; None if there are no problems to evaluate on."""
    method: Method
    problem_ids: list[str]
    """The problems to train on; `prepare` replaces them by those that the method chooses."""
    graders: GradesJobs | None = None
    """Grade what needs a worker process; None: the workers of this process do."""
    iteration: int = field(default=0, init=False)
    """The last iteration that began; 0 before the first."""
    num_drawn: int = field(default=0, init=False)
    """Problems drawn so far, with those that the method left out."""
    sampled_tokens_total: int = field(default=0, init=False)
    """Tokens generated for training so far, preparation included."""
    is_prepared: bool = field(default=False, init=False)
    stack_snapshot: str | None = field(default=None, init=False)
    """What the wrappers remembered when the checkpoint was written; `prepare` restores it."""

    @property
    @abstractmethod
    def learner_state(self) -> dict[str, Any] | WritesState:
        """The content of a checkpoint that the learner continues from, or what writes it."""

    @property
    def processes(self) -> Processes:
        """Those that train together."""
        return ALONE

    @property
    def saved_policy(self) -> SavesModel:
        """What writes the model of a checkpoint."""
        return self.policy

    @property
    @abstractmethod
    def has_diverged(self) -> bool:
        """True if the run must stop, once its state is saved, because updates were not finite."""

    @abstractmethod
    def check_finite(self) -> None:
        """Raise if `has_diverged`.

        Raises:
            TrainingError: It has.
        """

    @property
    def is_over(self) -> bool:
        """True once every iteration has run or the budget of generated tokens is spent."""
        return self.config.is_over(self.iteration, self.sampled_tokens_total)

    @property
    def run_share(self) -> float:
        """Share of the run that is done, 0..1: of its iterations or its tokens, the larger."""
        budget = self.config.max_generated_tokens
        tokens = 0.0 if budget is None else self.sampled_tokens_total / budget
        return min(1.0, max(self.iteration / self.config.iterations, tokens))

    @property
    def progress(self) -> dict[str, Any]:
        """The content of a checkpoint besides weights and optimizer."""
        # Without wrappers nothing of the environment outlives an iteration.
        stack = {"stack": snapshot(self.env)} if self.config.is_wrapped else {}
        return stack | {
            "num_drawn": self.num_drawn,
            "sampled_tokens_total": self.sampled_tokens_total,
            "policy_version": self.policy.policy_version,
            "method": self.method.state_dict(),
        }

    @property
    def problem_sets(self) -> dict[str, str]:
        """Content hashes of the training and evaluation problems."""
        sets = {"train": reason_env_of(self.env).problems.content_hash}
        if self.eval_env is not None:
            sets["eval"] = reason_env_of(self.eval_env).problems.content_hash
        return sets

    def rng(self, stream: str) -> np.random.Generator:
        """Create the generator of one random stream for the current iteration."""
        return np.random.default_rng(self.config.seed_of(stream, self.iteration))

    def continue_from(self, loaded: Checkpoint) -> None:
        """Continue the progress of a checkpoint; the learner continues by itself."""
        self.iteration = loaded.iteration
        self.sampled_tokens_total = loaded.progress["sampled_tokens_total"]
        # Absent in checkpoints of version 0.1, whose methods left out no drawn problem.
        drawn = loaded.iteration * self.config.problems_per_iteration
        self.num_drawn = loaded.progress.get("num_drawn", drawn)
        self.policy.mark_updated(loaded.progress["policy_version"])
        self.method.load_state_dict(loaded.progress["method"])
        self.stack_snapshot = loaded.progress.get("stack")
        if self.config.is_wrapped and self.stack_snapshot is None:
            _log.warning(
                "the checkpoint after iteration %d holds no memory of the wrappers, because an "
                "earlier version wrote it; archives, schedules and pass rates begin empty",
                loaded.iteration,
            )


@dataclass(slots=True, kw_only=True)
class Session(RunSession):
    """A run of a language-model method; `prepare`, `iterate` and `train` advance it."""

    learner: Learner
    conservative: ConservativeUpdate | None
    """Accepts or rejects each update; None if the config has no `cpi`."""
    judges: Mapping[JudgeConfig, Judge] = field(default_factory=dict[JudgeConfig, Judge])
    """The judges that the method may ask."""

    @property
    def learner_state(self) -> dict[str, Any] | WritesState:
        """The optimizer's state, and what else the learner remembers."""
        learner = self.learner
        return learner.state_dict() if self.processes.is_alone else learner.save_shares

    @property
    def processes(self) -> Processes:
        """Those that train together."""
        return self.learner.processes

    @property
    def saved_policy(self) -> SavesModel:
        """What writes the model of a checkpoint: each process its share of the weights."""
        trained = self.learner.policy
        return trained if isinstance(trained, ShardedPolicy) else self.policy

    @property
    def has_diverged(self) -> bool:
        """True if so many updates in a row were not finite that the run must stop."""
        return self.learner.has_diverged

    def check_finite(self) -> None:
        """Raise if `has_diverged`.

        Raises:
            TrainingError: It has.
        """
        self.learner.check_finite()


def build_session(
    config: TrainConfig, checkpoint: Path | None = None, *, processes: Processes = ALONE
) -> Session:
    """Build the live objects of a run; with a checkpoint, in the state in which it was written.

    Args:
        config: The run's.
        checkpoint: A directory; of a run of any number of processes.
        processes: Those that train together. The others must `follow` this one, the first.

    Raises:
        ConfigError: The method is an algorithm of Stable-Baselines3, it needs entropies and the
            engine gives none, its losses cannot correct for stale weights, or several processes
            cannot train as the config says.
        ProblemError: Every problem has a prefix that the method begins with and that fills the
            response.
        ModelError: A prompt and its response exceed the model's context length.
        StateError: A wrapper does not support snapshots, so that no checkpoint could hold it.
    """
    if isinstance(config.method, SB3Config):
        raise ConfigError(
            f"the method must be one of language models here, got {config.name!r}; train it: "
            f"reason-env train {config.name}"
        )
    _check_entropies(config)
    _check_staleness(config)
    if not processes.is_alone:
        _check_several(config)
        take_device(config.device)
        processes.lead("build", config, checkpoint)
    loaded = None
    if checkpoint is not None:
        loaded = load_checkpoint(checkpoint, verify=processes.is_first)
    # With LoRA a checkpoint holds the adapter alone.
    own = config.model if loaded is None or config.lora.is_on else str(loaded.model_dir)
    # Other engines than torch are services, which the first process asks for all.
    is_service = config.engine.kind != "torch"
    engine = config.engine if processes.is_first else EngineConfig()
    policy = _load_policy(config, own, engine=engine, lora=config.lora)
    if loaded is not None and config.lora.is_on:
        policy.load_adapter(loaded.model_dir)
    if not (processes.is_alone or is_service):
        policy.engine = SharedEngine(policy.engine, processes)
    config = replace(config, env=config.env.resolved(policy.codec))
    if policy.prefix_sharing_refusal is not None:
        _log.warning(
            "training runs a shared prefix once for each sample, because %s",
            policy.prefix_sharing_refusal,
        )
    env, eval_env = make_envs(config, policy)
    inner = reason_env_of(env)
    check_guidance(config.method, inner, policy.context_length)
    method = build_method(
        config.method,
        inner.problems.checker,
        _start_check(inner, policy.context_length),
        lambda: preparation_fingerprint(config, policy),
        inner.rules.max_tokens,
        reference_ids=lambda state: inner.reference_ids(state.problem),
        prompt_ids=inner.prompt.token_ids,
        grade_options=inner.grade_options,
    )
    judges = {
        one: Judge(_load_policy(config, one.model), one)
        for one in dict.fromkeys(method.judges if processes.is_first else ())
    }
    learner = _build_learner(
        config, policy, method, max_response_tokens=inner.rules.max_tokens, processes=processes
    )
    config = replace(config, learner=learner.config)
    conservative = None
    if config.cpi is not None:
        conservative = ConservativeUpdate(
            config.cpi,
            policy=policy,
            learner=learner,
            method=method,
            env=env,
            sampling=config.sampling,
            judges=judges,
        )
    session = Session(
        config=config,
        policy=policy,
        env=env,
        eval_env=eval_env,
        method=method,
        learner=learner,
        conservative=conservative,
        problem_ids=problems_with_room(config.method, inner),
        judges=judges,
        graders=build_graders(config.engine) if processes.is_first else None,
    )
    if loaded is not None:
        if loaded.shares is None:
            learner.load_state_dict(loaded.learner_state)
        else:
            learner.load_shares(loaded.shares, loaded.learner_state)
        session.continue_from(loaded)
    return session


def make_envs(
    config: TrainConfig, policy: LanguageModelPolicy
) -> tuple[gym.Env[Any, Any], gym.Env[Any, Any] | None]:
    """Make the environments for training and evaluation, and check that their prompts fit.

    Raises:
        ModelError: A prompt and its response exceed the model's context length.
        StateError: A wrapper does not support snapshots, so that no checkpoint could hold it.
    """
    env = config.env.make(policy.codec, config.wrappers)
    if config.is_wrapped:
        snapshot(env)
    eval_env = config.make_eval_env(policy.codec)
    for one in (env, eval_env):
        if one is not None:
            _check_context_length(reason_env_of(one), policy.context_length)
    return env, eval_env


def _load_policy(
    config: TrainConfig,
    model: str,
    *,
    engine: EngineConfig | None = None,
    lora: LoraConfig | None = None,
) -> LanguageModelPolicy:
    return LanguageModelPolicy.load(
        model,
        device=config.device,
        precision=config.precision,
        max_batch_size=config.max_batch_size,
        engine=engine,
        step_delimiter=config.env.step_delimiter,
        lora=lora,
        lora_seed=config.seed_of("lora", 0),
    )


def _reference(config: TrainConfig, policy: LanguageModelPolicy) -> TrainablePolicy:
    """Give the policy before training; it samples nothing, so it needs no engine."""
    if policy.adapter is not None:
        return policy.without_adapter()
    return _load_policy(config, config.model)


def _teacher(config: TrainConfig, policy: LanguageModelPolicy, name: str) -> TrainablePolicy:
    """Load a model that scores the policy's tokens.

    Raises:
        ConfigError: Its token ids mean other texts.
    """
    teacher = _load_policy(config, name)
    if teacher.codec.codec_id != policy.codec.codec_id:
        raise ConfigError(
            f"a teacher must share the policy's token ids, got {shown(name)} with "
            f"{teacher.codec.codec_id!r} and a policy with {policy.codec.codec_id!r}; use a model "
            "with the same tokenizer"
        )
    return teacher


def _build_learner(
    config: TrainConfig,
    policy: LanguageModelPolicy,
    method: Method,
    *,
    max_response_tokens: int,
    processes: Processes,
) -> Learner:
    trained = policy if processes.is_alone else ShardedPolicy(policy, processes)
    if method.pair_loss is not None:
        return PairLearner(
            trained,
            config.learner,
            pair_loss=method.pair_loss,
            ref_policy=_reference(config, policy),
            temperature=config.sampling.temperature,
            scorer=policy,
            processes=processes,
        )
    losses = (method.loss, *method.role_losses.values())
    needs_reference = any(loss.kl_coefficient > 0 for loss in losses)
    names = {loss.distillation.teacher for loss in losses if loss.distillation is not None}
    others = names - {POLICY, AVERAGE}
    reference = _reference(config, policy) if needs_reference or INITIAL in others else None
    teachers = {name: _teacher(config, policy, name) for name in sorted(others - {INITIAL})}
    if reference is not None:
        teachers[INITIAL] = reference
    return Learner(
        trained,
        config.learner,
        loss=method.loss,
        role_losses=method.role_losses,
        ref_policy=reference if needs_reference else None,
        teachers=teachers,
        temperature=config.sampling.temperature,
        max_response_tokens=max_response_tokens,
        scorer=policy,
        processes=processes,
    )


def _check_several(config: TrainConfig) -> None:
    """Raise, before anything is loaded, if several processes cannot train as the config says.

    Raises:
        ConfigError: The config has `cpi`, or LoRA with dropout.
    """
    if config.cpi is not None:
        raise ConfigError(
            "devices must be 1 for cpi, got several processes; its test samples with two sets of "
            "weights in turns, and only the process that trains them has both"
        )
    if config.lora.dropout:
        raise ConfigError(
            f"lora.dropout must be 0 with several devices, got {config.lora.dropout!r}; each "
            "process would drop other inputs than one process does"
        )


def _check_entropies(config: TrainConfig) -> None:
    """Raise, before anything is loaded, if the engine cannot give what the method needs."""
    # What a method needs follows from its config alone; any checker serves.
    needs = build_method(config.method, lambda problem, steps: None).needs_entropies
    if needs and config.engine.is_vllm:
        raise ConfigError(
            f"engine must be torch for a method that needs entropies, got {config.engine.kind!r} "
            f"with {config.name}; vLLM gives log-probabilities of a few tokens only"
        )


def _check_staleness(config: TrainConfig) -> None:
    """Raise, before anything is loaded, if the losses do not correct for stale weights."""
    most = config.engine.max_staleness
    if not most:
        return
    method = build_method(config.method, lambda problem, steps: None)
    if config.cpi is not None or method.pair_loss is not None:
        raise ConfigError(
            f"engine.max_staleness must be 0 with {config.name}, got {most}; its test or its loss "
            "is about episodes of the current weights"
        )
    if not method.loss.needs_behavior:
        raise ConfigError(
            f"engine.max_staleness must be 0 with a loss without importance weights, got {most} "
            f"with {config.name}; give --loss.importance-weight-cap 2"
        )


def _check_context_length(inner: ReasonEnv, context_length: int) -> None:
    """Raise, before anything is written, if any prompt and a response exceed the model."""
    limit = context_length - inner.rules.max_tokens
    found = long_prompts(inner.prompt, inner.problems, inner.codec, limit)
    if found:
        longest = max(found, key=lambda name: found[name])
        raise ModelError(
            f"prompt and response must fit the model's {context_length} tokens, got "
            f"{found[longest]} of {longest!r} + max_tokens {inner.rules.max_tokens}"
            f"{other_ids(found)}; lower max_tokens, or drop the problem"
        )


def _start_check(inner: ReasonEnv, context_length: int) -> Callable[[ReasonState], bool]:
    """Give the check whether an episode can begin at a state: not over, and its prompt fits."""

    def fits(state: ReasonState) -> bool:
        room = context_length - inner.rules.max_tokens
        is_short = len(inner.prompt.token_ids(state)) <= min(inner.max_prompt_tokens, room)
        return is_short and not is_over(state, inner.rules)

    return fits
