# pyright: reportMissingImports=false
# trl is in the environment of `make test-interop` only.
"""TRL: a stack of wrappers around the environment as the rollouts of its `GRPOTrainer`.

TRL asks for completions by a function, `rollout_func`, and trains what the function returns. Here
the function resets the stack to the problems that TRL has drawn, samples, steps the stack, and
returns prompt, response and return. A response that begins in the middle of a chain is whole, and
TRL's `env_mask` is 0 on the tokens that the policy did not sample: they are read, and not trained.

Without vLLM, TRL takes every completion for a sample of the weights that it trains, and ignores the
log-probabilities that a rollout reports. So this trains each token under the prompt that it was
sampled under, by the temperature that it was sampled with, and refuses settings by which that would
not hold. Prefixes and resets fit, hints stay in the prompt; methods that train under another prompt
than they sample under (LTE, ExPO) do not. The number of completions of a problem is TRL's.

Not covered: vLLM, adapters, models whose weights are divided among processes.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from itertools import groupby
from typing import Any

import gymnasium as gym
import numpy as np

from reason_env.agents.engines import SamplingConfig
from reason_env.agents.integrations.installed import check_installed
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.rollout import DrawnStart, Start, collect, initial_starts, training_sample
from reason_env.codec import ByteCodec, Codec, HuggingFaceCodec
from reason_env.env import chooses_problems, reason_env_of
from reason_env.errors import ConfigError, shown

check_installed("trl", "datasets", extra="trl")

from datasets import Dataset  # noqa: E402 - after the check

FIXED: Mapping[str, tuple[object, str]] = {
    "use_vllm": (False, "the policy samples with this project's engine"),
    "min_p": (None, "give temperature, top_p or top_k"),
    "repetition_penalty": (1.0, "give temperature, top_p or top_k"),
    "generation_kwargs": (None, "give temperature, top_p or top_k"),
    "mask_truncated_completions": (
        False,
        "a response ends with its answer, not with an end token; the reward of a truncated one is "
        "the environment's",
    ),
}
"""Setting of TRL -> the value that it must have, and why or what to do instead."""
WHOLE = ("NO", "MULTI_CPU", "MULTI_GPU")
"""Accelerate's ways to distribute in which every process has all weights."""


def trainer_arguments(
    env: gym.Env[Any, Any], codec: Codec, args: Any, *, seed: int = 0
) -> dict[str, Any]:
    """Give the arguments of a `GRPOTrainer` that trains in a stack.

    Args:
        env: Any stack on a `ReasonEnv` with format "tokens" at granularity "response".
        codec: The policy's, which is the environment's too.
        args: The trainer's `GRPOConfig`. Temperature, top_p and top_k are those of sampling.
        seed: Seed of the starts and of sampling.

    Raises:
        ConfigError: A setting would train other tokens than were sampled, the environment's
            responses do not fit, it has another codec, or its wrappers choose problems.
    """
    rollout = Rollout(env, codec, args, seed=seed)
    ids = [problem.problem_id for problem in reason_env_of(env).problems]
    return {
        "rollout_func": rollout,
        "reward_funcs": [episode_return],
        "train_dataset": Dataset.from_list([{"prompt": own} for own in ids]),
        "processing_class": tokenizer_of(codec),
    }


