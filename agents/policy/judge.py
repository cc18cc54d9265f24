"""A judge: another model that replies to a method's questions, as text.

Its tokens are another model's, so its tokenizer may be another one. A question is the message of
the user in the judge's chat template, or plain text for a model without one. A question that does
not fit the judge's context gets no reply.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from reason_env.agents.engines import Context, SamplingConfig
from reason_env.agents.policy.policy import LanguageModelPolicy
from reason_env.codec import HuggingFaceCodec
from reason_env.errors import ConfigError
from reason_env.state import chat_ids


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeConfig:
    """Which model judges, and how it replies.

    Raises:
        ConfigError: A number is out of range, or the model has no name.
    """

    model: str = "base"
    """A model directory, a GGUF file, a hub name, "smollm2" or a shipped one; its weights stay."""
    temperature: float = 0.0
    """Of its replies; 0 takes the likeliest tokens."""
    max_new_tokens: int = 256
    """Most tokens of a reply."""

    def __post_init__(self) -> None:
        if not self.model:
            raise ConfigError("a judge's model must have a name, got ''; name a model")
        SamplingConfig(temperature=self.temperature)
        if self.max_new_tokens < 1:
            raise ConfigError(f"max_new_tokens must be at least 1, got {self.max_new_tokens!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A judge's reply to one question."""

    text: str | None
    """None: the question does not fit the judge's context."""
    num_read_tokens: int
    """Tokens of the question."""
    num_sampled_tokens: int
    """Tokens of the reply."""


class Judge:
    """Replies to questions."""

    def __init__(self, policy: LanguageModelPolicy, config: JudgeConfig) -> None:
        """Take the loaded model.

        Raises:
            ConfigError: A reply alone exceeds the model's context.
        """
        if config.max_new_tokens >= policy.context_length:
            raise ConfigError(
                "a judge's max_new_tokens must leave room for a question in its context of "
                f"{policy.context_length} tokens, got {config.max_new_tokens!r}; lower it"
            )
        self.policy, self.config = policy, config

    def replies(self, questions: Sequence[str], *, seed: int) -> list[Reply]:
        """Reply to each question; equal seeds give equal replies."""
        most = self.policy.context_length - self.config.max_new_tokens
        ids = [self._ids(question) for question in questions]
        fits = [index for index, own in enumerate(ids) if len(own) <= most]
        contexts = [
            Context(
                token_ids=ids[index],
                num_samples=1,
                max_new_tokens=self.config.max_new_tokens,
            )
            for index in fits
        ]
        sampling = SamplingConfig(temperature=self.config.temperature)
        found = [Reply(text=None, num_read_tokens=0, num_sampled_tokens=0)] * len(ids)
        sampled = self.policy.sample(contexts, sampling, seed=seed)
        for index, (completion,) in zip(fits, sampled, strict=True):
            found[index] = Reply(
                text=self.policy.codec.decode(completion.token_ids),
                num_read_tokens=len(ids[index]),
                num_sampled_tokens=len(completion.token_ids),
            )
        return found

    def _ids(self, question: str) -> tuple[int, ...]:
        codec = self.policy.codec
        if not isinstance(codec, HuggingFaceCodec):
            return codec.encode(question)
        if codec.tokenizer.chat_template is None:
            return codec.encode_prompt(question)
        return chat_ids(codec, [{"role": "user", "content": question}], {})
