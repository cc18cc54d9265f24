"""Speed of the native token-level vector environment, compared with SyncVectorEnv.

    python -m benchmarks.environments.wrapper_vector [--quick]

Runs 256 episodes on one thread and measures CPU time, because the machine may be shared. The two
environments take turns; the ratio is the median of the ratios within each turn. The claim is a
ratio of at least 20 in every row.

The native environment caches the prompts of the problems that it has drawn (`reset_cache.py`). The
set has 500 problems, all of which it has drawn after the first turn. "new" is the ratio, in the
same turns, of a new native environment, which has cached at most the problems of its first 256
episodes.

* "letters" ends no step and no episode before the budget does; "random" draws any id.
* "reference" sends each problem's reference solution token by token: about every 9th token ends a
  reasoning step, and every episode is graded and reset within the 60 steps.
* "latex" sends lines with backslashes, so that the environment must inspect the end of every step,
  and then a boxed answer.

Codecs: "bytes" is the built-in one; "tokenizer" is a Hugging Face byte-level BPE of 400 ids trained
on the family's text. Widths: the default observation has 1,536 ids; 384 also fits the chain family.
"""

import argparse
import statistics
import time
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import gymnasium as gym
import numpy as np

from reason_env.codec import ByteCodec, Codec, HuggingFaceCodec
from reason_env.env import ReasonEnv
from reason_env.problem import ProblemSet
from reason_env.problems import load_problems, reference_response
from reason_env.vector_env.vector_env import ReasonVectorEnv

NUM_ENVS = 256
NUM_STEPS = 60
TURNS = 5
LATEX = "\\frac{1}{2}+\\sqrt{4}=x\n"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The setting of one row."""

    actions: str
    mode: str
    width: int = 1536
    codec: str = "bytes"


ACTIONS = ("letters", "reference", "latex", "random")
SETTINGS = tuple(
    Setting(codec=codec, width=width, actions=actions, mode=mode)
    for (codec, width), actions, mode in product(
        (("bytes", 1536), ("bytes", 384), ("tokenizer", 1536)), ACTIONS, ("NextStep", "SameStep")
    )
)
QUICK = tuple(
    Setting(codec=codec, actions=actions, mode="SameStep")
    for codec, actions in product(("bytes", "tokenizer"), ACTIONS)
)


def codec_of(name: str, problems: ProblemSet) -> Codec:
    """Return the built-in codec, or train a tokenizer on the problems."""
    if name == "bytes":
        return ByteCodec()
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer: Any = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [f"{problem.question}\n{reference_response(problem)}" for problem in problems]
    tokenizer.train_from_iterator(texts, trainer)
    return HuggingFaceCodec(
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>")
    )


def script(setting: Setting, envs: ReasonVectorEnv, seed: int) -> list[np.ndarray[Any, Any]]:
    """Build the actions of a run; "reference" and "latex" fit the first episodes."""
    rng = np.random.default_rng(seed)
    size = (NUM_STEPS, NUM_ENVS)
    codec = envs.env.codec
    letters = np.array([codec.encode(letter)[0] for letter in "abcdefghijklmnopqrstuvwxyz"])
    if setting.actions == "letters":
        return list(letters[rng.integers(0, 26, size=size)])
    if setting.actions == "random":
        return list(rng.integers(0, codec.vocab_size, size=size))
    ids = np.full(size, letters[0])
    for column, state in enumerate(envs.states):
        if setting.actions == "latex":
            text = LATEX * 2 + f"so \\boxed{{{state.problem.answer}}}\n"
            shift = int(rng.integers(len(LATEX)))
        else:
            text, shift = reference_response(state.problem) + "\n", 0
        tokens = codec.encode(text[shift:])[-NUM_STEPS:]
        ids[: len(tokens), column] = tokens
    return list(ids)


def seconds(
    envs: gym.vector.VectorEnv[Any, Any, Any], actions: list[np.ndarray[Any, Any]]
) -> float:
    """Measure the CPU time of the steps, without the reset."""
    envs.reset(seed=0)
    begin = time.process_time()
    for action in actions:
        envs.step(action)
    return time.process_time() - begin


def run(setting: Setting) -> dict[str, float]:
    """Measure the median time of a vector step of each, in microseconds, and the median ratios."""
    problems = load_problems("chain", size=500)
    max_tokens = 256 if setting.width == 384 else 512
    given: dict[str, Any] = {
        "codec": codec_of(setting.codec, problems),
        "max_tokens": max_tokens,
        "max_prompt_tokens": setting.width - max_tokens,
        "granularity": "token",
        "format": "tokens",
    }
    own = ReasonVectorEnv(NUM_ENVS, problems=problems, autoreset_mode=setting.mode, **given)
    modes = {mode.value: mode for mode in gym.vector.AutoresetMode}
    make = partial(ReasonEnv, problems, **given)
    other = gym.vector.SyncVectorEnv([make] * NUM_ENVS, autoreset_mode=modes[setting.mode])
    own.reset(seed=0)
    actions = script(setting, own, seed=1)
    turns: list[tuple[float, float, float]] = []
    for _ in range(TURNS):
        new = ReasonVectorEnv(NUM_ENVS, problems=problems, autoreset_mode=setting.mode, **given)
        turns.append((seconds(own, actions), seconds(other, actions), seconds(new, actions)))
    native, sync = (
        1e6 * statistics.median(column) / NUM_STEPS for column in list(zip(*turns, strict=True))[:2]
    )
    return {
        "native_us": native,
        "sync_us": sync,
        "ratio": statistics.median(theirs / ours for ours, theirs, _ in turns),
        "new": statistics.median(theirs / first for _, theirs, first in turns),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="only eight rows")
    settings = QUICK if parser.parse_args().quick else SETTINGS
    print("codec     width actions   autoreset   native us   sync us  ratio   new  native steps/s")
    ratios: list[float] = []
    for setting in settings:
        row = run(setting)
        ratios.append(row["ratio"])
        print(
            f"{setting.codec:<9} {setting.width:>5} {setting.actions:<9} {setting.mode:<9} "
            f"{row['native_us']:>11.0f} {row['sync_us']:>9.0f} {ratios[-1]:>6.1f} "
            f"{row['new']:>5.1f} {1e6 * NUM_ENVS / row['native_us']:>15.0f}",
            flush=True,
        )
    print(f"smallest ratio {min(ratios):.1f}")


if __name__ == "__main__":
    main()
