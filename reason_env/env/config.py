"""EnvConfig: the environment that a policy trains in, by its arguments or as one spec string."""

import copy
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from reason_env.codec import Codec
from reason_env.env.reward import RewardConfig
from reason_env.env.spec import checked_spec
from reason_env.errors import ConfigError, UnknownNameError, did_you_mean
from reason_env.problems import has_split_file, problem_sources
from reason_env.state import GUIDANCE_TEXTS, PromptTemplate


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvConfig:
    """The arguments of `gym.make("MathReason-v0", ...)`."""

    problems: str = "chain"
    """A family, gsm8k:PATH, hub:NAME, or a .jsonl or .parquet file; `reason-env problems list`."""
    split: str = "train"
    """Split of the training problems, if the source has splits."""
    size: int | None = None
    """Number of problems; None for all of a file, or the family's default."""
    levels: tuple[int, int] | None = None
    """Lowest and highest level, both included; None for all."""
    problem_seed: int = 0
    """Selects a family's problems."""
    max_tokens: int = 256
    """Tokens of a response, prefixes included, before it is truncated."""
    max_steps: int = 64
    """Reasoning steps of a response before it is truncated."""
    max_prompt_tokens: int = 1024
    """Longest prompt, tokens."""
    stop_at_answer: bool = True
    """End an episode with the first closed step that states an answer."""
    columns: dict[str, str] = field(default_factory=dict[str, str])
    """Problem field -> column of a file or hub set: `--columns question problem answer final`."""
    allow_ungradable: bool = False
    """Keep rows whose reference answer does not grade as correct against itself."""
    grading: str = "strict"
    """What the grader forgives: strict, gsm8k, math or text (`reason_env.verify.PRESETS`)."""
    prompt: Literal["plain", "chat"] = "plain"
    """"chat" uses the tokenizer's chat template."""
    system: str = ""
    """System message of chat prompts."""
    guidance: dict[str, str] = field(default_factory=dict[str, str])
    """Wording of each kind of guidance, with {pieces} for its texts, as in `--guidance mistakes "Do
    not answer any of: {pieces}."`; other kinds keep the base model's wording."""
    reward: RewardConfig = field(default_factory=RewardConfig)
    """The reward of each outcome."""

    stack: str | None = None
    """A wrapped environment as `env.spec.to_json()` writes it; then no other field is given. Only
    our wrappers and Gymnasium's own are accepted."""

    def __post_init__(self) -> None:
        for kind in self.guidance:
            if kind not in GUIDANCE_TEXTS:
                raise UnknownNameError(
                    f"no kind of guidance {kind!r} among {', '.join(GUIDANCE_TEXTS)}"
                    f"{did_you_mean(kind, GUIDANCE_TEXTS)}"
                )
        self._template()
        if self.stack is None:
            return
        given = [f.name for f in fields(self) if f.name != "stack" and not _is_default(self, f)]
        if given:
            raise ConfigError(
                f"a spec must be the only setting of the environment, got {given[0]} too; change "
                "the spec's own arguments"
            )
        self._spec()

    @property
    def source(self) -> str:
        """Where the training problems come from."""
        return self.problems if self.stack is None else str(self._spec().kwargs["problems"])

    def make(self, codec: Codec) -> gym.Env[Any, Any]:
        """Make the stack with format "tokens" and whole responses as actions."""
        spec = self._spec()
        if self.stack is not None:
            spec.kwargs |= {"granularity": "response", "format": "tokens"}
        spec.kwargs["codec"] = codec
        return gym.make(spec)

    def make_bare(self, codec: Codec, **changes: Any) -> gym.Env[Any, Any]:
        """Make the environment without its wrappers, with `changes` of its arguments.

        Policies are evaluated here: hints and prefixes are for training.
        """
        spec = self._spec()
        spec.additional_wrappers = ()
        spec.kwargs |= {"granularity": "response", "format": "tokens", "codec": codec} | changes
        return gym.make(spec)

    def _spec(self) -> EnvSpec:
        """A new spec, which the caller may change.

        Raises:
            ConfigError: The text is no spec of MathReason-v0, or names foreign code.
        """
        if self.stack is None:
            spec = copy.deepcopy(gym.spec("MathReason-v0"))
            spec.kwargs = self._arguments()
            spec.disable_env_checker = True
            return spec
        spec = checked_spec(self.stack)
        if not str(spec.id).startswith("MathReason-"):
            raise ConfigError(f"a spec must be of MathReason-v0, got {spec.id!r}")
        spec.kwargs.setdefault("problems", "chain")
        spec.disable_env_checker = True
        return spec

    def _arguments(self) -> dict[str, Any]:
        return {
            "problems": self.problems,
            "split": self.split,
            "size": self.size,
            "levels": self.levels,
            "problem_seed": self.problem_seed,
            "max_tokens": self.max_tokens,
            "max_steps": self.max_steps,
            "max_prompt_tokens": self.max_prompt_tokens,
            "stop_at_answer": self.stop_at_answer,
            "columns": self.columns or None,
            "allow_ungradable": self.allow_ungradable,
            "grading": self.grading,
            "prompt": self._template(),
            "reward": self.reward,
            "granularity": "response",
            "format": "tokens",
        }

    def _template(self) -> PromptTemplate:
        # Each guidance ends its line, whatever its wording; the steps of a solution already do.
        own = {
            kind: text if kind == "partial_solution" else text.rstrip("\n") + "\n"
            for kind, text in self.guidance.items()
        }
        return PromptTemplate(kind=self.prompt, system=self.system, guidance=GUIDANCE_TEXTS | own)

    def has_split(self, split: str) -> bool:
        """Whether the source has this split; a single file has none."""
        head, colon, argument = self.source.partition(":")
        if colon and head in ("gsm8k", "file"):
            return has_split_file(Path(argument), split)
        is_named = head in {source.name for source in problem_sources()}
        return is_named or has_split_file(Path(self.source), split)


def _is_default(config: Any, own: Field[Any]) -> bool:
    default = own.default if own.default_factory is MISSING else own.default_factory()
    return getattr(config, own.name) == default
