"""The command line: the only place that prints, and the composition root. One file a command.

    reason-env train METHOD | compare METHOD... | report | eval | problems | play | pretrain
        | grade | check | tabular

Flags come from the config dataclasses. A mistake of the caller is one line on standard error and
exit status 2; nothing a policy writes can raise.
"""

import logging
import sys
from collections.abc import Callable
from importlib import import_module

from rich.console import Console
from rich.text import Text

from reason_env.cli.flags import Arguments, out
from reason_env.errors import ReasonEnvError, UnknownNameError, did_you_mean

COMMANDS = (
    "train", "compare", "report", "eval", "problems", "play", "pretrain", "grade", "check",
    "tabular",
)  # fmt: skip
HELP = """reason-env: reasoning as a resettable MDP, and a language-model policy that learns in it

  reason-env train grpo --problems chain --model base    train; ends with a table and a curve
  reason-env compare grpo rrpo lte --problems chain      same budget, several seeds, one report
  reason-env report DIR ...                              report.html of a comparison, or of runs
  reason-env eval --model base --problems chain          pass@1 and pass@k with intervals
  reason-env problems list | show SOURCE                 where problems come from, and what they are
  reason-env play --problems chain [--model base]        one episode, by you or by a model
  reason-env pretrain --out DIR                          the base model from scratch
  reason-env grade FILE.jsonl [--against math_verify]    outcomes of responses, and disagreements
  reason-env check ENV_ID                                the quality suite on an environment
  reason-env tabular [SETTING ...]                       exact ablations of the theory, with figures

Every command takes --help."""


def main(arguments: Arguments | None = None) -> None:
    """Runs one command and exits: 0 done, 2 a mistake of the caller, 130 interrupted."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    logging.basicConfig(level=logging.WARNING, format="reason-env: %(levelname)s: %(message)s")
    try:
        _command(words)
    except ReasonEnvError as error:
        Console(stderr=True, soft_wrap=True).print(Text(f"reason-env: error: {error}"))
        sys.exit(2)
    except KeyboardInterrupt:
        Console(stderr=True).print(
            "reason-env: interrupted; a run goes on with: reason-env train METHOD --resume RUN"
        )
        sys.exit(130)


def _command(words: list[str]) -> None:
    if not words or words[0] in ("-h", "--help"):
        out.print(Text(HELP))
        return
    name, rest = words[0], words[1:]
    if name not in COMMANDS:
        raise UnknownNameError(f"no command {name!r}{did_you_mean(name, COMMANDS)}")
    run: Callable[[list[str]], None] = import_module(f"reason_env.cli.{name}").run
    run(rest)
