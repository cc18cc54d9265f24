"""The console that every command prints to, and how flags become a config."""

import logging
import sys
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import fields
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from reason_env.agents.runs import config_json
from reason_env.cli.mistakes import (
    check_flags,
    flag_defaults,
    one_line,
    with_level_ranges,
    with_true,
)
from reason_env.env import EnvConfig, trust_module
from reason_env.errors import ConfigError, visible

_log = logging.getLogger(__name__)
Arguments = Sequence[str]


class VisibleConsole(Console):
    """Prints text of data with its control characters escaped, so that no terminal obeys them."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Escape the text of each segment; rich's own controls are no text."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(visible(segment.text), segment.style)


out = VisibleConsole(soft_wrap=True)
HELP_FLAGS = (["-h"], ["--help"])
"""A list of words that asks for help and nothing else."""


def parsed(
    kind: Any,
    words: Arguments,
    *,
    prog: str,
    default: Any = None,
    description: str | None = None,
) -> Any:
    """Read the config that the flags describe; a mistake in them is one line of ours.

    Args:
        kind: The config's dataclass.
        words: The flags and their values.
        prog: The command, for the usage line.
        default: The config without any flag; `kind()` if None.
        description: Text above the flags in `--help`; the docstring of `kind` if None.

    Raises:
        ConfigError: A flag has a value of another form.
        UnknownNameError: A flag does not exist.
    """
    default = kind() if default is None else default
    renamed = config_json.renamed_keys(default, flat=True)
    prog, defaults = f"reason-env {prog}", flag_defaults(default)
    current = with_level_ranges([_current(word, renamed) for word in words])
    check_flags(current, defaults, prog)
    current = with_true(current, defaults)
    return one_line(
        lambda: tyro.cli(
            kind,
            args=current,
            prog=prog,
            description=description,
            default=default,
            config=(tyro.conf.AvoidSubcommands, tyro.conf.FlagConversionOff),
        ),
        current,
        prog,
    )


def _current(word: str, renamed: Mapping[str, str]) -> str:
    """Replace the old spelling of a renamed flag, with a warning."""
    flag, equals, value = word.partition("=")
    key = flag.removeprefix("--").replace("-", "_")
    if not flag.startswith("--") or key not in renamed:
        return word
    current = f"--{renamed[key].replace('_', '-')}"
    _log.warning("the flag %s is now %s", flag, current)
    return current + equals + value


def check_only(flag: str, words: Arguments, *, advice: str, also: tuple[str, ...] = ()) -> None:
    """Raise if another flag, or a word before the flags, is given with `flag`.

    >>> words = ["--resume", "runs/x", "--workers=2"]
    >>> check_only("--resume", words, advice="", also=("--workers",))

    Args:
        flag: The flag that allows no other.
        words: The command's words.
        advice: The end of the error message.
        also: Flags that are allowed after all.

    Raises:
        ConfigError: Another one is given.
    """
    flags = [word.partition("=")[0].replace("_", "-") for word in words if word.startswith("--")]
    others = [*leading(words), *(name for name in flags if name not in (flag, *also))]
    if others:
        exception = f" except {', '.join(also)}" if also else ""
        raise ConfigError(f"{flag} must be the only flag{exception}, got {others[0]} too; {advice}")


def leading(words: Arguments) -> list[str]:
    """Give the words before the first flag.

    >>> leading(["grpo", "lte", "--seeds", "3"])
    ['grpo', 'lte']
    """
    flags = (at for at, word in enumerate(words) if word.startswith("-"))
    return list(words[: next(flags, len(words))])


def value_of(flag: str, words: Arguments, default: str) -> str:
    """Read the value of a flag that decides the defaults of others; the last one counts.

    >>> value_of("--model", ["--seed", "1", "--model=runs/a"], "base")
    'runs/a'
    """
    found = default
    for at, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name == flag:
            found = value if equals else words[at + 1] if at + 1 < len(words) else default
    return found


def trust(words: Arguments) -> None:
    """Import the modules that --trust names, before anything reads a spec.

    They are also looked for in the working directory, after all other places.
    """
    names = value_of("--trust", words, "")
    if not names:
        return
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.append(folder)
    for name in names.split(","):
        trust_module(name)


def trust_flag(words: Arguments) -> str:
    """Give --trust as a command that goes on needs it, after a space; empty without it.

    >>> trust_flag(["grpo", "--trust=a,b"])
    ' --trust a,b'
    """
    names = value_of("--trust", words, "")
    return f" --trust {names}" if names else ""


def text_of(path: Path, flag: str) -> str:
    """Read the text file that a flag names.

    Raises:
        ConfigError: There is none, or it is not UTF-8.
    """
    if not path.is_file():
        raise ConfigError(f"{flag} must name a file, got {str(path)!r}; check the path")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{flag} must name a file of text in UTF-8, got {str(path)!r}: {error.reason} at byte "
            f"{error.start}; check the path"
        ) from error


def given_flags(words: Arguments, names: Set[str]) -> set[str]:
    """Find the fields among `names` that a flag sets, even to the default.

    >>> sorted(given_flags(["--max-tokens", "9", "--seed=1", "--reward.correct", "2"],
    ...                    {"max_tokens", "reward", "size"}))
    ['max_tokens', 'reward']
    """
    flags = [word.partition("=")[0] for word in words if word.startswith("--")]
    keys = {flag.removeprefix("--").partition(".")[0].replace("-", "_") for flag in flags}
    return keys & names


def check_spec_alone(words: Arguments) -> None:
    """Raise if a flag of the environment is given with --env, even with its default value.

    >>> check_spec_alone(["--env", "spec.json", "--seed", "1"])

    Raises:
        ConfigError: There is such a flag.
    """
    found = given_flags(words, {item.name for item in fields(EnvConfig)})
    if found:
        flag = min(found).replace("_", "-")
        raise ConfigError(
            f"--env must replace every flag of the environment, got --{flag} too; change the "
            "arguments in the spec"
        )
