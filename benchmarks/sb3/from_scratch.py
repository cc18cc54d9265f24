r"""MaskablePPO of Stable-Baselines3 from random weights: how long to 90 % success.

    OMP_NUM_THREADS=1 python -m benchmarks.sb3.from_scratch [--seed 0]
    OMP_NUM_THREADS=1 python -m benchmarks.sb3.from_scratch --survey

Design:

* The masks of a family allow what fits the form of its answer line, such as `#### \frac{-9}{2}`:
  the symbols, and any digit where the answer has one; of countdown the digits that are left. The
  easiest family is the one in which the uniform policy under these masks is right most often, since
  a reward that is never met teaches nothing. `--survey` measures it on levels 1 and 2: countdown.
* The agent has no base model: a network of one hidden layer over `DigitsLeft`, which names the
  target, the digits that are left and what is written, and calculates nothing.
* It trains on `countdown` of level 2, whose questions include those of level 1, and is evaluated on
  the test split of both levels. A test question is in no training set; but 147 of 150 have target
  and digits of a training question in another order, which the features do not show.
* Training episodes begin after `#### `, which the masks force anyway; test episodes do not.
* Every `EVERY` steps `EPISODES` test episodes are played, as the policy samples. At 90 % the policy
  is measured again on `CONFIRMED` episodes, and the run ends if that is at least 90 % too. It also
  ends after 600 s of CPU time on one thread, evaluations included.

The settings were chosen on seeds 100 and 101, which are not among the five.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.evaluation import evaluate_policy
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecMonitor
from torch import Tensor

from reason_env.agents.sb3 import TokenVecEnv
from reason_env.codec import ByteCodec
from reason_env.problem import Problem
from reason_env.problems import load_problems
from reason_env.state import ReasonState

SEEDS = (0, 1, 2, 3, 4)
TARGET, SECONDS, EVERY, EPISODES, CONFIRMED = 0.9, 600.0, 64_000, 200, 1000
NUM_ENVS, STEPS = 256, 1_200_000
SURVEYED = 20_000
BEGIN, END = "#### ", "\n"
DIGITS = "0123456789"
SYMBOLS = DIGITS + "+-*/"
WRITTEN = 5
"""Characters of an answer of three digits, `7*2+1`."""
TARGET_AT, DIGITS_AT = (0, 1), (8, 10, 12)
"""Places in an observation, which begins with `40 from 7 5 5`."""
WRITTEN_AT = len("40 from 7 5 5\n>" + BEGIN)

Form = Callable[[Problem, str], str]
"""(problem, what was written after `BEGIN`) -> the characters that may come next."""


def three_digits(problem: Problem, written: str) -> str:
    """`842`."""
    return DIGITS if len(written) < 3 else END


def number(problem: Problem, written: str) -> str:
    """`7` to `999`."""
    if not written:
        return DIGITS[1:]
    return DIGITS + END if len(written) < 3 else END


def fraction(problem: Problem, written: str) -> str:
    r"""`\frac{-29}{2}`."""
    head = r"\frac{"
    if len(written) < len(head):
        return head[len(written)]
    top, closed, bottom = written[len(head) :].partition("}")
    digits = top.removeprefix("-")
    if closed:
        return "{" if not bottom else ("23456789", "}", END)[len(bottom) - 1]
    if not digits:
        return DIGITS[1:] if top else "-" + DIGITS[1:]
    return DIGITS + "}" if len(digits) < 2 else "}"


def expression(problem: Problem, written: str) -> str:
    """`7*2+1`: one operation of any kind, then sums and differences, as the family tries them."""
    left = problem.question.split(" from ")[1].split()
    if len(written) == 2 * len(left) - 1:
        return END
    if len(written) % 2:
        return "+-*/" if len(written) == 1 else "+-"
    for digit in written[::2]:
        left.remove(digit)
    return "".join(sorted(set(left)))


FORMS: dict[str, Form] = {
    "chain": three_digits,
    "inverse": three_digits,
    "unlock": three_digits,
    "precedence": three_digits,
    "countdown": expression,
    "equation": fraction,
    "stories": number,
}


class FormMasks:
    """The ids that fit the form of a response."""

    def __init__(self, form: Form, codec: Any) -> None:
        self._form, self._codec = form, codec

    def __call__(self, state: ReasonState) -> Any:
        """The mask of a state, [vocab_size]."""
        written = state.text
        if len(written) < len(BEGIN):
            allowed = BEGIN[len(written)]
        else:
            allowed = self._form(state.problem, written[len(BEGIN) :])
        mask = np.zeros(self._codec.vocab_size, dtype=np.bool_)
        mask[list(self._codec.encode(allowed))] = True
        return mask


class DigitsLeft(BaseFeaturesExtractor):
    """Target, digits that are left and characters written, as ones and counts.

    Axis letters: B observations, N symbols.
    """

    def __init__(self, observation_space: gym.Space[Any]) -> None:
        super().__init__(observation_space, 2 * 10 + 10 + WRITTEN * len(SYMBOLS))
        ids = torch.tensor(list(SYMBOLS.encode("ascii")))
        self.register_buffer("symbols_N", ids)
        self.symbols_N: Tensor

    def _ones(self, ids: Tensor) -> Tensor:
        """One for the symbol of each id; none for ids that are no symbols."""
        return (ids[..., None] == self.symbols_N).float()

    def forward(self, observations: Tensor) -> Tensor:
        """Compute the features, [B, 100]."""
        ids = observations.long()
        target = self._ones(ids[:, TARGET_AT])[..., :10]
        written = self._ones(ids[:, WRITTEN_AT : WRITTEN_AT + WRITTEN])
        given = self._ones(ids[:, DIGITS_AT])[..., :10].sum(dim=1)
        left = given - written[..., :10].sum(dim=1)
        return torch.cat((target.flatten(1), left, written.flatten(1)), dim=1)


SETTINGS: dict[str, Any] = {
    "n_steps": 12,
    "batch_size": 768,
    "n_epochs": 4,
    "gamma": 1.0,
    "gae_lambda": 0.95,
    "learning_rate": lambda left: 2e-3 * left,
    "normalize_advantage": False,
    "policy_kwargs": {
        "features_extractor_class": DigitsLeft,
        "net_arch": [256],
        "activation_fn": torch.nn.ReLU,
    },
}
ENTROPY = 0.03
"""Weight of the entropy at the beginning; falls to 0 with the steps, as the learning rate does."""


def begun(state: ReasonState) -> ReasonState:
    """Start after `BEGIN`."""
    return state.extend(state.codec.encode(BEGIN), source="reset")


def environments(
    family: str, split: str, *, levels: tuple[int, int], size: int, is_begun: bool = False
) -> TokenVecEnv:
    """Make the environments."""
    codec = ByteCodec()
    problems = load_problems(family, split=split, levels=levels, size=size)
    longest = max(len(codec.encode(problem.question)) for problem in problems)
    return TokenVecEnv.make(
        NUM_ENVS,
        starts=(begun,) if is_begun else (),
        masks=FormMasks(FORMS[family], codec),
        problems=problems,
        max_tokens=32,
        max_prompt_tokens=longest + len("\n>"),
    )


class UntilTarget(BaseCallback):
    """Evaluates at intervals, and stops at the target or when the time is over."""

    def __init__(self, envs: TokenVecEnv) -> None:
        super().__init__()
        self.envs = envs
        self.next, self.began, self.seconds = EVERY, time.process_time(), 0.0
        self.rates: list[float] = []
        self.confirmed: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether the target is reached, or the time is over."""
        return self.seconds >= SECONDS or self.confirmed is not None

    def success(self, episodes: int) -> float:
        """Measure the success of the policy as it samples."""
        model: Any = self.model
        found: Any = evaluate_policy(
            model, self.envs, n_eval_episodes=episodes, deterministic=False, warn=False
        )
        return float(found[0])

    def _on_step(self) -> bool:
        return not self.is_over

    def _on_rollout_start(self) -> None:
        model: Any = self.model
        model.ent_coef = ENTROPY * max(0.0, 1.0 - self.num_timesteps / STEPS)
        if self.num_timesteps < self.next:
            return
        self.next += EVERY
        self.rates.append(self.success(EPISODES))
        if self.rates[-1] >= TARGET:
            again = self.success(CONFIRMED)
            self.confirmed = again if again >= TARGET else None
        self.seconds = time.process_time() - self.began


