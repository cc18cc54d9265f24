"""What a wrong flag or value on the command line gets: one line that names the right one.

tyro reports a mistake as a box of several lines; it is read here and told in the form of all other
errors. A text of tyro's that is not recognised is shown as tyro wrote it.
"""

import contextlib
import dataclasses
import difflib
import io
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

import tyro

from reason_env.agents.runs import FLAT
from reason_env.errors import ConfigError, UnknownNameError, did_you_mean, shown

T = TypeVar("T")
ALIASES: dict[str, tuple[str, ...]] = {
    "learning-rate": ("lr", "step-size", "alpha"),
    "problems": ("data", "dataset", "dataset-name", "file", "train-file", "prompts"),
    "eval.problems": ("eval-data", "test-file", "eval-dataset", "val-file", "test-problems"),
    "hold-out": ("holdout", "test-size", "validation-split", "val-split", "eval-split"),
    "model": ("model-name", "model-name-or-path", "model-path", "checkpoint", "policy"),
    "out": ("output", "output-dir", "out-dir", "run-dir", "save-dir", "dir"),
    "resume": ("resume-from", "resume-from-checkpoint", "continue"),
    "group-size": ("num-generations", "n", "rollouts", "num-samples", "g", "samples-per-problem"),
    "samples": ("n", "num-samples", "num-generations"),
    "num-problems": ("limit", "num-examples", "max-problems"),
    "problems-per-iteration": ("batch-size", "train-batch-size", "rollout-batch-size"),
    "iterations": ("epochs", "num-epochs", "num-iterations", "num-steps", "train-steps", "updates"),
    "max-generated-tokens": ("budget", "tokens", "token-budget"),
    "max-tokens": ("max-new-tokens", "max-length", "max-completion-length", "max-response-length"),
    "max-prompt-tokens": ("max-prompt-length",),
    "micro-batch-tokens": ("micro-batch-size", "per-device-train-batch-size"),
    "loss.kl-coefficient": ("kl", "beta", "kl-coef", "kl-coeff", "kl-loss-coef"),
    "temperature": ("temp",),
    "device": ("gpu", "cuda"),
    "precision": ("dtype", "bf16", "fp16", "torch-dtype"),
    "size": ("num-problems", "count"),
    "count": ("num-problems", "size", "n"),
    "max-minutes": ("timeout", "time-limit", "minutes"),
    "dry-run": ("estimate", "plan"),
    "json": ("output", "out"),
    "problem-seed": ("seed",),
    "system": ("system-prompt", "system-message"),
    "prompt": ("prompt-kind", "chat"),
    "template": ("prompt-template",),
}
"""Flag -> names that the same thing has elsewhere, for commands that lack a flag of that name."""


def flag_defaults(config: Any, prefix: str = "") -> dict[str, Any]:
    """Map the flags that tyro makes from a config, without their dashes, to their defaults.

    >>> import dataclasses
    >>> @dataclasses.dataclass
    ... class Two:
    ...     max_tokens: int = 1
    ...     seed: int = 0
    >>> flag_defaults(Two())
    {'max-tokens': 1, 'seed': 0}
    """
    found: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        notes = getattr(field.type, "__metadata__", ())
        if tyro.conf.Suppress in notes or tyro.conf.Positional in notes or not field.init:
            continue
        own = next((note for note in notes if getattr(note, "name", None)), None)
        name = field.name.replace("_", "-") if own is None else own.name
        value: Any = getattr(config, field.name)
        inner = prefix if FLAT in notes else f"{prefix}{name}."
        items = cast("tuple[Any, ...]", value) if isinstance(value, tuple) else ()
        if dataclasses.is_dataclass(cast("object", value)):
            found |= flag_defaults(value, inner)
        elif items and all(dataclasses.is_dataclass(item) for item in items):
            for at, item in enumerate(items):
                found |= flag_defaults(item, f"{inner}{at}.")
        elif isinstance(value, dict) and value:
            entries = cast("dict[Any, Any]", value).items()
            found |= {f"{inner}{str(key).replace('_', '-')}": item for key, item in entries}
        else:
            is_bare = own is not None and own.prefix_name is False
            found[name if is_bare else f"{prefix}{name}"] = value
    return found


