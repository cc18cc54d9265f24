"""The exception tree: one class per kind of caller's mistake, each also a standard-library class.

Text from a policy never raises any of these; it gets a `Verdict`. Messages have one form:
`<what> must <rule>, got <value>; <what to do>`, with a near match for a wrong name.
"""

import difflib
import os
import re
from collections.abc import Iterable

SECRETS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "WANDB_API_KEY")
"""Environment variables whose values are never shown or written."""
_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{20,}\b|(?<=://)[^/@\s]+(?=@)")
"""A token of the Hugging Face hub, and what stands before the @ of an address."""


class ReasonEnvError(Exception):
    """Base of every error that reason-env raises on purpose."""


class ConfigError(ReasonEnvError, ValueError):
    """A setting is out of its range or contradicts another one."""


class RenderModeError(ConfigError, TypeError):
    """A render mode is not supported.

    It is also a TypeError, because Stable-Baselines3's `make_vec_env` tries "rgb_array" first and
    falls back only on that exception.
    """


class UnknownNameError(ReasonEnvError, LookupError):
    """A name (problem set, problem, method, model, ...) is unknown."""


class ProblemError(ReasonEnvError, ValueError):
    """A problem, or a row of a problem file, cannot be used."""


class CodecError(ReasonEnvError, ValueError):
    """A token id is outside the vocabulary, or a codec cannot be built."""


class StateError(ReasonEnvError, ValueError):
    """A state is malformed, or does not belong to this environment."""


class ActionError(ReasonEnvError, ValueError):
    """An action does not match the environment's format."""


class ModelError(ReasonEnvError, ValueError):
    """A language model cannot be loaded, or does not fit its codec or context."""


class CheckpointError(ReasonEnvError, RuntimeError):
    """A run directory or a checkpoint is missing, damaged or of another configuration."""


class TrainingError(ReasonEnvError, ArithmeticError):
    """An update is impossible, because its gradient is not finite."""


class EngineError(ReasonEnvError, RuntimeError):
    """The sampling engine cannot start, or died or hung more often than allowed."""


class ProcessError(ReasonEnvError, RuntimeError):
    """One of the processes that train a policy together ended before the run."""


class VerifierError(ReasonEnvError, RuntimeError):
    """The verifier failed so often that training would learn from noise."""


def shown(value: object, limit: int = 200) -> str:
    """Cut `repr(value)` at `limit` characters, for messages.

    >>> shown("a" * 300)[-12:]
    "aaaaaaaa...'"
    """
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 4] + "..." + text[-1]


_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def redacted(text: str) -> str:
    """Replace tokens, and users and passwords in addresses, by three asterisks.

    >>> redacted("https://ada:secret@hub.example/model")
    'https://***@hub.example/model'
    """
    for name in SECRETS:
        secret = os.environ.get(name, "")
        # A short value is no token, and is part of other words.
        if len(secret) >= 8:
            text = text.replace(secret, "***")
    return _TOKEN.sub("***", text)


def visible(text: str) -> str:
    r"""Escape what a terminal would obey or hide: controls, direction marks, invisible letters.

    Line ends and tabs stay, and so do the joiners of emoji and of scripts.

    >>> print(visible("a\x1b[2Jb\u202ec\nd"))
    a\x1b[2Jb\u202ec
    d
    """
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def did_you_mean(name: str, choices: Iterable[str], *, nearness: float = 0.6) -> str:
    """The end of a message about a wrong name: its near match, or the choices.

    Args:
        name: The wrong name.
        choices: The right ones.
        nearness: Least similarity of a near match, 0..1 (`difflib`'s ratio).

    >>> did_you_mean("chian", ["chain", "inverse"])
    "; did you mean 'chain'?"
    >>> did_you_mean("zzz", ["chain", "inverse"])
    '; choose one of chain, inverse'
    """
    names = sorted(choices)
    near = difflib.get_close_matches(name, names, n=1, cutoff=nearness)
    if near:
        return f"; did you mean {near[0]!r}?"
    listed = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return f"; choose one of {listed}" if names else ""
