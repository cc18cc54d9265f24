"""What a run will cost, from a short measurement with its own objects: for `--dry-run`.

Samples a part of an iteration's problems, trains on what came of them, and restores weights,
optimizer and method, so that a run that follows is the same to the bit. Nothing is written.

The seconds of an iteration are those of the part, scaled by the number of problems, and the
update's as if every group had a signal: an upper estimate. Bytes of weights, gradients, optimizer
and cache are computed; those of activations are the largest sum of tensors that the update kept for
its backward passes. That a fuller batch is faster is not taken into account.

Of an algorithm of Stable-Baselines3 the whole first iteration is measured, because its episodes go
on over iterations: a shorter one would only see their cheap beginnings.
"""

import copy
import math
import os
import resource
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reason_env.agents.evaluate import evaluate
from reason_env.agents.learning import PairLearner
from reason_env.agents.methods import SB3Config
from reason_env.agents.rollout import TrainingSample
from reason_env.agents.train.agent import AgentSession
from reason_env.agents.train.collecting import Collected, collect_iteration
from reason_env.agents.train.preparation import check_budget, prepare
from reason_env.agents.train.session import RunSession, Session
from reason_env.env import reason_env_of, recorders
from reason_env.snapshot import restore, snapshot

PREPARED_PROBLEMS = 8
"""Problems with which a preparation is measured."""
FIRST_SAMPLES = 8
"""Training samples of the first measured update; all of them follow if there is time."""
EVALUATED_PROBLEMS = 8
"""Problems with which an evaluation is measured where training samples in another way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes that a run needs."""

    weights: int
    gradients: int
    optimizer: int
    reference: int
    """The reference policy's weights; 0 without one, or if it is the policy without adapter."""
    kv_cache: int
    """Keys and values of a full batch at full length: an upper bound."""
    activations: int
    """Tensors kept for the backward pass of one micro-batch; 0 if nothing was trained on."""
    step_buffer: int = 0
    """Observations, masks and values of an iteration's steps (sb3-*); other methods keep none."""
    process_peak: int
    """Largest resident memory of this process so far."""
    device_peak: int | None
    """Largest memory that torch allocated on the CUDA device; None on a CPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The cost of one iteration, and of the run."""

    num_measured: int
    """Problems that were sampled."""
    num_problems: int
    """Problems of an iteration."""
    prompts: float
    """Different prompts of an iteration, guided ones included."""
    generated_tokens: float
    """Tokens of an iteration, with those that test a conservative update or measure problems."""
    trained_tokens: float
    """Tokens of an iteration that have a gradient, if every group has a signal."""
    signal_fraction: float | None
    """Training samples with an advantage other than 0, in the measurement; None if each token has
    an advantage of its own."""
    sampling_s: float
    """Seconds of an iteration."""
    update_s: float
    """Seconds of an iteration, if every group has a signal."""
    updates_per_iteration: int
    prepared_tokens: float
    """Tokens before the first iteration."""
    preparation_s: float
    evaluation_s: float
    """Seconds of one evaluation; 0 without evaluation problems."""
    num_evaluations: int
    iterations: int
    """Iterations of the run: as planned, or as many as its budget of tokens buys."""
    memory: Memory

    @property
    def iteration_s(self) -> float:
        """Seconds of one iteration, without evaluation."""
        return self.sampling_s + self.update_s

    @property
    def run_s(self) -> float:
        """Seconds of the whole run."""
        evaluations = self.num_evaluations * self.evaluation_s
        return self.preparation_s + self.iterations * self.iteration_s + evaluations

    @property
    def run_tokens(self) -> float:
        """Generated tokens of the whole run, without evaluation."""
        return self.prepared_tokens + self.iterations * self.generated_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class _Update:
    """The measured update."""

    seconds: float
    tokens: int
    activations: int
    tested_tokens: int
    """Tokens that a conservative update sampled for its test."""
    tested_s: float


