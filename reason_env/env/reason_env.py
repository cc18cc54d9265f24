"""ReasonEnv: the Gymnasium shell around `state.transition`. It holds one state and no logic.

One problem gives three MDPs (`granularity`) in two forms (`format`); the same tokens give the same
return, the same end and the same state in all six.
"""

import hashlib
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, Self

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded

from reason_env.codec import Codec, delimiter_of, load_codec
from reason_env.env.arguments import (
    build,
    check_keywords,
    load_problem_set,
    load_template,
    say_budget,
    with_examples,
)
from reason_env.env.commitment import commits
from reason_env.env.info import info_of, render_text
from reason_env.env.layout import Action, Format, Granularity, Layout
from reason_env.env.observation import ObservationBuffer
from reason_env.env.prompt_lengths import long_prompts, other_ids
from reason_env.env.reward import RewardConfig
from reason_env.env.start import StartResolver
from reason_env.env.state_reader import StateReader
from reason_env.errors import ActionError, ConfigError, RenderModeError, StateError
from reason_env.problem import Problem, ProblemSet
from reason_env.problems import is_generated, reference_response
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
    Template,
    is_truncated,
    transition,
)
from reason_env.verify import GradeOptions, grade, read_options


class ReasonEnv(gym.Env[Any, Any]):
    r"""Reasoning about one problem an episode, as a resettable MDP.

    An episode is `terminated` when an answer is graded and `truncated` when a budget ends it,
    never both. Reward comes from the verdict alone (`RewardConfig`), and `info["success"]` does not
    depend on the reward. An empty action ends the response as the end token would.

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
        * Actions as text: strings of any number of tokens or steps. As tokens: one id (`Discrete`)
          at token granularity, otherwise any sequence of ids. At response granularity an action
          also ends the response.
        * Observations as text: prompt and response. As tokens: their int32 ids,
          [max_prompt_tokens + max_tokens], right-padded with the codec's pad id.

    Info at every reset and step: `problem_id`, `level`, `outcome` ("open", "truncated" or an
    `Outcome`), `success`, `extracted` (the answer read from the response, "" if none), `reason`,
    `num_tokens`, `num_steps`, `privileged_context` (the guidance in the prompt, "" if none).
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi"], "render_fps": 4}  # pyright: ignore[reportIncompatibleVariableOverride]
    _np_random: Any = LazyGenerator()
    _spec: EnvSpec | None = None

    def __new__(cls, *_: Any, **settings: Any) -> Self:
        """Refuse a mistyped argument with the nearest name; `__init__` lists the arguments.

        Raises:
            ConfigError: There is one.
        """
        check_keywords(cls, settings)
        return super().__new__(cls)

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
        template: str | Path | Mapping[str, Any] | Template | None = None,
        max_tokens: int = 512,
        max_steps: int = 64,
        max_prompt_tokens: int = 1024,
        stop_at_answer: bool = True,
        reward: RewardConfig | Mapping[str, Any] | None = None,
        render_mode: str | None = None,
        grading: str | GradeOptions | Mapping[str, Any] | None = None,
        columns: Mapping[str, str] | None = None,
        allow_ungradable: bool = False,
        drop_ungradable: bool = False,
        hold_out: float | None = None,
    ) -> None:
        """Build the environment and check every argument.

        Args:
            problems: A family, "gsm8k:PATH", "hub:NAME", a file, or a `ProblemSet`.
            split: The split of a family or hub set.
            size: Number of problems; None for all of a file, or the family's default.
            levels: Lowest and highest level, both included.
            problem_seed: Selects a family's problems.
            granularity: What one action is: a token, a reasoning step, or the whole response.
            format: "text" (str) or "tokens" (ids; nothing is ever tokenised twice).
            codec: "bytes", the directory or hub name of a Hugging Face tokenizer, or a codec.
            step_delimiter: Text that ends a reasoning step, or "line" or "paragraph", for a codec
                given by name.
            prompt: The texts of the prompt, or their fields, instead of a template.
            template: A template's name, a JSON file or its fields; "auto" (the default of
                `gym.make`) chooses by the tokenizer. None: the built-in base model's, as in specs
                of version 0.1.
            max_tokens: Tokens of a response before it is truncated, prefixes included.
            max_steps: Reasoning steps of a response before it is truncated.
            max_prompt_tokens: Room for the prompt in token observations; a longer one is refused.
            stop_at_answer: End the episode with the first closed step that states an answer.
            reward: The reward of each outcome, or its fields.
            render_mode: "ansi" or None.
            grading: A preset of `verify.PRESETS` ("strict" forgives nothing), several joined by
                "+", `GradeOptions`, or its fields; None for the template's.
            columns: Problem field -> column, of files and hub sets; see `load_problems`.
            allow_ungradable: Keep rows whose reference answer does not grade as correct against
                itself; they are listed in a warning.
            drop_ungradable: Drop those rows, and rows that hold a proof or no answer.
            hold_out: Fraction, or number, of a single file's questions that are its split "test".
        """
        if render_mode not in (None, "ansi"):
            raise RenderModeError(f"render_mode must be 'ansi' or None, got {render_mode!r}")
        self.layout = Layout(granularity=granularity, format=format)
        is_name, step_delimiter = isinstance(codec, str), delimiter_of(step_delimiter)
        self.codec: Codec = (
            load_codec(codec, step_delimiter=step_delimiter) if isinstance(codec, str) else codec
        )
        chosen = load_template(template, prompt, self.codec)
        if is_name and step_delimiter == "\n" != chosen.step_delimiter:
            self.codec = load_codec(str(codec), step_delimiter=chosen.step_delimiter)
        if step_delimiter not in ("\n", self.codec.step_delimiter):
            raise ConfigError(
                f"step_delimiter must be the codec's {self.codec.step_delimiter!r}, got "
                f"{step_delimiter!r}; make the codec with it"
            )
        if chosen.step_delimiter not in ("\n", self.codec.step_delimiter):
            raise ConfigError(
                f"template {chosen.name!r} must have a codec whose steps end in "
                f"{chosen.step_delimiter!r}, got {self.codec.step_delimiter!r}; make the codec "
                "with step_delimiter"
            )
        choice: dict[str, Any] = {
            "size": size,
            "levels": levels,
            "seed": problem_seed,
            "columns": columns,
            "allow_ungradable": allow_ungradable,
            "drop_ungradable": drop_ungradable,
            "hold_out": hold_out,
        }
        self.template = with_examples(chosen, problems, split, **choice)
        self.prompt = self.template.prompt
        self.rules = EpisodeRules(
            max_tokens=max_tokens,
            max_steps=max_steps,
            stop_at_answer=stop_at_answer,
            stops=self.template.stops,
        )
        self.reward_config = build(RewardConfig, reward)
        self.max_prompt_tokens = max_prompt_tokens
        self.render_mode = render_mode
        self._buffer = ObservationBuffer(
            prompt=self.prompt,
            codec=self.codec,
            layout=self.layout,
            max_prompt_tokens=max_prompt_tokens,
            max_tokens=max_tokens,
        )
        self.grade_options = read_options(self.template.grading if grading is None else grading)
        self.problems = load_problem_set(problems, split, **choice)
        self._reader = StateReader(self.problems, self.codec)
        self._starts = StartResolver(problems=self.problems, codec=self.codec, rules=self.rules)
        self._grade = partial(grade, options=self.grade_options)
        self._state: ReasonState | None = None
        # Every prompt must fit, so that no later reset fails.
        self._check_prompts()
        if not isinstance(problems, str) or not is_generated(problems):
            say_budget(self.problems, self.codec, max_tokens, self.template.layout)
        self.observation_space, self.action_space = self.layout.spaces(
            self.codec, self._buffer.width
        )

    @property
    def spec(self) -> EnvSpec | None:
        """The spec that `gym.make` gives, with the examples that were drawn for the prompt.

        So its JSON alone makes the same prompts.
        """
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        if spec is not None and self.template.num_examples:
            kwargs = spec.kwargs | {"template": self.template.to_dict()}
            kwargs.pop("prompt", None)
            spec = replace(spec, kwargs=kwargs)
        self._spec = spec

    def _check_prompts(self) -> None:
        limit = self.max_prompt_tokens
        found = long_prompts(self.prompt, self.problems, self.codec, limit)
        if found:
            longest = max(found, key=lambda name: found[name])
            raise StateError(
                f"prompt of {longest!r}{other_ids(found)} must have at most {limit} tokens, got "
                f"{found[longest]}; raise max_prompt_tokens or drop the problem"
            )

    @property
    def state(self) -> ReasonState:
        """The current state: a value that `reset(options={"state": ...})` accepts."""
        if self._state is None:
            raise ResetNeeded("call reset() before asking for the state")
        return self._state

    def initial_state(self, problem: Problem) -> ReasonState:
        """The state before the first token of the response to `problem`."""
        return ReasonState(problem=problem, codec=self.codec)

    def reference_ids(self, problem: Problem) -> tuple[int, ...]:
        """Encode the reference solution as a response in the template's form, [T].

        The answer stands where the template asks for it, and the end token comes last. Without a
        solution, the response is the answer alone.
        """
        text = reference_response(problem, self.codec.step_delimiter, self.template.layout)
        text = text.lstrip() if self.prompt.kind == "chat" else text
        return (*self.codec.encode(text), self.prompt.end_id(self.codec))

    def action_masks(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which ids may be the next token, [vocab_size]: all but padding.

        sb3-contrib's `MaskablePPO` calls the method by this name.

        Raises:
            ActionError: Actions are not single ids (granularity "token", format "tokens").
        """
        if self.layout != Layout(granularity="token", format="tokens"):
            raise ActionError(
                f"action masks must have single ids as actions, got {self.layout.granularity!r} in "
                f"{self.layout.format!r}; make the env with granularity='token', format='tokens'"
            )
        mask = np.ones(self.codec.vocab_size, dtype=np.bool_)
        mask[self.codec.pad_id] = self.codec.pad_id in self.codec.end_ids
        return mask

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: Seeds the choice of problems, for this and later resets.
            options: {"problem": id} chooses the problem; {"state": s} starts from `s`, a
                `ReasonState` or its dict or JSON. Otherwise the problem is drawn uniformly.
                {"starts": functions}: the first maps the initial state to another start, each
                further one the result before it; this is how start wrappers act.

        Raises:
            ConfigError: An unknown option, or a state together with another one.
            StateError: A state of another problem set or codec, malformed, or already over.
            UnknownNameError: No such problem.
        """
        super().reset(seed=seed)
        state, prompt_ids = self.start(options or {}, lambda: self.np_random)
        self._state = state
        self._buffer.set_state(state, prompt_ids)
        return self._buffer.observation(), self.info_of(state)

    def start(
        self, options: Mapping[str, Any], rng: Callable[[], np.random.Generator]
    ) -> tuple[ReasonState, tuple[int, ...]]:
        """Find the state that `reset` would start from, and its prompt's ids; change nothing.

        Args:
            options: As for `reset`.
            rng: Returns the generator that draws the problem; called only for a draw.

        Raises:
            ConfigError: As `reset`.
            StateError: As `reset`.
            UnknownNameError: As `reset`.
        """
        state = self._starts.resolve(options, rng)
        return state, self._buffer.encode_prompt(state)

    def step(self, action: Action) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take one action; see `state.transition`.

        Raises:
            ActionError: The action is not of this format.
            CodecError: An id lies outside the vocabulary.
            StateError: The episode is over.
        """
        tokens = self.layout.tokens(action, self.codec)
        close = self.layout.granularity == "response" or not tokens
        state = self._state = transition(
            self.state,
            tokens,
            rules=self.rules,
            grade=self._grade,
            has_answer=commits,
            close=close,
        )
        self._buffer.extend_to(state)
        terminated = state.verdict is not None
        truncated = is_truncated(state, self.rules)
        reward = self.reward_config.reward(state, self.rules)
        return self._buffer.observation(), reward, terminated, truncated, self.info_of(state)

    def to_snapshot(self) -> dict[str, Any]:
        """The settings, the state and the generator, JSON-able; see `reason_env.snapshot`."""
        rng = ReasonEnv._np_random.as_text(self) or rng_to_json(self.np_random)
        return {
            "settings": self._settings.text,
            "state": None if self._state is None else pack_state(self._state),
            "rng": rng,
            "seed": self._np_random_seed,
        }

    def read_snapshot(self, data: dict[str, Any]) -> Commit:
        """Check what `to_snapshot` wrote; return the function that adopts it.

        Raises:
            StateError: The snapshot is of other problems or settings, or malformed.
        """
        self._settings.check(data["settings"])
        rng, seed = checked_rng(data["rng"]), operator.index(data["seed"])
        state = None if data["state"] is None else self._reader.read_cached(data["state"])
        prompt_ids = () if state is None else self._buffer.encode_prompt(state)

        def commit() -> None:
            self._np_random, self._np_random_seed = rng, seed
            self._state = state
            if state is not None:
                self._buffer.set_state(state, prompt_ids)

        return commit

    def unpack_state(self, data: Any) -> ReasonState:
        """Read a state of this environment as `pack_state` wrote it."""
        return self._reader.read(data)

    def observation(self) -> Any:
        """What the policy sees of the current state."""
        return self._buffer.observation()

    def render(self) -> str | None:
        """Question, guidance, numbered steps and verdict as text (mode "ansi")."""
        if self.render_mode is None:
            return None
        return render_text(self.state, self.rules)

    @cached_property
    def _settings(self) -> Settings:
        """Everything that decides what follows a state; two equal texts mean equal behaviour."""
        return Settings(
            problems=self.problems.content_hash,
            codec=self.codec.codec_id,
            prompt=hashlib.sha256(repr(self.prompt).encode("utf-8")).hexdigest()[:16],
            # `undecided` changes no reward, only what a collector does with an episode.
            reward={n: own for n, own in asdict(self.reward_config).items() if n != "undecided"},
            # Without `stops` if there are none, as in snapshots of version 0.1.
            rules={name: own for name, own in asdict(self.rules).items() if own != ()},
            layout=asdict(self.layout),
            max_prompt_tokens=self.max_prompt_tokens,
        )

    def read_state(self, given: ReasonState | Mapping[str, Any] | str) -> ReasonState:
        """Read a state, its dict or its JSON, and check that it belongs to this environment.

        Raises:
            StateError: The state is malformed, or of another codec or problem set.
            UnknownNameError: No such problem.
        """
        return self._starts.read(given)

    def info_of(self, state: ReasonState) -> dict[str, Any]:
        """The info of a reset to `state` or of a step that ends in it."""
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
