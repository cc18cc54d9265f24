"""PromptTemplate: state -> the exact prompt that the policy is conditioned on.

The prompt holds the question and the guidance. The response so far follows token by token and is
never rendered again. Guidance comes before the template's ending, so that every response starts
after the same text. `PromptTemplate` is a value: two equal templates give equal prompts.

Not covered: special tokens written out in the question of a chat prompt; the tokenizer reads them
as special tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from reason_env.codec import Codec, HuggingFaceCodec
from reason_env.errors import ConfigError, shown
from reason_env.state.parts import GUIDANCE_KINDS, Guidance
from reason_env.state.reason_state import ReasonState

GUIDANCE_TEXTS: dict[str, str] = {
    "answer": "Answer: {pieces}\n",
    "mistakes": "Not: {pieces}\n",
    "partial_solution": "Begin:\n{pieces}",
    "instruction": "{pieces}\n",
    "text": "{pieces}\n",
}
"""The built-in base model's wording; "{pieces}" stands for the texts of a guidance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptTemplate:
    r"""Renders a problem and its guidance as the prompt.

    >>> from reason_env import ByteCodec, Guidance, Problem, ReasonState
    >>> problem = Problem(problem_id="toy/train/0", question="12*3=?", answer="36")
    >>> state = ReasonState(problem=problem, codec=ByteCodec())
    >>> PromptTemplate().text(state.with_guidance(Guidance("mistakes", ("35", "37"))))
    '12*3=?\nNot: 35, 37\n>'
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

    def __post_init__(self) -> None:
        if self.kind not in ("plain", "chat"):
            raise ConfigError(f"prompt kind must be 'plain' or 'chat', got {self.kind!r}")
        if "{question}" not in self.question:
            raise ConfigError(
                f"question template must hold {{question}}, got {shown(self.question)}; "
                "write where the question goes"
            )
        missing = [kind for kind in GUIDANCE_KINDS if "{pieces}" not in self.guidance.get(kind, "")]
        if missing:
            raise ConfigError(
                f"guidance templates must hold {{pieces}} for every kind, missing {missing}; "
                "start from prompt.GUIDANCE_TEXTS"
            )

    def text(self, state: ReasonState) -> str:
        """Question and guidance as one text (for chat: the user message)."""
        question = self.question.replace("{question}", state.problem.question)
        body = question + self.guidance_text(state)
        return body + self.ending if self.kind == "plain" else body.rstrip("\n")

    def token_ids(self, state: ReasonState) -> tuple[int, ...]:
        """The prompt's ids, [P]; the policy's context is these, then `state.response`.

        Raises:
            ConfigError: The kind is "chat" and the codec has no chat template.
        """
        if self.kind == "plain":
            return state.codec.encode(self.text(state))
        codec: Codec = state.codec
        if not isinstance(codec, HuggingFaceCodec) or codec.tokenizer.chat_template is None:
            raise ConfigError(
                f"a chat prompt must have a tokenizer with a chat template, got {codec.codec_id!r};"
                " use PromptTemplate(kind='plain')"
            )
        messages: list[dict[str, str]] = [{"role": "user", "content": self.text(state)}]
        if self.system:
            messages.insert(0, {"role": "system", "content": self.system})
        rendered: Any = codec.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=False
        )
        # Not codec.encode, which would write the template's special tokens as characters.
        return tuple(codec.tokenizer.encode(rendered, add_special_tokens=False))

    def guidance_text(self, state: ReasonState) -> str:
        """The guidance alone, as the prompt shows it; empty if there is none."""
        return "".join(self._piece_text(piece) for piece in state.guidance)

    def _piece_text(self, piece: Guidance) -> str:
        joiner = "" if piece.kind == "partial_solution" else ", "
        return self.guidance[piece.kind].replace("{pieces}", joiner.join(piece.pieces))