def estimate(session: Session, *, seconds: float = 20.0) -> Estimate:
    """Measure what the session's run will cost; leaves the session as it was, to the bit.

    Args:
        session: Before its first iteration.
        seconds: Sampling and training take about as long each, or one problem's time if that is
            longer.

    Raises:
        ReasonEnvError: The run could not begin.
    """
    config = session.config
    check_budget(session)
    with restored(session):
        prepared_tokens, preparation_s, own = _prepared(session)
        found, number, sampling_s = _sampled(own, seconds)
        batch = found.batch
        samples = own.method.training_samples(batch.groups, own.rng("merging"))
        update = _updated(own, samples, seconds)
    scale = config.problems_per_iteration / number
    answered = sum(item.num_sampled_tokens for item in batch.trajectories)
    sampled = answered + found.problems.measured_tokens
    generated = scale * sampled
    all_tokens = sum(sum(sample.action_mask) for sample in samples)
    update_s = update.seconds * all_tokens / update.tokens if update.tokens else 0.0
    per_iteration = generated + update.tested_tokens
    iterations = _iterations(session, per_iteration, prepared_tokens)
    rate = sampling_s / max(1, sampled)
    mean = answered / max(1, len(batch.trajectories))
    num_active = sum(sample.has_signal for sample in samples)
    return Estimate(
        num_measured=number,
        num_problems=config.problems_per_iteration,
        prompts=scale * len({item.prompt_ids for item in batch.trajectories}),
        generated_tokens=per_iteration,
        trained_tokens=scale * all_tokens,
        signal_fraction=num_active / len(samples) if samples else 0.0,
        sampling_s=scale * sampling_s,
        update_s=scale * update_s + update.tested_s,
        updates_per_iteration=config.learner.epochs * config.learner.updates_per_iteration,
        prepared_tokens=prepared_tokens,
        preparation_s=preparation_s,
        evaluation_s=_evaluation_responses(session) * mean * rate,
        num_evaluations=_num_evaluations(session, iterations),
        iterations=iterations,
        memory=_memory(session, update.activations),
    )


def estimate_agent(session: AgentSession) -> Estimate:
    """Measure what the run of an algorithm of Stable-Baselines3 will cost, by its first iteration.

    The session is used up: its iteration is trained on, and no metrics are kept.

    Args:
        session: Before its first iteration.

    Raises:
        ReasonEnvError: The run could not begin.
    """
    config, agent, method = session.config, session.agent, session.config.method
    assert isinstance(method, SB3Config), "an agent's"
    prepare(session)
    session.iteration = 1
    began = time.perf_counter()
    with _unrecorded(session):
        found = agent.collect(config.seed_of("sampling", 1))
    collected = time.perf_counter()
    if found.advantages is not None:
        agent.give_every_episode_a_signal()
    with _kept_tensors(list(agent.model.policy.parameters())) as kept:
        metrics = agent.update(config.seed_of("updates", 1), 0.0)
    ended = time.perf_counter()
    epochs, updates = method.num_updates
    iterations = _iterations(session, found.num_steps, 0.0)
    return Estimate(
        num_measured=config.problems_per_iteration,
        num_problems=config.problems_per_iteration,
        prompts=session.num_drawn,
        generated_tokens=found.num_steps,
        trained_tokens=int(metrics["update/tokens"] or 0),
        signal_fraction=None
        if found.advantages is None
        else sum(value != 0 for value in found.advantages) / len(found.advantages),
        sampling_s=collected - began,
        update_s=ended - collected,
        updates_per_iteration=epochs * updates,
        prepared_tokens=0.0,
        preparation_s=0.0,
        evaluation_s=_measured_evaluation(session),
        num_evaluations=_num_evaluations(session, iterations),
        iterations=iterations,
        memory=_agent_memory(session, kept.peak),
    )


def _iterations(session: RunSession, tokens: float, prepared_tokens: float) -> int:
    """Count the iterations of a run: as planned, or as many as its budget of tokens buys."""
    config = session.config
    if config.max_generated_tokens is None or tokens <= 0:
        return config.iterations
    left = max(1.0, config.max_generated_tokens - prepared_tokens)
    return min(config.iterations, math.ceil(left / tokens))


@contextmanager
def restored(session: Session) -> Generator[None]:
    """Restore weights, optimizer, method, wrappers and version of a session at the end.

    Meanwhile wrappers that record episodes write to no file.
    """
    policy, learner = session.policy, session.learner
    weights = [value.detach().clone() for value in learner.parameters]
    states = copy.deepcopy((learner.state_dict(), session.method.state_dict()))
    version = policy.policy_version
    stack = snapshot(session.env) if session.config.is_wrapped else None
    try:
        with _unrecorded(session):
            yield
    finally:
        with torch.no_grad():
            for value, before in zip(learner.parameters, weights, strict=True):
                value.copy_(before)
        learner.load_state_dict(states[0])
        session.method.load_state_dict(states[1])
        policy.mark_updated(version)
        if stack is not None:
            restore(session.env, stack)


