"""EnvConfig: the environment that a policy trains in, by its arguments or as one spec string."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from typing import Any, Literal

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec, WrapperSpec

from reason_env.codec import Codec, delimiter_of
from reason_env.env.arguments import load_template, with_examples
from reason_env.env.reward import RewardConfig
from reason_env.env.spec import checked_spec, make_stack
from reason_env.errors import ConfigError, UnknownNameError, did_you_mean
from reason_env.problems import SPLITS, check_hold_out, has_split
from reason_env.state import AUTO, GUIDANCE_TEXTS, PRESETS, Template, read_template
from reason_env.verify import read_options

FIRST_DEFAULTS = {"grading": "strict", "template": "plain"}
"""What configs of version 0.1 hold where nothing was set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvConfig:
    """The arguments of `gym.make("MathReason-v0", ...)`."""

    problems: str = "chain"
    """A family, gsm8k:PATH, hub:NAME, or a file, as .jsonl; `reason-env problems list`."""
    split: str = "train"
    """Split of the training problems, if the source has splits."""
    size: int | None = None
    """Number of problems; None for all of a file, or the family's default."""
    levels: tuple[int, int] | None = None
    """Lowest and highest level, both included; None for all."""
    problem_seed: int = 0
    """Selects a family's problems, or those that hold_out selects."""
    hold_out: int | float | None = None
    """Hold problems of a single file out of training, for evaluation: a fraction of its questions
    (0.1), or their number (50)."""
    max_tokens: int = 256
    """Tokens of a response, prefixes included, before it is truncated."""
    max_steps: int = 64
    """Reasoning steps of a response before it is truncated."""
    max_prompt_tokens: int = 1024
    """Longest prompt, tokens."""
    stop_at_answer: bool = True
    """End an episode with the first closed step that states an answer."""
    columns: dict[str, str] = field(default_factory=dict[str, str])
    """Problem field -> column of a file or hub set: `--columns question problem answer final`; a
    path (reward_model.ground_truth), a join (body+question) or boxed(solution) is one, too."""
    allow_ungradable: bool = False
    """Keep rows whose reference answer does not grade as correct against itself."""
    drop_ungradable: bool = False
    """Drop those rows, and rows that hold a proof or no answer."""
    grading: str | None = None
    """What counts as an answer and what is forgiven: strict, gsm8k, math, text, dapo, r1, boxed or
    mcq, or several joined by +, as in dapo+math; None: what the template's answer format needs."""
    template: str = AUTO
    """How problems are put to the model: ours, boxed, boxed-plain, gsm8k-fewshot, r1, dapo,
    qwen-math, or a JSON file; auto chooses by the tokenizer."""
    num_examples: int | None = None
    """Solved examples in each prompt, drawn from the training problems; None: the template's."""
    system: str = ""
    """System message of chat prompts; empty for the template's."""
    guidance: dict[str, str] = field(default_factory=dict[str, str])
    """Wording of each kind of guidance, with {pieces} for its texts, as in `--guidance mistakes "Do
    not answer any of: {pieces}."`; other kinds keep the template's wording."""
    bos: Literal["never", "auto", "always"] | None = None
    """Begin token of plain prompts; auto: as the tokenizer does; None: as the template says."""
    chat_arguments: dict[str, bool | int | float | str] = field(
        default_factory=dict[str, bool | int | float | str]
    )
    """Variables of the tokenizer's chat template: `--chat-arguments enable_thinking False`."""
    reward: RewardConfig = field(default_factory=RewardConfig)
    """The reward of each outcome."""

    stack: str | None = None
    """A wrapped environment as `env.spec.to_json()` writes it; then no other field is given. Only
    our wrappers and Gymnasium's own are accepted, and those of trusted modules."""

    def __post_init__(self) -> None:
        for kind in self.guidance:
            if kind not in GUIDANCE_TEXTS:
                raise UnknownNameError(
                    f"no kind of guidance {kind!r} among {', '.join(GUIDANCE_TEXTS)}"
                    f"{did_you_mean(kind, GUIDANCE_TEXTS)}"
                )
        if self.num_examples is not None and self.num_examples < 0:
            raise ConfigError(f"num_examples must be at least 0, got {self.num_examples!r}")
        if self.hold_out is not None:
            check_hold_out(self.hold_out)
        if self.grading is not None:
            read_options(self.grading)
        # With "auto", overrides are checked in any template.
        in_any = "chat" if self.chat_arguments else "ours"
        self._changed(read_template(in_any if self.template == AUTO else self.template))
        if self.stack is None:
            return
        given = [
            item.name
            for item in fields(self)
            if item.name != "stack"
            and not _is_default(self, item)
            and getattr(self, item.name) != FIRST_DEFAULTS.get(item.name)
        ]
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

    @property
    def recordings(self) -> tuple[str, ...]:
        """The files that `RecordEpisodes` of the stack appends to."""
        layers = () if self.stack is None else self._spec().additional_wrappers
        return tuple(
            str((layer.kwargs or {})["path"])
            for layer in layers
            if layer.entry_point.endswith(":RecordEpisodes")
        )

    @property
    def step_delimiter(self) -> str:
        """The text that ends a reasoning step; a codec for this environment is made with it."""
        if self.stack is None:
            template, own = self.template, "\n"
        else:
            arguments = self._spec().kwargs
            template = arguments.get("template", AUTO)
            own = delimiter_of(str(arguments.get("step_delimiter", "\n")))
        # Every template that "auto" may stand for has lines as steps.
        if own != "\n" or template is None or template == AUTO:
            return own
        return read_template(template).step_delimiter

    def resolved(self, codec: Codec) -> "EnvConfig":
        """Replace "auto" by what it stands for, and draw the examples.

        The template is a preset's name, or, if it is no preset or shows examples, its JSON text.
        The result makes the same environment with this codec, whatever becomes of the file.
        """
        if self.stack is not None:
            return self
        template = self._complete(codec)
        is_preset = PRESETS.get(template.name) == template
        # The overrides are inside the text.
        return replace(
            self,
            template=template.name if is_preset else template.to_json(),
            grading=template.grading if self.grading is None else self.grading,
            system="",
            guidance={},
            num_examples=None,
            bos=None,
            chat_arguments={},
        )

    def template_line(self, codec: Codec) -> str:
        """One line that names the template, and what chose it."""
        if self.stack is not None:
            return "template: the spec's"
        name = load_template(self.template, None, codec).name
        if self.template != AUTO:
            return f"template: {name}"
        reason = {
            "ours": "the built-in codec",
            "boxed": "the tokenizer has a chat template",
            "boxed-plain": "the tokenizer has no chat template",
        }
        return f"template: {name} ({reason[name]}; --template names another)"

    def make(
        self, codec: Codec, wrappers: Sequence[WrapperSpec] = (), **changes: Any
    ) -> gym.Env[Any, Any]:
        """Make the stack with format "tokens" and whole responses as actions.

        Args:
            codec: The policy's.
            wrappers: Further wrappers around the stack, the innermost first.
            changes: Arguments of the environment that differ.
        """
        spec = self._spec(codec)
        spec.additional_wrappers = (*spec.additional_wrappers, *wrappers)
        spec.kwargs |= {"granularity": "response", "format": "tokens", "codec": codec} | changes
        return make_stack(spec)

    def make_bare(self, codec: Codec, **changes: Any) -> gym.Env[Any, Any]:
        """Make the environment without its wrappers, with `changes` of its arguments.

        Policies are evaluated here: hints and prefixes are for training. Examples in the prompt
        stay those of the training problems.
        """
        spec = self._spec(codec)
        spec.additional_wrappers = ()
        spec.kwargs |= {"granularity": "response", "format": "tokens", "codec": codec} | changes
        return make_stack(spec)

    def arguments(self, codec: Codec) -> dict[str, Any]:
        """Give the arguments of the environment without its wrappers, as `make_bare` has them."""
        own: dict[str, Any] = self._spec(codec).kwargs
        return own | {"format": "tokens", "codec": codec}

    def _spec(self, codec: Codec | None = None) -> EnvSpec:
        """A new spec, which the caller may change; with the template if a codec is given.

        Raises:
            ConfigError: The text is no spec of MathReason-v0, or names foreign code.
        """
        if self.stack is None:
            spec = copy.deepcopy(gym.spec("MathReason-v0"))
            spec.kwargs = self._arguments()
            if codec is not None:
                spec.kwargs["template"] = self._complete(codec).to_dict()
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
            "max_tokens": self.max_tokens,
            "max_steps": self.max_steps,
            "max_prompt_tokens": self.max_prompt_tokens,
            "stop_at_answer": self.stop_at_answer,
            "grading": self.grading,
            "reward": self.reward,
            "granularity": "response",
            "format": "tokens",
            "problem_seed": self.problem_seed,
        } | self._choice()

    def _choice(self) -> dict[str, Any]:
        """Which problems of the source."""
        return {
            "size": self.size,
            "levels": self.levels,
            "columns": self.columns or None,
            "allow_ungradable": self.allow_ungradable,
            "drop_ungradable": self.drop_ungradable,
            "hold_out": self.hold_out,
        }

    def _complete(self, codec: Codec) -> Template:
        """The template with its overrides and its examples."""
        template = self._changed(load_template(self.template, None, codec))
        choice = self._choice() | {"seed": self.problem_seed}
        return with_examples(template, self.problems, self.split, **choice)

    def _changed(self, template: Template) -> Template:
        return template.with_changes(
            system=self.system,
            guidance=_ended(self.guidance, template),
            num_examples=self.num_examples,
            bos=self.bos,
            chat_arguments=self.chat_arguments,
        )

    def has_split(self, split: str) -> bool:
        """Whether the source has this split; a single file has none without `hold_out`."""
        hold_out = self.hold_out
        if self.stack is not None:
            hold_out = self._spec().kwargs.get("hold_out")
        return split in SPLITS if hold_out is not None else has_split(self.source, split)


def _ended(guidance: Mapping[str, str], template: Template) -> dict[str, str]:
    """End each wording's line as the template does; the steps of a solution already have an end."""
    return {
        kind: text if kind == "partial_solution" else text.rstrip("\n") + _end_of(template, kind)
        for kind, text in guidance.items()
    }


def _end_of(template: Template, kind: str) -> str:
    wording = template.prompt.guidance[kind]
    return wording[len(wording.rstrip("\n")) :] or "\n"


def _is_default(config: Any, own: Field[Any]) -> bool:
    default = own.default if own.default_factory is MISSING else own.default_factory()
    return getattr(config, own.name) == default
