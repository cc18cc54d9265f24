"""ReasonEnv: the Gymnasium shell around `state.transition`. It holds one state and no logic.

One problem, three MDPs (`granularity`) in two forms (`format`): the same tokens give the same
return, the same end and the same state in all six.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded

from reason_env.codec import Codec, load_codec
from reason_env.env.actions import Action, Format, Granularity, Layout, Observation
from reason_env.env.arguments import built, commits, grade_options, longest, problem_set
from reason_env.env.info import info_of, rendered
from reason_env.env.observation import Screen
from reason_env.env.reward import RewardConfig
from reason_env.env.saved import StateReader, settings_of
from reason_env.env.start import RESET_OPTIONS, STARTS_OPTION, Starts
from reason_env.errors import ActionError, ConfigError, RenderModeError
from reason_env.problem import Problem, ProblemSet
from reason_env.snapshot import (
    Commit,
    LazyGenerator,
    Settings,
    checked_rng,
    pack_state,
    rng_to_json,
)
from reason_env.state import (
    EpisodeRules,
    PromptTemplate,
    ReasonState,
    graded,
    is_truncated,
    transition,
)
from reason_env.verify import GradeOptions, grade

__all__ = ["RESET_OPTIONS", "STARTS_OPTION", "Action", "Observation", "ReasonEnv", "commits"]


class ReasonEnv(gym.Env[Any, Any]):
    r"""Reasoning about one problem an episode, as a resettable MDP.

    An episode is `terminated` when an answer is graded and `truncated` when a budget ends it,
    never both. Reward comes from the verdict alone (`RewardConfig`); `info["success"]` is apart
    from it. An empty action ends the response as the end token would.

    >>> import gymnasium as gym, reason_env
    >>> env = gym.make("MathReason-v0", problems="chain", split="test", levels=(2, 2))
    >>> obs, info = env.reset(seed=0, options={"problem": "chain/test/0"})
    >>> print(obs)
    x=8 y=8 z=2
    B:y*4 C:y-8
    >
    >>> obs, reward, terminated, truncated, info = env.step("B:8*4 y=2\n")
    >>> obs, reward, terminated, truncated, info = env.step("C:2-8 y=4\n#### 842\n")
    >>> reward, terminated, truncated, info["outcome"]
    (1.0, True, False, 'correct')

    Spaces:
        * Actions in text are strings of any number of tokens or steps; in tokens, one id
          (`Discrete`) at token granularity, else any sequence of ids. At response granularity an
          action also ends the response.
        * Observations in text are prompt and response; in tokens int32 ids of the same,
          [max_prompt_tokens + max_tokens], right-padded with the codec's pad id.

    Info, at every reset and step: `problem_id`, `level`, `outcome` ("open", "truncated" or an
    `Outcome`), `success`, `extracted` (the answer read from the response, "" if none), `reason`,
    `num_tokens`, `num_steps`, `privileged_context` (the guidance that is shown, "" if none).
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi"], "render_fps": 4}  # pyright: ignore[reportIncompatibleVariableOverride]
    _np_random: Any = LazyGenerator()

    def __init__(
        self,
        problems: str | Path | ProblemSet = "chain",
        *,
        split: str = "train",
        size: int | None = None,
        levels: Sequence[int] | None = None,
        problem_seed: int = 0,
        granularity: Granularity = "step",
        format: Format = "text",  # noqa: A002 - the public name
        codec: str | Codec = "bytes",
        step_delimiter: str = "\n",
        prompt: PromptTemplate | Mapping[str, Any] | None = None,
        max_tokens: int = 512,
        max_steps: int = 64,
        max_prompt_tokens: int = 1024,
        stop_at_answer: bool = True,
        reward: RewardConfig | Mapping[str, Any] | None = None,
        render_mode: str | None = None,
        grading: str | GradeOptions | Mapping[str, Any] = "strict",
        columns: Mapping[str, str] | None = None,
        allow_ungradable: bool = False,
    ) -> None:
        """Makes the environment; everything that can be wrong is found here.

        Args:
            problems: A family, "gsm8k:PATH", "hub:NAME", a file, or a `ProblemSet`.
            split: Which split of a family or hub set.
            size: Number of problems; all (files) or the family's default where None.
            levels: Lowest and highest level, both included.
            problem_seed: Chooses a family's problems.
            granularity: What one action is: a token, a reasoning step, or the whole response.
            format: "text" (str) or "tokens" (ids; nothing is ever tokenised twice).
            codec: "bytes", the directory or hub name of a Hugging Face tokenizer, or a codec.
            step_delimiter: The text that ends a reasoning step (for a codec given by name).
            prompt: The prompt template, or its fields.
            max_tokens: Tokens of a response before it is truncated, prefixes included.
            max_steps: Reasoning steps of a response before it is truncated.
            max_prompt_tokens: Room for the prompt in token observations; a longer one is refused.
            stop_at_answer: End with the first closed step after which an answer stands.
            reward: The reward of each outcome, or its fields.
            render_mode: "ansi" or None.
            grading: A preset of `verify.PRESETS` by name ("strict" forgives nothing), or
                `GradeOptions`, or its fields.
            columns: Problem field -> column, of files and hub sets; see `load_problems`.
            allow_ungradable: Keep rows whose reference answer does not grade as correct against
                itself; they are listed in a warning.
        """
        if render_mode not in (None, "ansi"):
            raise RenderModeError(f"render_mode must be 'ansi' or None, got {render_mode!r}")
        self.layout = Layout(granularity=granularity, format=format)
        self.rules = EpisodeRules(
            max_tokens=max_tokens, max_steps=max_steps, stop_at_answer=stop_at_answer
        )
        self.codec: Codec = (
            load_codec(codec, step_delimiter=step_delimiter) if isinstance(codec, str) else codec
        )
        if step_delimiter not in ("\n", self.codec.step_delimiter):
            raise ConfigError(
                f"step_delimiter must be the codec's {self.codec.step_delimiter!r}, got "
                f"{step_delimiter!r}; make the codec with it"
            )
        self.prompt = built(PromptTemplate, prompt)
        self.reward_config = built(RewardConfig, reward)
        self.max_prompt_tokens = max_prompt_tokens
        self.render_mode = render_mode
        self._screen = Screen(
            prompt=self.prompt,
            codec=self.codec,
            layout=self.layout,
            max_prompt_tokens=max_prompt_tokens,
            max_tokens=max_tokens,
        )
        self.grade_options = grade_options(grading)
        self.problems = problem_set(
            problems,
            split,
            size,
            levels,
            problem_seed,
            columns=columns,
            allow_ungradable=allow_ungradable,
        )
        self._reader = StateReader(self.problems, self.codec)
        self._starts = Starts(problems=self.problems, codec=self.codec, rules=self.rules)
        self._grade = partial(grade, options=self.grade_options)
        self._transition: Callable[..., ReasonState] = partial(
            transition,
            rules=self.rules,
            grade=self._grade,
            has_answer=commits,
        )
        self._state: ReasonState | None = None
        self._screen.checked(self.initial_state(longest(self.problems)))
        self.observation_space, self.action_space = self.layout.spaces(
            self.codec, self._screen.width
        )

    @property
    def state(self) -> ReasonState:
        """The current state: a value, which `reset(options={"state": ...})` takes back."""
        if self._state is None:
            raise ResetNeeded("call reset() before asking for the state")
        return self._state

    @property
    def num_prompt_tokens(self) -> int:
        """Tokens of the present state's prompt."""
        return len(self._screen.prompt_ids)

    def initial_state(self, problem: Problem) -> ReasonState:
        """Returns the state before the first token of `problem`'s response."""
        return ReasonState(problem=problem, codec=self.codec)

    def action_masks(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Returns which ids may be the next token, [vocab_size]: all but padding.

        The name is the one that sb3-contrib's `MaskablePPO` looks for.

        Raises:
            ActionError: Actions are not single ids (granularity "token", format "tokens").
        """
        if self.layout != Layout(granularity="token", format="tokens"):
            raise ActionError(
                f"action masks must have single ids as actions, got {self.layout.granularity!r} in "
                f"{self.layout.format!r}; make the env with granularity='token', format='tokens'"
            )
        mask = np.ones(self.codec.vocab_size, dtype=np.bool_)
        mask[self.codec.pad_id] = self.codec.pad_id == self.codec.eos_id
        return mask

    def after(
        self, state: ReasonState, tokens: Sequence[int], *, close: bool = False
    ) -> ReasonState:
        """Returns what follows `state` under this environment's rules; see `state.transition`."""
        return self._transition(state, tokens, close=close)

    def graded(self, state: ReasonState) -> ReasonState:
        """Returns the open state with this environment's verdict on it."""
        return graded(state, self._grade)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Starts an episode.

        Args:
            seed: Seeds the choice of problems, for this and later resets.
            options: {"problem": id} chooses the problem; {"state": s} starts from `s`, a
                `ReasonState` or its dict or JSON. Otherwise the problem is drawn uniformly.
                {"starts": functions}: each takes a state and returns the one to start from
                instead, the first seeing the initial state; this is how start wrappers act.

        Raises:
            ConfigError: An unknown option, or a state together with another one.
            StateError: A state of another problem set or codec, malformed, or already over.
            UnknownNameError: No such problem.
        """
        super().reset(seed=seed)
        state, prompt_ids = self.start(options or {}, lambda: self.np_random)
        self._state = state
        self._screen.show(state, prompt_ids)
        return self._screen.observation(), self.info_of(state)

    def start(
        self, options: Mapping[str, Any], rng: Callable[[], np.random.Generator]
    ) -> tuple[ReasonState, tuple[int, ...]]:
        """Returns the state that `reset` would begin with, and its prompt's ids; changes nothing.

        Args:
            options: As for `reset`.
            rng: Gives the generator that draws the problem; called only where one is drawn.

        Raises:
            ConfigError: As `reset`.
            StateError: As `reset`.
            UnknownNameError: As `reset`.
        """
        state = self._starts.chosen(options, rng)
        return state, self._screen.checked(state)

    def step(self, action: Action) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Takes one action; see `state.transition`.

        Raises:
            ActionError: The action is not of this format.
            CodecError: An id lies outside the vocabulary.
            StateError: The episode is over.
        """
        tokens = self.layout.tokens(action, self.codec)
        close = self.layout.granularity == "response" or not tokens
        state = self._state = self.after(self.state, tokens, close=close)
        self._screen.grow(state)
        terminated = state.verdict is not None
        truncated = is_truncated(state, self.rules)
        reward = self.reward_config.reward(state, self.rules)
        return self._screen.observation(), reward, terminated, truncated, self.info_of(state)

    def to_snapshot(self) -> dict[str, Any]:
        """Returns the state, the generator and the settings, JSON-able; see `snapshot`."""
        rng = ReasonEnv._np_random.as_text(self) or rng_to_json(self.np_random)
        return {
            "settings": self._settings.text,
            "state": None if self._state is None else pack_state(self._state),
            "rng": rng,
            "seed": self._np_random_seed,
        }

    def read_snapshot(self, data: dict[str, Any]) -> Commit:
        """Checks what `to_snapshot` wrote; returns what makes it this environment's state.

        Raises:
            StateError: It is of other problems or other settings, or malformed.
        """
        self._settings.check(data["settings"])
        rng, seed = checked_rng(data["rng"]), operator.index(data["seed"])
        state = None if data["state"] is None else self._reader.read_again(data["state"])
        prompt_ids = () if state is None else self._screen.checked(state)

        def commit() -> None:
            self._np_random, self._np_random_seed = rng, seed
            self._state = state
            if state is not None:
                self._screen.show(state, prompt_ids)

        return commit

    def unpacked(self, data: Any) -> ReasonState:
        """Returns the state that `packed.pack_state` wrote of one of this environment."""
        return self._reader.read(data)

    def render(self) -> str | None:
        """Returns question, guidance, numbered steps and verdict as text (mode "ansi")."""
        if self.render_mode is None:
            return None
        return rendered(self.state, self.rules)

    @cached_property
    def _settings(self) -> Settings:
        """Everything that decides what follows from a state, for comparison."""
        return settings_of(
            problems=self.problems,
            codec=self.codec,
            prompt=self.prompt,
            reward=self.reward_config,
            rules=self.rules,
            layout=self.layout,
            max_prompt_tokens=self.max_prompt_tokens,
        )

    def own_state(self, given: ReasonState | Mapping[str, Any] | str) -> ReasonState:
        """Returns the state that `given` is or describes, open or over, as one of this environment.

        Raises:
            StateError: It is malformed, or of another codec or problem set.
            UnknownNameError: No such problem.
        """
        return self._starts.own(given)

    def info_of(self, state: ReasonState) -> dict[str, Any]:
        """Returns the info that a reset to `state`, or a step that ends in it, gives."""
        return info_of(state, self.rules, self.prompt)


def reason_env_of(env: gym.Env[Any, Any], *, format: Format | None = None) -> ReasonEnv:  # noqa: A002
    """Return the `ReasonEnv` under a stack of wrappers.

    Args:
        env: The stack.
        format: If given, the format that the environment must have.

    Raises:
        ConfigError: There is no `ReasonEnv`, or it has the other format.
    """
    inner = env.unwrapped
    if not isinstance(inner, ReasonEnv):
        raise ConfigError(
            f"env must be a stack on ReasonEnv, got {type(inner).__name__}; make it with "
            "gym.make('MathReason-v0')"
        )
    if format not in (None, inner.layout.format):
        raise ConfigError(
            f"env must have format {format!r}, got {inner.layout.format!r}; make it with "
            f"format={format!r}"
        )
    return inner