@contextmanager
def _unrecorded(session: RunSession) -> Generator[None]:
    """Let wrappers that record episodes write to no file."""
    files = [(own, own.path) for own in recorders(session.env)]
    for own, _ in files:
        own.path = Path(os.devnull)
    try:
        yield
    finally:
        for own, path in files:
            own.path = path


def _part_of(session: Session, number: int) -> Session:
    """A session of the same objects whose iterations have fewer problems."""
    config = replace(session.config, problems_per_iteration=number, max_generated_tokens=None)
    part = replace(session, config=config, problem_ids=list(session.problem_ids))
    part.iteration = 1
    part.is_prepared = True
    return part


def _prepared(session: Session) -> tuple[float, float, Session]:
    """Prepare with a few problems: tokens and seconds for all, and the session of those chosen."""
    number = len(session.problem_ids)
    part = _part_of(session, session.config.problems_per_iteration)
    if session.method.prepared_responses(number):
        part.problem_ids = part.problem_ids[:PREPARED_PROBLEMS]
    scale = number / len(part.problem_ids)
    part.iteration, part.is_prepared = 0, False
    began = time.perf_counter()
    prepare(part)
    passed = time.perf_counter() - began
    part.iteration = 1
    return scale * part.sampled_tokens_total, scale * passed, part


def _sampled(session: Session, seconds: float) -> tuple[Collected, int, float]:
    """Sample 1, 2, 4, ... problems until it takes about half the time, or they are all."""
    most = session.config.problems_per_iteration
    number = 1
    # Problems that a method measures when they are first drawn are measured in every part.
    memory = copy.deepcopy(session.method.state_dict())
    while True:
        session.method.load_state_dict(memory)
        part = _part_of(session, number)
        began = time.perf_counter()
        found = collect_iteration(part)
        passed = time.perf_counter() - began
        if number == most or 4 * passed > seconds:
            return found, number, passed
        number = min(most, 2 * number)


def _updated(session: Session, samples: Sequence[TrainingSample], seconds: float) -> _Update:
    """Train on a few samples, and on all if there is time, as if each had a signal."""
    if not isinstance(session.learner, PairLearner):
        samples = [
            item if item.has_signal else replace(item, advantage=1.0 - 2.0 * (at % 2))
            for at, item in enumerate(samples)
        ]
    found = _Update(seconds=0.0, tokens=0, activations=0, tested_tokens=0, tested_s=0.0)
    count = min(FIRST_SAMPLES, len(samples))
    while count:
        part = samples[:count]
        began = time.perf_counter()
        with _kept_tensors(list(session.policy.model.parameters())) as kept:
            session.learner.update(part, np.random.default_rng(0))
        found = replace(
            found,
            seconds=time.perf_counter() - began,
            tokens=sum(sum(sample.action_mask) for sample in part),
            activations=kept.peak,
        )
        if count == len(samples) or found.seconds * len(samples) / count > seconds:
            break
        count = len(samples)
    if session.conservative is None or not samples:
        return found
    began = time.perf_counter()
    _, measured = session.conservative.update(
        samples,
        session.rng("updates"),
        problem_ids=session.method.trained_problems(session.problem_ids),
        seed=session.config.seed_of("conservative", 1),
    )
    passed = time.perf_counter() - began
    return replace(
        found,
        tested_tokens=int(measured["cpi/tokens_advantage"] or 0),
        tested_s=max(0.0, passed - found.seconds),
    )


class _Kept:
    """Counts the bytes of storages that autograd keeps; parameters excluded."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self.ignored = {value.untyped_storage().data_ptr() for value in parameters}
        self.counts: dict[int, int] = {}
        self.total = self.peak = 0

    def pack(self, tensor: Tensor) -> "_KeptTensor":
        """Count a tensor that is saved for the backward pass."""
        # An alias: to keep the output of an operation itself would be a circle of references.
        return _KeptTensor(tensor.detach(), self)

    def add(self, tensor: Tensor, change: int) -> None:
        """Count one reference more or less to a tensor's storage."""
        storage = tensor.untyped_storage()
        place = storage.data_ptr()
        if place in self.ignored:
            return
        before = self.counts.get(place, 0)
        self.counts[place] = before + change
        if 0 in (before, before + change):
            self.total += change * storage.nbytes()
        self.peak = max(self.peak, self.total)