def near_flag(name: str, known: Iterable[str]) -> str | None:
    """Find the flag that a wrong one most likely means; None if nothing is near.

    >>> near_flag("lr", ["learning-rate", "seed"]), near_flag("iteration", ["iterations"])
    ('learning-rate', 'iterations')
    >>> near_flag("clip-high", ["loss.clip-high", "loss.clip-low"]), near_flag("zzz", ["seed"])
    ('loss.clip-high', None)
    """
    names = sorted(known)
    wanted = name.replace("_", "-")
    last = wanted.rpartition(".")[2]
    ends = [flag for flag in names if flag.rpartition(".")[2] == last]
    if ends:
        return min(ends, key=len)
    for flag, others in ALIASES.items():
        if wanted in others and flag in names:
            return flag
    near = difflib.get_close_matches(wanted, names, n=1, cutoff=0.7)
    return near[0] if near else None


def check_flags(words: Sequence[str], known: Iterable[str], prog: str) -> None:
    """Raise for the first unknown flag that is near a known one; tyro refuses the others.

    Raises:
        UnknownNameError: There is one.
    """
    names = set(known)
    for word in words:
        name = word.partition("=")[0].removeprefix("--").replace("_", "-")
        if not word.startswith("--") or name in names or name in ("help", ""):
            continue
        near = near_flag(name, names)
        if near is not None:
            raise UnknownNameError(
                f"{prog} has no flag --{name}; did you mean --{near}? All flags: {prog} --help"
            )


def one_line(call: Callable[[], T], words: Sequence[str], prog: str) -> T:
    """Call tyro, and turn what it prints about a mistake into an exception of ours.

    Raises:
        ConfigError: A flag has a value of another form, or none.
        UnknownNameError: A flag does not exist.
        SystemExit: Help was asked for, or tyro's text is not recognised; it is shown.
    """
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            return call()
    except SystemExit as stop:
        text = re.sub(r"\[/?(?:bold|dim|italic|underline)\]", "", errors.getvalue())
        if stop.code == 2:
            _raise_for(text, words, prog)
        sys.stderr.write(text)
        raise


def _raise_for(text: str, words: Sequence[str], prog: str) -> None:
    plain = [line.strip("│ ").rstrip() for line in text.splitlines()]
    flat = " ".join(plain)
    unknown = re.search(r"Unrecognized options: (\S+?),? ", flat)
    if unknown is not None:
        name = unknown[1].rstrip(",")
        what = f"no flag {name}" if name.startswith("-") else f"no use for the word {name!r}"
        raise UnknownNameError(f"{prog} has {what}; see: {prog} --help")
    missing = re.search(r"Missing value for argument '(--[\w.-]+)", flat)
    if missing is not None:
        raise ConfigError(f"{missing[1]} must have a value, got none; see: {prog} --help")
    choice = re.search(
        r"invalid choice '(.*)' for argument '(--\S+?)'. Expected one of \((.*?)\)", flat
    )
    if choice is not None:
        names = re.findall(r"'(.*?)'", choice[3])
        near = did_you_mean(choice[1], names)
        raise ConfigError(
            f"{choice[2]} must be one of {', '.join(names)}, got {choice[1]!r}"
            f"{near if 'did you mean' in near else ''}"
        )
    refused = re.search(r"Error parsing [A-Za-z][\w.]*: (.+?) [-─]{9,} For full", flat)
    if refused is not None:
        raise ConfigError(refused[1])
    wrong = re.search(r"Error parsing (--[\w.-]+):", flat)
    if wrong is None:
        return
    forms = [line for line in plain if line.startswith(f"{wrong[1]} ")]
    if forms:
        form = (
            forms[0].removeprefix(wrong[1]).replace("{", "").replace("}", "").replace("|", " or ")
        )
        raise ConfigError(
            f"{wrong[1]} must be {form.strip()}, got {_given(wrong[1], words)}; see: {prog} --help"
        )


