"""Training: the live objects of a run, made from its config, and what one iteration does with them.

Collect, learn, count. Everything that a resumed run needs is in a checkpoint or follows from the
config's seed, so an object made from a checkpoint goes on as the one that wrote it would have.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from reason_env.agents.cpi import ConservativeUpdate
from reason_env.agents.engines import EngineConfig
from reason_env.agents.evaluate import EvalReport, evaluate
from reason_env.agents.learning import Learner, PairLearner, UpdateReport
from reason_env.agents.methods import Method, build_method
from reason_env.agents.metrics import Number
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.rollout import (
    RolloutBatch,
    Start,
    TrainingSample,
    Trajectory,
    advantage_metrics,
    collect,
    discarded_metrics,
    episode_rows,
    initial_states,
    merge_batches,
    mismatch_metrics,
    role_metrics,
    rollout_metrics,
    signal_metrics,
    source_metrics,
    trained_rows,
)
from reason_env.agents.runs import load_checkpoint
from reason_env.agents.train.cache import entry_path, read_entry, write_entry
from reason_env.agents.train.config import TrainConfig
from reason_env.agents.train.fingerprint import evaluation_fingerprint, preparation_fingerprint
from reason_env.agents.train.preparation import CountedCollect, OnPrepared
from reason_env.env import reason_env_of
from reason_env.errors import ModelError, VerifierError
from reason_env.state import ReasonState, is_over

NOTHING_SAMPLED: Mapping[str, Number] = {
    "rollout/num_trajectories": 0,
    "rollout/num_groups": 0,
    "rollout/sampled_tokens": 0,
}
"""The metrics of an iteration that learns from what was sampled before it."""


class Training:
    """The live objects of one run, made from its config (and its newest checkpoint)."""

    def __init__(self, config: TrainConfig, *, checkpoint: Path | None = None) -> None:
        self.config = config
        loaded = None if checkpoint is None else load_checkpoint(checkpoint)
        place = config.model if loaded is None else str(loaded.model_dir)
        self.policy = self._policy(place, config.engine)
        self.env = config.env.make(self.policy.codec)
        self.eval_env = config.make_eval_env(self.policy.codec)
        self._check_context()
        checker = reason_env_of(self.env).problems.checker
        self.method: Method = build_method(
            config.method, checker, self._fits, lambda: preparation_fingerprint(config, self.policy)
        )
        self.learner = self._learner()
        self.conservative = self._conservative()
        self.iteration = 0
        self.sampled_tokens_total = 0
        self._is_prepared = False
        self.episodes: list[dict[str, Any]] = []
        """What is kept of the last iteration's episodes (`episode_rows`)."""
        if loaded is not None:
            self.learner.load_state_dict(loaded.learner_state)
            self.iteration = loaded.iteration
            self.sampled_tokens_total = loaded.progress["sampled_tokens_total"]
            self.policy.mark_updated(loaded.progress["policy_version"])
            self.method.load_state_dict(loaded.progress["method"])
        self.problem_ids = [problem.problem_id for problem in reason_env_of(self.env).problems]

    @property
    def progress(self) -> dict[str, Any]:
        """What a checkpoint holds beside the weights and the optimizer."""
        return {
            "sampled_tokens_total": self.sampled_tokens_total,
            "policy_version": self.policy.policy_version,
            "method": self.method.state_dict(),
        }

    @property
    def is_over(self) -> bool:
        """True once no iteration is left, or the budget of generated tokens is reached."""
        budget = self.config.max_generated_tokens
        is_spent = budget is not None and self.sampled_tokens_total >= budget
        return self.iteration >= self.config.iterations or is_spent

    def prepare(
        self,
        *,
        on_prepared: OnPrepared = lambda done, planned, tokens: None,
        deadline: float | None = None,
    ) -> None:
        """Lets the method measure what it must before training, and choose its problems; once.

        The tokens of it are counted as training tokens: a budget that left them out would flatter
        the methods that search.

        Args:
            on_prepared: Told after every `STARTS_AT_ONCE` starts of a round.
            deadline: `time.monotonic()` after which nothing more is measured; None for none.

        Raises:
            ConfigError: It has spent the whole budget, or all the time.
        """
        if self._is_prepared:
            return
        states = initial_states(
            self.env, self.problem_ids, seed=self.config.seed_of("preparation", 0)
        )
        seeds = np.random.default_rng(self.config.seed_of("preparation", 1))
        counted = CountedCollect(
            lambda starts: self._collect_batch(starts, seeds),
            max_tokens=self.config.max_generated_tokens if self.iteration == 0 else None,
            max_minutes=self.config.max_minutes,
            deadline=deadline,
            on_prepared=on_prepared,
        )
        chosen = self.method.prepare(states, counted)
        counted.add(self.method.prepared_tokens)
        self.sampled_tokens_total += counted.sampled_tokens
        self.problem_ids = [state.problem.problem_id for state in chosen]
        self._is_prepared = True

    @property
    def problem_sets(self) -> dict[str, str]:
        """Content hashes of the training and evaluation problems."""
        sets = {"train": reason_env_of(self.env).problems.content_hash}
        if self.eval_env is not None:
            sets["eval"] = reason_env_of(self.eval_env).problems.content_hash
        return sets

    def evaluate(self) -> EvalReport | None:
        """Returns the evaluation of the policy as it is; None if there is nothing to evaluate on.

        Every evaluation of a run has the same problems and seed, so before and after are paired.
        """
        if self.eval_env is None:
            return None
        ids = [problem.problem_id for problem in reason_env_of(self.eval_env).problems]
        return evaluate(
            self.policy,
            self.eval_env,
            ids[: self.config.eval.num_problems],
            config=self.config.eval,
            seed=self.config.seed_of("evaluation", 0),
        )

    def first_metrics(self) -> Mapping[str, Number]:
        """Returns the metrics of the evaluation before training, from the cache where one is kept.

        Raises:
            ConfigError: Its entry is damaged.
        """
        folder = self.config.eval.cache_dir
        if folder is None or self.eval_env is None:
            return self._measured()
        problems = reason_env_of(self.eval_env).problems
        path = entry_path(folder, evaluation_fingerprint(self.config, self.policy, problems))
        known = read_entry(path)
        if known is None:
            known = self._measured()
            write_entry(path, known)
        return known

    def _measured(self) -> Mapping[str, Number]:
        report = self.evaluate()
        return {} if report is None else report.metrics

    def iterate(self) -> tuple[dict[str, Number], RolloutBatch]:
        """Collects and learns one iteration; returns its metrics and its episodes."""
        self.iteration += 1
        began = time.perf_counter()
        prefilled = self.policy.engine.num_prefill_tokens
        restarts = self.policy.engine.num_restarts
        batch = self._collect()
        collected = time.perf_counter()
        mismatch = mismatch_metrics(
            self.policy, batch.trajectories, self.config.sampling, self.config.engine.mismatch
        )
        self.sampled_tokens_total += sum(item.num_sampled_tokens for item in batch.trajectories)
        _check_verifier(batch.trajectories, self.config.max_ungraded_fraction)
        samples = self.method.training_samples(batch.groups, self._rng("merging"))
        if self.config.zero_advantages:
            samples = [replace(sample, advantage=0.0) for sample in samples]
        update: Mapping[str, Number] = {}
        if samples:
            report, tested = self._updated(samples, batch)
            update = {
                **report.metrics,
                **tested,
                **role_metrics(report.metrics_by_role),
                **source_metrics(report.metrics_by_source),
            }
        rows = trained_rows(batch.trajectories, samples)
        self.episodes = episode_rows(
            batch.trajectories,
            self.config.episodes_per_iteration,
            samples=samples,
            rows=rows,
            old_log_probs=self.learner.old_log_probs if samples else {},
        )
        ended = time.perf_counter()
        return {
            **(rollout_metrics(batch.groups) if batch.groups else NOTHING_SAMPLED),
            **self.method.metrics(batch.groups),
            **discarded_metrics(batch.trajectories, rows),
            "rollout/sampled_tokens_total": self.sampled_tokens_total,
            "rollout/prefilled_tokens": self.policy.engine.num_prefill_tokens - prefilled,
            "rollout/engine_restarts": self.policy.engine.num_restarts - restarts,
            **mismatch,
            **advantage_metrics(samples),
            **signal_metrics(samples),
            **update,
            "update/num_updates_total": self.policy.policy_version,
            "time/rollout_s": collected - began - batch.grading_s,
            "time/grade_s": batch.grading_s,
            "time/update_s": ended - collected,
            "time/iteration_s": ended - began,
        }, batch

    def _updated(
        self, samples: Sequence[TrainingSample], batch: RolloutBatch
    ) -> tuple[UpdateReport, Mapping[str, Number]]:
        """Trains on the samples, and puts the update to CPI's test where there is one."""
        if self.conservative is None:
            return self.learner.update(samples, self._rng("updates")), {}
        report, tested = self.conservative.update(
            samples,
            self._rng("updates"),
            problem_ids=self.problem_ids,
            seed=self.config.seed_of("conservative", self.iteration),
        )
        self.sampled_tokens_total += int(tested["cpi/tokens_advantage"] or 0)
        collected = sum(item.num_sampled_tokens for item in batch.trajectories)
        return report, {**tested, "cpi/tokens_candidate": collected}

    def _conservative(self) -> ConservativeUpdate | None:
        if self.config.cpi is None:
            return None
        return ConservativeUpdate(
            self.config.cpi,
            policy=self.policy,
            learner=self.learner,
            method=self.method,
            env=self.env,
            sampling=self.config.sampling,
        )

    def _collect(self) -> RolloutBatch:
        """Collects the planned batch, then whatever the method asks for after seeing rewards."""
        config = self.config
        ids = config.chosen(self.problem_ids, self.iteration)
        states = initial_states(self.env, ids, seed=config.seed_of("starts", self.iteration))
        rng, seeds = self._rng("starts"), self._rng("sampling")
        starts = self.method.plan(states, rng)
        batches: list[RolloutBatch] = []
        while starts:
            batches.append(self._collect_batch(starts, seeds))
            starts = self.method.follow_up(merge_batches(batches).groups, rng)
        return merge_batches(batches)

    def _collect_batch(self, starts: Sequence[Start], seeds: np.random.Generator) -> RolloutBatch:
        return collect(
            starts,
            env=self.env,
            policy=self.policy,
            sampling=self.config.sampling,
            seed=int(seeds.integers(2**62)),
        )

    def _check_context(self) -> None:
        """Raises before anything is written if a prompt and its response cannot fit the model."""
        inner = reason_env_of(self.env)
        longest = max(inner.problems, key=lambda problem: len(problem.question))
        prompt = len(inner.prompt.token_ids(inner.initial_state(longest)))
        if prompt + inner.rules.max_tokens > self.policy.context_length:
            raise ModelError(
                f"prompt and response must fit the model's {self.policy.context_length} tokens, "
                f"got {prompt} of {longest.problem_id!r} + max_tokens "
                f"{inner.rules.max_tokens}; lower max_tokens, or drop the problem"
            )

    def _fits(self, state: ReasonState) -> bool:
        """Returns whether the environment and the model can begin an episode there."""
        inner = reason_env_of(self.env)
        prompt = len(inner.prompt.token_ids(state))
        room = self.policy.context_length - inner.rules.max_tokens
        return prompt <= min(inner.max_prompt_tokens, room) and not is_over(state, inner.rules)

    def _rng(self, stream: str) -> np.random.Generator:
        return np.random.default_rng(self.config.seed_of(stream, self.iteration))

    def _learner(self) -> Learner:
        config, method = self.config, self.method
        if method.pair_loss is not None:
            return PairLearner(
                self.policy,
                config.learner,
                pair_loss=method.pair_loss,
                ref_policy=self._policy(config.model),
                temperature=config.sampling.temperature,
            )
        losses = (method.loss, *method.role_losses.values())
        needs_reference = any(loss.kl_coefficient > 0 for loss in losses)
        return Learner(
            self.policy,
            config.learner,
            loss=method.loss,
            role_losses=method.role_losses,
            ref_policy=self._policy(config.model) if needs_reference else None,
            temperature=config.sampling.temperature,
            max_response_tokens=reason_env_of(self.env).rules.max_tokens,
        )

    def _policy(self, place: str, engine: EngineConfig | None = None) -> LanguageModelPolicy:
        """Returns the policy of a model; a reference policy samples nothing and needs no engine."""
        config = self.config
        return LanguageModelPolicy.load(
            place,
            device=config.device,
            dtype=config.dtype,
            max_batch_size=config.max_batch_size,
            engine=engine,
        )


def _check_verifier(trajectories: Sequence[Trajectory], max_fraction: float) -> None:
    failed = sum(not item.is_graded for item in trajectories)
    if failed > max_fraction * len(trajectories):
        raise VerifierError(
            f"the verifier must grade most responses, got {failed} of {len(trajectories)} failed; "
            "see `reason` in the run's episodes, or raise max_ungraded_fraction"
        )