class Rollout:
    """A `rollout_func`; `trainer_arguments` makes one."""

    def __init__(self, env: gym.Env[Any, Any], codec: Codec, args: Any, *, seed: int) -> None:
        _check_settings(args)
        inner = reason_env_of(env, format="tokens")
        if inner.codec.codec_id != codec.codec_id:
            raise ConfigError(
                f"env and codec must agree, got {inner.codec.codec_id!r} and {codec.codec_id!r}; "
                "make the env with codec=policy.codec"
            )
        if inner.rules.max_tokens > args.max_completion_length:
            raise ConfigError(
                f"max_completion_length must hold the environment's {inner.rules.max_tokens} "
                f"tokens of a response, got {args.max_completion_length!r}; give the environment's "
                "max_tokens"
            )
        if chooses_problems(env):
            raise ConfigError(
                "the wrappers must leave the choice of problems to TRL, got a stack that chooses "
                "them; leave the wrapper out"
            )
        self._env = env
        self._codec = codec
        self._seed = seed
        self._sampling = SamplingConfig(
            temperature=args.temperature, top_p=args.top_p, top_k=args.top_k
        )
        self._at: tuple[int, bool] = (-1, True)
        self._number = 0

    def __call__(self, prompts: Sequence[str], trainer: Any) -> dict[str, list[Any]]:
        """Sample an episode for each prompt, which is a problem's id; equal ones are neighbours.

        Completions of one problem begin in one state, on every process that has some of them.

        Raises:
            ConfigError: The trainer has an adapter, or divides the weights among processes.
        """
        _check_trainer(trainer)
        step = self._begin(trainer)
        runs = [(name, len(list(own))) for name, own in groupby(prompts)]
        drawn = [self._drawn(name, step) for name, _ in runs]
        starts = [
            Start(
                state=one.state,
                num_samples=count,
                learn_from=one.state,
                group=f"{draw}:{name}",
                draw=draw,
            )
            for draw, ((name, count), one) in enumerate(zip(runs, drawn, strict=True))
        ]
        model = trainer.accelerator.unwrap_model(trainer.model)
        was_training = model.training
        # Not kept between calls: an engine may hold copies of weights, which TRL changes.
        policy = LanguageModelPolicy(model, self._codec, device=str(trainer.accelerator.device))
        try:
            found = collect(
                starts,
                env=self._env,
                policy=policy,
                sampling=self._sampling,
                # Processes that share a group sample different completions of it.
                seed=_derived(self._seed, *step, trainer.accelerator.process_index),
                drawn=drawn,
            )
        finally:
            model.train(was_training)
        rows = [training_sample(item, 0.0) for item in found.trajectories]
        return {
            "prompt_ids": [list(row.context_ids) for row in rows],
            "completion_ids": [list(row.token_ids) for row in rows],
            "logprobs": [list(row.behavior_log_probs) for row in rows],
            "env_mask": [[int(own) for own in row.action_mask] for row in rows],
            "episode_return": [
                item.episode_return if item.is_graded else None for item in found.trajectories
            ],
            "is_success": [float(item.is_success) for item in found.trajectories],
        }

    def _begin(self, trainer: Any) -> tuple[int, int, int]:
        """Number this call: TRL's step, whether it evaluates, and which call of that step it is.

        A run that TRL resumes at a step therefore draws what it would have drawn.
        """
        at = (int(trainer.state.global_step), bool(trainer.model.training))
        self._number = self._number + 1 if at == self._at else 0
        self._at = at
        return at[0], int(not at[1]), self._number

    def _drawn(self, problem_id: str, step: Sequence[int]) -> DrawnStart:
        """Draw a start by the problem and the step alone, so that all processes draw the same."""
        name = int.from_bytes(sha256(problem_id.encode()).digest()[:8], "big")
        (one,) = initial_starts(self._env, [problem_id], seed=_derived(self._seed, *step, name))
        return one


def episode_return(
    completions: Sequence[Any],
    episode_return: Sequence[float | None],
    is_success: Sequence[float],
    **others: Any,
) -> list[float | None]:
    """Give the environment's returns as TRL's rewards; None, which TRL leaves out, if left out.

    Logs `success`, the fraction of right answers.
    """
    del completions
    others["log_metric"]("success", sum(is_success) / len(is_success))
    return list(episode_return)


def tokenizer_of(codec: Codec) -> Any:
    """Give a codec's tokenizer, as TRL needs one; one that decodes bytes for the built-in codec."""
    if isinstance(codec, HuggingFaceCodec):
        return codec.tokenizer
    if not isinstance(codec, ByteCodec):
        raise ConfigError(
            f"the codec must be a tokenizer's or the built-in one, got {shown(codec.codec_id)}; "
            "load the policy with LanguageModelPolicy.load"
        )
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    names = [*(f"<0x{byte:02X}>" for byte in range(codec.pad_id)), "<pad>", "<end>"]
    tokenizer = Tokenizer(models.WordLevel({name: at for at, name in enumerate(names)}, "<pad>"))
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>", padding_side="left"
    )


def _check_settings(args: Any) -> None:
    for name, (value, advice) in FIXED.items():
        given = getattr(args, name)
        if given != value:
            raise ConfigError(f"{name} must be {value!r}, got {shown(given)}; {advice}")
    if not args.temperature > 0:
        raise ConfigError(
            f"temperature must be above 0, got {args.temperature!r}; greedy completions of a "
            "problem are all equal"
        )


def _check_trainer(trainer: Any) -> None:
    way = trainer.accelerator.distributed_type.name
    if way not in WHOLE:
        raise ConfigError(
            f"every process must have all weights, got {way}; train with one process, or with DDP"
        )
    if hasattr(trainer.accelerator.unwrap_model(trainer.model), "peft_config"):
        raise ConfigError(
            "the trainer must train all weights, got an adapter; leave peft_config out, or train "
            "with reason-env train --lora.rank"
        )


def _derived(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