def _given(flag: str, words: Sequence[str]) -> str:
    """Give the values of a flag, as they were written."""
    spelled = [word.partition("=")[0].replace("_", "-") for word in words]
    if flag not in spelled:
        return "another value"
    at = spelled.index(flag)
    if "=" in words[at]:
        return shown(words[at].partition("=")[2])
    values: list[str] = []
    for word in words[at + 1 :]:
        if word.startswith("--"):
            break
        values.append(word)
    return shown(" ".join(values)) if values else "none"


def _column_flags(found: re.Match[str]) -> str:
    """Write a dict of columns as the words of a flag."""
    pairs = re.findall(r"'(\w+)': (?:'([^']+)'|\"([^\"]+)\"|(\w+))", found[1])
    words = (f"{field} {shlex.quote(one or two or bare)}" for field, one, two, bare in pairs)
    return f"--columns {' '.join(words)}"


IN_FLAGS: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"columns=\{('[^}]*)\}", _column_flags),
    (r"columns=\{field: column\}", "--columns FIELD COLUMN"),
    (r"allow_ungradable=True", "--allow-ungradable"),
    (r"drop_ungradable=True", "--drop-ungradable"),
    (r"accept_changed_data=True", "--accept-changed-data"),
    (r"allow_ungradable must", "--allow-ungradable must"),
    (r"num_constants must", "--constants must"),
    (r"write the problem's field first: \{'(\w+)': '(\w+)'\}", r"write: --columns \1 \2"),
    (r", or load the table with row_format='plain'", ""),
    (r"use PromptTemplate\(kind='plain'\)", "use a plain one: --template boxed-plain"),
    (r"load it with row_format='plain'", "name the file without gsm8k:"),
    (r"load_problems\((.*?)\)", r"reason-env problems show \1"),
)
"""Advice in Python -> the same advice on the command line."""


def in_flags(message: str) -> str:
    """Put the advice of an error into the syntax of the command line.

    >>> in_flags("map one with columns={'question': NAME}")
    'map one with --columns question NAME'
    >>> in_flags("map them with columns={'question': 'q', 'answer': 'Correct Answer'}")
    "map them with --columns question q answer 'Correct Answer'"
    """
    for python, flags in IN_FLAGS:
        message = re.sub(python, flags, message)
    return message


def with_true(words: Sequence[str], defaults: Mapping[str, Any]) -> list[str]:
    """Write True after a flag of yes or no that has no value.

    >>> with_true(["--dry-run", "--seed", "1", "--greedy", "False"],
    ...           {"dry-run": False, "greedy": True, "seed": 0})
    ['--dry-run', 'True', '--seed', '1', '--greedy', 'False']
    """
    found: list[str] = []
    for at, word in enumerate(words):
        found.append(word)
        is_last = at + 1 == len(words) or words[at + 1].startswith("--")
        if word.startswith("--") and is_last:
            name = word.removeprefix("--").replace("_", "-")
            found += ["True"] * isinstance(defaults.get(name), bool)
    return found


def with_level_ranges(words: Sequence[str]) -> list[str]:
    """Write one level as a range: `--levels 4` means `--levels 4 4`.

    >>> with_level_ranges(["--levels", "4", "--seed", "1"])
    ['--levels', '4', '4', '--seed', '1']
    >>> with_level_ranges(["--levels", "3", "5"]), with_level_ranges(["--levels=4"])
    (['--levels', '3', '5'], ['--levels', '4', '4'])
    """
    found: list[str] = []
    for word in words:
        joined = re.fullmatch(r"--levels=([0-9]+)", word)
        found += ["--levels", joined[1]] if joined else [word]
    for at in reversed(range(1, len(found))):
        is_last = at + 1 == len(found) or found[at + 1].startswith("-")
        if found[at - 1] == "--levels" and found[at].isdigit() and is_last:
            found.insert(at, found[at])
    return found