class _KeptTensor:
    """A saved tensor; its end ends the count."""

    def __init__(self, tensor: Tensor, kept: _Kept) -> None:
        self.tensor, self.kept = tensor, kept
        kept.add(tensor, 1)

    def __del__(self) -> None:
        self.kept.add(self.tensor, -1)


@contextmanager
def _kept_tensors(parameters: Sequence[Tensor]) -> Generator[_Kept]:
    kept = _Kept(parameters)
    with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda saved: saved.tensor):
        yield kept


def _evaluation_ids(session: RunSession) -> list[str]:
    if session.eval_env is None:
        return []
    problems = reason_env_of(session.eval_env).problems
    return [problem.problem_id for problem in problems][: session.config.eval.num_problems]


def _evaluation_responses(session: Session) -> int:
    own = session.config.eval
    return len(_evaluation_ids(session)) * (own.samples + own.greedy)


def _measured_evaluation(session: RunSession) -> float:
    """Seconds of one evaluation, from its first problems; 0 without evaluation problems."""
    ids, config = _evaluation_ids(session), session.config
    if session.eval_env is None:
        return 0.0
    part = ids[:EVALUATED_PROBLEMS]
    began = time.perf_counter()
    seed = config.seed_of("evaluation", 0)
    evaluate(session.policy, session.eval_env, part, config=config.eval, seed=seed)
    return (time.perf_counter() - began) * len(ids) / len(part)


def _num_evaluations(session: RunSession, iterations: int) -> int:
    every = session.config.eval.every
    between = (iterations - 1) // every if every else 0
    return 0 if session.eval_env is None else 2 + between


def _memory(session: Session, activations: int) -> Memory:
    policy, learner, config = session.policy, session.learner, session.config
    trained = sum(value.numel() for value in learner.parameters)
    gradients = sum(value.numel() * value.element_size() for value in learner.parameters)
    reference: Any = learner.ref_policy
    rows = session.method.planned_responses * config.problems_per_iteration
    return Memory(
        weights=_bytes_of(policy.model),
        gradients=gradients,
        # AdamW: two moments of each trained weight.
        optimizer=2 * gradients if trained else 0,
        reference=0
        if reference is None or reference.model is policy.model
        else _bytes_of(reference.model),
        kv_cache=_kv_cache(session, rows),
        activations=activations,
        process_peak=_process_peak(),
        device_peak=_device_peak(session),
    )


def _agent_memory(session: AgentSession, activations: int) -> Memory:
    """Count the bytes of an agent: collecting keeps no keys and values, evaluation does."""
    model: Any = session.agent.model
    weights = _bytes_of(model.policy)
    arrays: list[Any] = list(model.rollout_buffer.__dict__.values())
    own = session.config.eval
    return Memory(
        weights=weights,
        gradients=weights,
        optimizer=2 * weights,
        reference=0,
        kv_cache=_kv_cache(session, len(_evaluation_ids(session)) * own.samples),
        activations=activations,
        step_buffer=sum(value.nbytes for value in arrays if isinstance(value, np.ndarray)),
        process_peak=_process_peak(),
        device_peak=_device_peak(session),
    )


def _kv_cache(session: RunSession, rows: int) -> int:
    """Bytes of the keys and values of a batch, of at most `rows` sequences of full length."""
    batch = max(1, min(rows, session.config.max_batch_size))
    return batch * _longest(session) * _kv_bytes(session.policy.model)


def _process_peak() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    return peak if sys.platform == "darwin" else 1024 * peak


def _device_peak(session: RunSession) -> int | None:
    device = session.policy.device
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def _bytes_of(model: Any) -> int:
    return sum(value.numel() * value.element_size() for value in model.parameters())


def _longest(session: RunSession) -> int:
    """Tokens of the longest prompt and its response."""
    inner = reason_env_of(session.env)
    longest = max(inner.problems, key=lambda problem: len(problem.question))
    state = inner.initial_state(longest)
    return len(inner.prompt.token_ids(state)) + inner.rules.max_tokens


def _kv_bytes(model: Any) -> int:
    """Bytes of the keys and values of one token, in the type of the weights."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return 2 * config.num_hidden_layers * heads * size * model.dtype.itemsize