def run(seed: int) -> UntilTarget:
    """Train until the target; return what was measured."""
    envs = environments("countdown", "train", levels=(2, 2), size=1230, is_begun=True)
    model = MaskablePPO("MlpPolicy", VecMonitor(envs), seed=seed, device="cpu", **SETTINGS)
    callback = UntilTarget(environments("countdown", "test", levels=(1, 2), size=150))
    model.learn(STEPS, callback=callback)
    return callback


def uniform_success(family: str, episodes: int) -> float:
    """Measure the success of the uniform policy under the masks of the form."""
    envs = environments(family, "train", levels=(1, 2), size=1000, is_begun=True)
    envs.seed(0)
    envs.reset()
    rng = np.random.default_rng(0)
    num_ended = num_right = 0
    while num_ended < episodes:
        masks = np.stack(envs.env_method("action_masks"))
        chances = rng.random(masks.shape) * masks
        _, _, dones, infos = envs.step(chances.argmax(axis=1))
        num_ended += int(dones.sum())
        num_right += sum(info.get("is_success", False) for info in infos)
    return num_right / num_ended


def main() -> int:
    """Print the time and the steps of each seed, or the survey."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="only this seed")
    parser.add_argument("--survey", action="store_true", help="measure the uniform policy")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.survey:
        for family in FORMS:
            print(f"{family:<12} {uniform_success(family, SURVEYED):.4f}", flush=True)
        return 0
    is_good = True
    for seed in SEEDS if given.seed is None else (given.seed,):
        began = time.perf_counter()
        found = run(seed)
        is_good = is_good and found.confirmed is not None
        success = found.rates[-1] if found.confirmed is None else found.confirmed
        print(
            f"seed {seed}: success {success:.3f} after {found.num_timesteps:,} steps, "
            f"{found.seconds:.0f} s of CPU time and {time.perf_counter() - began:.0f} s",
            flush=True,
        )
    return 0 if is_good else 1


if __name__ == "__main__":
    raise SystemExit(main())
