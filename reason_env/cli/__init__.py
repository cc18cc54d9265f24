"""The command line: one file a command. No other part of the project prints.

    reason-env train METHOD | compare METHOD... | report | eval | problems | play | pretrain
        | grade | check | tabular | probe | bench | methods [METHOD] | serve | export | doctor

Flags come from the config dataclasses. A mistake of the caller, or a file that cannot be read or
written, prints one line on standard error and exits with status 2. What the encoding of the output
cannot write is shown escaped. What `doctor` looks for is imported after it, so that it runs where
a package is missing.
"""

import errno
import io
import logging
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import NoReturn

from reason_env.doctor import PURPOSE, module_of
from reason_env.errors import ReasonEnvError, UnknownNameError, did_you_mean, redacted, visible

COMMANDS = (
    "train", "compare", "report", "eval", "problems", "play", "pretrain", "grade", "check",
    "tabular", "probe", "bench", "methods", "serve", "export", "doctor",
)  # fmt: skip
HELP = """reason-env: reasoning as a resettable MDP, and a language-model policy that learns in it

  reason-env train grpo --problems chain --model base    train a policy; writes report.html
  reason-env methods [METHOD]                            the table of methods, or one row of it
  reason-env probe --model base --problems chain         measure a model; which methods suit it
  reason-env bench --model base                          how fast this machine samples and learns
  reason-env train grpo ... --dry-run                    what a run would cost
  reason-env train --resume RUN [--iterations N]         resume or prolong a run
  reason-env compare grpo rrpo lte --problems chain      compare methods at equal tokens, with seeds
  reason-env report DIR ...                              report.html of a comparison, or of runs
  reason-env eval --model RUN                            pass@1 and pass@k with intervals
  reason-env problems list | show SOURCE                 list problem sources, show problems
  reason-env play --problems chain [--model base]        one episode, by you or by a model
  reason-env pretrain --out DIR                          train the base model from scratch
  reason-env grade FILE.jsonl [--against math_verify]    grade responses, compare two graders
  reason-env check ENV_ID                                run the quality suite on an environment
  reason-env tabular [SETTING ...]                       exact ablations of the theory, with figures
  reason-env serve --problems chain                      the environment for OpenEnv clients
  reason-env export verl --problems chain                problems as the data of verl's trainer
  reason-env doctor                                      what this machine has and lacks

Every command has --help."""


QUIET = ("HF_HUB_DISABLE_TELEMETRY", "DISABLE_SAFETENSORS_CONVERSION")
"""What keeps libraries from telling the hub which machine loads a model, and from asking it to
convert one."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""A full disk or quota; the error names no file."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; exit status 2 after a mistake of the caller, 130 after an interrupt."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    _prepare()
    if words[:1] == ["doctor"]:
        import_module("reason_env.cli.doctor").run(words[1:])
        return
    try:
        from reason_env.cli.mistakes import in_flags
    except ModuleNotFoundError as error:
        _refuse(_about_module(error))
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter("reason-env: %(levelname)s: %(message)s", in_flags))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    # It prints its warnings itself.
    logging.getLogger("huggingface_hub").propagate = False
    try:
        _command(words)
    except ModuleNotFoundError as error:
        _refuse(_about_module(error))
    except ReasonEnvError as error:
        _refuse(_with_notes(in_flags(str(error)), error))
    except OSError as error:
        if error.filename is None and error.errno not in FULL:
            raise
        _refuse(_with_notes(_about_file(error), error))
    except KeyboardInterrupt as error:
        print(f"reason-env: {str(error) or 'interrupted'}", file=sys.stderr)
        sys.exit(130)


def _prepare() -> None:
    for stream in (sys.stdout, sys.stderr):
        # A table's rule in ASCII, or half of a surrogate pair in a question, must not end a run.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    for name in QUIET:
        # Read when the library is imported, which is later.
        os.environ.setdefault(name, "1")


class _Formatter(logging.Formatter):
    """Format warnings with their advice in the syntax of the command line."""

    def __init__(self, form: str, advice: Callable[[str], str]) -> None:
        super().__init__(form)
        self._advice = advice

    def format(self, record: logging.LogRecord) -> str:
        return visible(redacted(self._advice(super().format(record))))


def _refuse(message: str) -> NoReturn:
    print(f"reason-env: error: {visible(redacted(message))}", file=sys.stderr)
    sys.exit(2)


def _with_notes(message: str, error: Exception) -> str:
    """Add what was noted on the error's way, as how to resume the run that it ended."""
    return "; ".join([message, *getattr(error, "__notes__", ())])


def _about_module(error: ModuleNotFoundError) -> str:
    """Say which package is not installed; the absence of any other module is a mistake of ours."""
    name = (error.name or "").partition(".")[0]
    if name not in map(module_of, PURPOSE):
        raise error
    return (
        f"the package {name!r} must be installed for this command, got none; see what is missing: "
        "reason-env doctor"
    )


def _about_file(error: OSError) -> str:
    """Say which file the system refused, and what to do."""
    name = "a file" if error.filename is None else repr(os.fsdecode(error.filename))
    if error.errno in FULL:
        return f"the disk must have room for {name}, got: {error.strerror}; make room and resume"
    return (
        f"{name} must be a path that can be used here, got: {error.strerror}; give another one, or "
        "change its permissions or the working directory"
    )


def _command(words: list[str]) -> None:
    if not words or words[0] in ("-h", "--help"):
        print(HELP)
        return
    name, rest = words[0], words[1:]
    if name not in COMMANDS:
        raise UnknownNameError(f"no command {name!r}{did_you_mean(name, COMMANDS)}")
    run: Callable[[list[str]], None] = import_module(f"reason_env.cli.{name}").run
    run(rest)
