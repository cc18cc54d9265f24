"""PromptTemplate: state -> the exact prompt that the policy is conditioned on.

The prompt holds the question and the guidance. The response so far follows token by token and is
never rendered again. Guidance comes before the template's ending, so that every response starts
after the same text. `PromptTemplate` is a value: two equal templates give equal prompts.

A localisation is another task than the problem's: its prompt has no examples and no words about the
answer's format, and wording with "{question}" is the whole prompt.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, Literal, cast

from reason_env.codec import Codec, HuggingFaceCodec
from reason_env.errors import ConfigError, did_you_mean, shown
from reason_env.state.chat import RESERVED_ARGUMENTS, chat_ids, turn_end_id
from reason_env.state.parts import GUIDANCE_KINDS, Guidance
from reason_env.state.reason_state import ReasonState

GUIDANCE_TEXTS: dict[str, str] = {
    "answer": "Answer: {pieces}\n",
    "mistakes": "Not: {pieces}\n",
    "partial_solution": "Begin:\n{pieces}",
    "instruction": "{pieces}\n",
    "text": "{pieces}\n",
    "localisation": "{pieces}\nFirst wrong step?\n",
}
"""The built-in base model's wording; "{pieces}" stands for the texts of a guidance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A solved problem that a prompt shows before the question."""

    question: str
    response: str
    """With the space before it and the blank line after it, as a plain prompt shows it."""

    @classmethod
    def read(cls, given: Any) -> "Example":
        """Return an example, or make one of its fields.

        Raises:
            ConfigError: It is neither.
        """
        if isinstance(given, Example):
            return given
        names = {item.name for item in fields(cls)}
        if isinstance(given, Mapping) and set(cast("Mapping[str, Any]", given)) == names:
            found = cast("Mapping[str, Any]", given)
            if all(isinstance(text, str) for text in found.values()):
                return cls(**found)
        raise ConfigError(
            "an example must hold the texts question and response, got "
            f"{shown(cast('object', given))}; write both"
        )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PromptTemplate:
    r"""Renders a problem and its guidance as the prompt.

    >>> from reason_env import ByteCodec, Guidance, Problem, ReasonState
    >>> problem = Problem(problem_id="toy/train/0", question="12*3=?", answer="36")
    >>> state = ReasonState(problem=problem, codec=ByteCodec())
    >>> PromptTemplate().text(state.with_guidance(Guidance("mistakes", ("35", "37"))))
    '12*3=?\nNot: 35, 37\n>'
    >>> shots = (Example(question="1+1=?", response=" 2\n\n"),)
    >>> PromptTemplate(ending="A:", examples=shots, num_examples=1).text(state)
    '1+1=?\nA: 2\n\n12*3=?\nA:'
    """

    kind: Literal["plain", "chat"] = "plain"
    """"plain" joins the texts; "chat" puts them into one user message of the tokenizer's chat
    template and opens the assistant's turn."""
    question: str = "{question}\n"
    """Text around the question."""
    guidance: Mapping[str, str] = field(default_factory=lambda: dict(GUIDANCE_TEXTS))
    """Text around each kind of guidance."""
    ending: str = ">"
    """Text after question and guidance, just before the response (plain only)."""
    system: str = ""
    """System message (chat only); empty for none."""
    opening: str = ""
    """Text before everything else (plain only)."""
    answer_format: str = ""
    """Text after question and guidance that asks for the form of the answer."""
    step: str = "{number} {step}"
    """One step of the chain that a localisation shows."""
    examples: tuple[Example, ...] = ()
    """Solved problems to show; one that asks the problem's own question is never shown."""
    num_examples: int = 0
    """Examples that a prompt shows: the first of `examples`."""
    bos: Literal["never", "auto", "always"] = "never"
    """Begin token of a plain prompt: "auto" for what the tokenizer puts before a text, "always" for
    its begin token. A chat template writes its own."""
    chat_arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Variables of the tokenizer's chat template, such as {"enable_thinking": false}; JSON-able."""

    def __post_init__(self) -> None:
        if self.kind not in ("plain", "chat"):
            raise ConfigError(f"prompt kind must be 'plain' or 'chat', got {self.kind!r}")
        if self.bos not in ("never", "auto", "always"):
            raise ConfigError(f"bos must be 'never', 'auto' or 'always', got {self.bos!r}")
        self._check_chat_arguments()
        if "{question}" not in self.question:
            raise ConfigError(
                f"question template must hold {{question}}, got {shown(self.question)}; "
                "write where the question goes"
            )
        unknown = next((kind for kind in self.guidance if kind not in GUIDANCE_KINDS), None)
        if unknown is not None:
            raise ConfigError(
                f"guidance templates must be of the kinds {', '.join(GUIDANCE_KINDS)}, got "
                f"{unknown!r}{did_you_mean(str(unknown), GUIDANCE_KINDS)}"
            )
        # Templates of version 0.1 have no wording for a localisation.
        own = {"localisation": GUIDANCE_TEXTS["localisation"]} | dict(self.guidance)
        object.__setattr__(self, "guidance", own)
        missing = [kind for kind in GUIDANCE_KINDS if "{pieces}" not in own.get(kind, "")]
        if missing:
            raise ConfigError(
                f"guidance templates must hold {{pieces}} for every kind, missing {missing}; "
                "start from prompt.GUIDANCE_TEXTS"
            )
        if "{step}" not in self.step or "{number}" not in self.step:
            raise ConfigError(
                f"step template must hold {{number}} and {{step}}, got {shown(self.step)}; write "
                "where they go"
            )
        object.__setattr__(self, "examples", tuple(map(Example.read, self.examples)))
        if not 0 <= self.num_examples <= len(self.examples):
            raise ConfigError(
                f"num_examples must lie in 0..{len(self.examples)}, the number of examples, got "
                f"{self.num_examples!r}"
            )

    def _check_chat_arguments(self) -> None:
        given = dict(self.chat_arguments)
        if given and self.kind == "plain":
            raise ConfigError(
                f"chat_arguments must be left out of a plain prompt, got {shown(given)}; use kind "
                "'chat'"
            )
        reserved = [name for name in given if name in RESERVED_ARGUMENTS]
        if reserved:
            raise ConfigError(
                f"chat_arguments must be variables of the chat template, got {reserved[0]!r}, "
                "which the environment sets; leave it out"
            )
        try:
            is_json = json.loads(json.dumps(given)) == given
        except (TypeError, ValueError):
            is_json = False
        if not is_json:
            raise ConfigError(
                f"chat_arguments must be JSON values by name, got {shown(given)}; use texts, "
                "numbers, booleans, lists and dicts"
            )
        object.__setattr__(self, "chat_arguments", given)

    def __repr__(self) -> str:
        """The fields of version 0.1, then those that are not at their default.

        Snapshots hold a hash of this text.
        """
        shown_guidance = {
            kind: text
            for kind, text in self.guidance.items()
            if kind != "localisation" or text != GUIDANCE_TEXTS["localisation"]
        }
        values = [
            f"kind={self.kind!r}",
            f"question={self.question!r}",
            f"guidance={shown_guidance!r}",
            f"ending={self.ending!r}",
            f"system={self.system!r}",
        ]
        values += [
            f"{item.name}={getattr(self, item.name)!r}"
            for item in fields(PromptTemplate)[len(values) :]
            if getattr(self, item.name) != _default_of(item)
        ]
        return f"{type(self).__name__}({', '.join(values)})"

    def text(self, state: ReasonState) -> str:
        """Question and guidance as one text (for chat: the user message)."""
        if self._is_whole_prompt(state):
            return self.guidance_text(state).rstrip("\n" if self.kind == "chat" else "")
        body = self._asked(state.problem.question, self.guidance_text(state), state)
        if self.kind == "chat":
            return body.rstrip("\n")
        shots = [
            self._asked(example.question, "", state) + self.ending + example.response
            for example in self.shown_examples(state)
        ]
        return self.opening + "".join(shots) + body + self.ending

    def messages(self, state: ReasonState) -> list[dict[str, str]]:
        """The chat: the system message, the examples as earlier turns, and the user message."""
        messages = [{"role": "system", "content": self.system}] if self.system else []
        for example in self.shown_examples(state):
            asked = self._asked(example.question, "", state).rstrip("\n")
            messages.append({"role": "user", "content": asked})
            messages.append({"role": "assistant", "content": example.response.strip()})
        return [*messages, {"role": "user", "content": self.text(state)}]

    def token_ids(self, state: ReasonState) -> tuple[int, ...]:
        """The prompt's ids, [P]; the policy's context is these, then `state.response`.

        Raises:
            ConfigError: The kind is "chat" and the codec has no chat template, or its template
                refuses the messages; or `bos` is "always" and the codec has no begin token.
        """
        codec: Codec = state.codec
        if self.kind == "plain":
            return self._begin_ids(codec) + (
                codec.encode_prompt(self.text(state))
                if isinstance(codec, HuggingFaceCodec)
                else codec.encode(self.text(state))
            )
        if not isinstance(codec, HuggingFaceCodec) or codec.tokenizer.chat_template is None:
            raise ConfigError(
                f"a chat prompt must have a tokenizer with a chat template, got {codec.codec_id!r};"
                " use a plain template, such as ours or boxed-plain"
            )
        return chat_ids(codec, self.messages(state), self.chat_arguments)

    def end_id(self, codec: Codec) -> int:
        """The id that ends a response to this prompt: of the assistant's turn, or of a text."""
        if self.kind == "chat" and isinstance(codec, HuggingFaceCodec):
            return turn_end_id(codec, self.chat_arguments)
        return codec.eos_id

    def _begin_ids(self, codec: Codec) -> tuple[int, ...]:
        """What a plain prompt puts before its text."""
        found = ()
        if self.bos != "never" and isinstance(codec, HuggingFaceCodec):
            found = codec.beginning_ids
            begin = codec.tokenizer.bos_token_id
            if not found and self.bos == "always" and begin is not None:
                found = (int(begin),)
        if self.bos == "always" and not found:
            raise ConfigError(
                f"bos 'always' must have a tokenizer with a bos_token, got {codec.codec_id!r}; "
                "use 'auto'"
            )
        return found

    def shown_examples(self, state: ReasonState) -> tuple[Example, ...]:
        """The examples of the state's prompt: none for a localisation."""
        if _localises(state):
            return ()
        own = state.problem.question
        others = [example for example in self.examples if example.question != own]
        return tuple(others[: self.num_examples])

    def guidance_text(self, state: ReasonState) -> str:
        """The guidance alone, as the prompt shows it; empty if there is none."""
        return "".join(self._piece_text(piece, state) for piece in state.guidance)

    def _asked(self, question: str, guidance: str, state: ReasonState) -> str:
        form = "" if _localises(state) else self.answer_format
        return self.question.replace("{question}", question) + guidance + form

    def _is_whole_prompt(self, state: ReasonState) -> bool:
        return _localises(state) and "{question}" in self.guidance["localisation"]

    def _piece_text(self, piece: Guidance, state: ReasonState) -> str:
        wording = self.guidance[piece.kind]
        if piece.kind == "localisation":
            texts = {
                "{pieces}": self._numbered(piece.pieces),
                "{question}": state.problem.question,
                "{num_steps}": str(len(piece.pieces)),
            }
            return _filled(wording, texts)
        joiner = "" if piece.kind == "partial_solution" else ", "
        return wording.replace("{pieces}", joiner.join(piece.pieces))

    def _numbered(self, steps: Sequence[str]) -> str:
        return "\n".join(
            _filled(self.step, {"{number}": str(number), "{step}": step.strip()})
            for number, step in enumerate(steps, start=1)
        )


def _default_of(item: Field[Any]) -> Any:
    return item.default if item.default_factory is MISSING else item.default_factory()


def _localises(state: ReasonState) -> bool:
    return any(piece.kind == "localisation" for piece in state.guidance)


def _filled(wording: str, texts: Mapping[str, str]) -> str:
    """Replace each placeholder once; braces inside the texts stay characters."""
    names = "|".join(map(re.escape, texts))
    return re.sub(names, lambda found: texts[found[0]], wording)
