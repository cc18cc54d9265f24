"""The command line: the only place that prints, and the composition root.

    reason-env train METHOD | eval | problems | play | pretrain

Flags come from the config dataclasses. A mistake of the caller is one line on standard error and
exit status 2; nothing a policy writes can raise.
"""

import logging
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.text import Text

from reason_env import console as shown
from reason_env.errors import ConfigError, ReasonEnvError, UnknownNameError, did_you_mean
from reason_env.problems import load_problems, problem_sources

Arguments = Sequence[str]
FLAT = tyro.conf.arg(name="")
out = Console(soft_wrap=True)


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
    COMMANDS[name](rest)


def _parsed(kind: Any, words: Arguments, *, prog: str, default: Any = None) -> Any:
    """Returns the config that the flags describe; tyro exits with status 2 on a wrong flag."""
    return tyro.cli(
        kind,
        args=list(words),
        prog=f"reason-env {prog}",
        default=kind() if default is None else default,
        config=(tyro.conf.AvoidSubcommands, tyro.conf.FlagConversionOff),
    )


# --- train -----------------------------------------------------------------------------------


def _train(words: list[str]) -> None:
    from reason_env.agents.methods import METHODS
    from reason_env.agents.train_config import TrainConfig

    if not words or words[0].startswith("-"):
        raise ConfigError(
            f"train must name a method, one of {', '.join(METHODS)}; "
            "for example: reason-env train grpo --problems chain --model base"
        )
    method, rest = words[0], words[1:]
    if method not in METHODS:
        raise UnknownNameError(f"no method {method!r}{did_you_mean(method, METHODS)}")

    @dataclass(frozen=True, kw_only=True)
    class Train:
        """Trains a policy; ends with a table, and a run directory that repeats and resumes it."""

        config: Annotated[TrainConfig, FLAT]
        out: Path | None = None
        """Run directory; a new one below runs/ if None."""
        resume: Path | None = None
        """Goes on with the run in this directory; stands alone."""
        from_config: Path | None = None
        """Takes every setting from this config.json; only --out may stand beside it."""

    default = Train(config=TrainConfig(method=METHODS[method]()))
    given = _parsed(Train, rest, prog=f"train {method}", default=default)
    if given.resume is not None:
        _alone(rest, {"--resume"})
        _resume_run(given.resume, method)
        return
    config = given.config
    if given.from_config is not None:
        _alone(rest, {"--from-config", "--out"})
        config = _config_of(given.from_config)
    _new_run(config, given.out, ["reason-env", "train", method, *rest])


def _alone(words: Arguments, allowed: set[str]) -> None:
    flags = [word.partition("=")[0].replace("_", "-") for word in words if word.startswith("--")]
    others = [flag for flag in flags if flag not in allowed]
    if others:
        raise ConfigError(
            f"{' and '.join(sorted(allowed))} must stand alone, got {others[0]} too; a run keeps "
            "its settings: copy its config.json, change it, and start a new run with --from-config"
        )


def _config_of(path: Path) -> Any:
    from reason_env.agents import config_json
    from reason_env.agents.train_config import TrainConfig

    if not path.is_file():
        raise ConfigError(f"--from-config must name a file, got {str(path)!r}; give a config.json")
    return config_json.load(TrainConfig, path.read_text(encoding="utf-8"))


def _new_run(config: Any, path: Path | None, command: list[str]) -> None:
    from reason_env.agents.run_dir import RunDir
    from reason_env.agents.training import Training

    training = Training(config)
    place = path or _free_directory(config)
    seeds = {"seed": config.seed}
    with RunDir.create(
        place,
        config,
        command=command,
        device=config.device,
        seeds=seeds,
        problem_sets=training.problem_sets,
    ) as run:
        _show_run(training, run)


def _resume_run(path: Path, method: str) -> None:
    from reason_env.agents.checkpoint import latest_checkpoint
    from reason_env.agents.run_dir import RunDir
    from reason_env.agents.train_config import TrainConfig
    from reason_env.agents.training import Training

    with RunDir.open(path) as run:
        config = run.config(TrainConfig)
        if config.method.kind != method:
            raise ConfigError(
                f"--resume must name a run of {method!r}, got one of {config.method.kind!r}; "
                f"use: reason-env train {config.method.kind} --resume {path}"
            )
        training = Training(config, checkpoint=latest_checkpoint(run))
        command = ["reason-env", "train", method, "--resume", str(path)]
        run.resume(training.iteration, command=command, device=config.device)
        out.print(f"resuming {path} after iteration {training.iteration}", highlight=False)
        _show_run(training, run)


def _free_directory(config: Any) -> Path:
    source = Path(config.env.problems.rpartition(":")[2]).stem or "problems"
    number = 1
    while (path := Path("runs") / f"{config.method.kind}-{source}-{number:03d}").exists():
        number += 1
    return path


def _show_run(training: Any, run: Any) -> None:
    from reason_env.agents.train import train

    config = training.config
    began = time.monotonic()
    deadline = None if config.max_minutes is None else began + 60 * config.max_minutes
    out.print(
        Text(
            f"{config.method.kind} on {config.env.problems}: "
            f"{len(training.problem_ids)} problems, model {config.model}, run {run.path}"
        )
    )
    if training.eval_env is None:
        out.print(
            "no evaluation: a file has no test split; give --eval.problems FILE to have one",
            highlight=False,
        )
    with out.status("evaluating before training ...") as status:

        def on_row(row: dict[str, Any]) -> None:
            out.print(Text(shown.row_line(row, config.iterations)))
            status.update(f"iteration {row['iteration'] + 1} of {config.iterations} ...")

        rows = train(training, run, on_row=on_row, deadline=deadline)
    if any(row.get("eval/pass_at_1") is not None for row in rows):
        out.print(shown.before_and_after(rows))
    last = rows[-1]
    out.print(
        f"generated {last['rollout/sampled_tokens_total']:,} tokens in "
        f"{last['iteration']} iterations, {(time.monotonic() - began) / 60:.1f} minutes",
        highlight=False,
    )
    out.print(Text(f"curve: {run.path / 'curve.png'}\nmetrics: {run.path / 'metrics.jsonl'}"))


# --- eval ------------------------------------------------------------------------------------


def _eval(words: list[str]) -> None:
    from reason_env.agents.evaluate import EvalConfig, evaluate
    from reason_env.agents.policy import LanguageModelPolicy
    from reason_env.agents.rollout import reason_env_of
    from reason_env.agents.train_config import EnvConfig

    @dataclass(frozen=True, kw_only=True)
    class Eval:
        """Measures a policy: pass@1 and pass@k with 95 % intervals, by level."""

        env: Annotated[EnvConfig, FLAT] = field(default_factory=lambda: EnvConfig(split="test"))
        model: str = "base"
        """"base", a model directory (a checkpoint's model/ too), or a hub name."""
        device: str = "cpu"
        dtype: str = "float32"
        max_batch_size: int = 256
        """Sequences sampled at once."""
        num_problems: int = 200
        """The first of the set."""
        samples: int = 8
        """Completions a problem."""
        k: int = 8
        """The k of pass@k."""
        temperature: float = 1.0
        greedy: bool = True
        """Decode each problem greedily too."""
        seed: int = 0

    given = _parsed(Eval, words, prog="eval")
    config = EvalConfig(
        num_problems=given.num_problems,
        samples=given.samples,
        k=given.k,
        temperature=given.temperature,
        greedy=given.greedy,
    )
    policy = LanguageModelPolicy.load(
        given.model, device=given.device, dtype=given.dtype, max_batch_size=given.max_batch_size
    )
    env = given.env.make(policy.codec)
    ids = [item.problem_id for item in reason_env_of(env).problems][: config.num_problems]
    with out.status(f"sampling {config.samples} completions of {len(ids)} problems ..."):
        report = evaluate(policy, env, ids, config=config, seed=given.seed)
    out.print(Text(f"pass@1 {report.pass_at_1}   pass@{report.k} {report.pass_at_k}"))
    if report.greedy is not None:
        out.print(Text(f"greedy {report.greedy}"))
    out.print(Text("outcomes: " + ", ".join(f"{k} {n}" for k, n in report.outcomes.items())))
    out.print(shown.level_table(report.by_level, report.k))


# --- problems --------------------------------------------------------------------------------


def _problems(words: list[str]) -> None:
    if not words or words[0] not in ("list", "show"):
        raise ConfigError(
            "problems must be followed by list or show; "
            "for example: reason-env problems show chain --count 2"
        )
    if words[0] == "list":
        for source in problem_sources():
            out.print(Text(f"{source.usage:<20} {source.description}"))
        return
    if len(words) < 2 or words[1].startswith("-"):
        raise ConfigError("problems show must name a source; see: reason-env problems list")

    @dataclass(frozen=True, kw_only=True)
    class Show:
        """Shows problems with their references."""

        split: str = "train"
        levels: tuple[int, int] | None = None
        """Lowest and highest level, both included."""
        seed: int = 0
        """Chooses a family's problems."""
        count: int = 3
        """How many to show, from the first."""

    given = _parsed(Show, words[2:], prog=f"problems show {words[1]}")
    problems = load_problems(words[1], split=given.split, levels=given.levels, seed=given.seed)
    for problem in problems[: given.count]:
        out.print(shown.problem_text(problem))
        out.print()
    out.print(Text(f"{len(problems)} problems, content hash {problems.content_hash}"))


# --- play ------------------------------------------------------------------------------------


def _play(words: list[str]) -> None:
    from reason_env.agents.train_config import EnvConfig

    @dataclass(frozen=True, kw_only=True)
    class Play:
        """One episode, step by step: you type the steps, or a model does."""

        env: Annotated[EnvConfig, FLAT] = field(default_factory=EnvConfig)
        model: str | None = None
        """A model that plays ("base", a directory, a hub name); you if None."""
        problem: str | None = None
        """Problem id; a random one if None."""
        seed: int = 0

    given = _parsed(Play, words, prog="play")
    from reason_env.play import model_steps, typed_steps

    policy: Any = None
    if given.model is not None:
        from reason_env.agents.policy import LanguageModelPolicy

        policy = LanguageModelPolicy.load(given.model)
    codec: Any = "bytes" if policy is None else policy.codec
    env = given.env.make(codec, granularity="step", format="text", render_mode="ansi")
    options = {} if given.problem is None else {"problem": given.problem}
    env.reset(seed=given.seed, options=options)
    steps = typed_steps(env, _ask) if policy is None else model_steps(env, policy, given.seed)
    out.print(Text(str(env.render())))
    for line in steps:
        out.print(Text(line))
    problem = env.unwrapped.state.problem
    out.print(shown.problem_text(problem))


def _ask(number: int) -> str | None:
    """Returns the line that a person types, or None at the end of the input."""
    try:
        return input(f"step {number}> ")
    except EOFError:
        return None


# --- pretrain --------------------------------------------------------------------------------


def _pretrain(words: list[str]) -> None:
    from reason_env.agents.card import write_card
    from reason_env.agents.policy import LanguageModelPolicy
    from reason_env.agents.pretrain import PretrainConfig, pretrain
    from reason_env.codec import ByteCodec

    @dataclass(frozen=True, kw_only=True)
    class Pretrain:
        """Trains the base model from scratch on noisy demonstrations, and writes its card."""

        config: Annotated[PretrainConfig, FLAT] = field(default_factory=PretrainConfig)
        out: Path = Path("runs/base_model")
        """Model directory, in Hugging Face layout."""
        card_problems: int = 25
        """Problems a level that the card's figures are measured on; 0 for no card."""

    given = _parsed(Pretrain, words, prog="pretrain")
    if given.out.exists() and any(given.out.iterdir()):
        raise ConfigError(f"--out must be a new directory, got {str(given.out)!r}; give another")
    total, began = given.config.num_batches, time.monotonic()
    with out.status("pretraining ...") as status:

        def on_batch(done: int, loss: float) -> None:
            if done % 50 == 0 or done == total:
                minutes = (time.monotonic() - began) / 60
                line = f"batch {done}/{total}  loss {loss:.4f} nats/token  {minutes:.1f} minutes"
                status.update(line)
                if done % 500 == 0 or done == total:
                    out.print(line, highlight=False)

        model = pretrain(given.config, on_batch=on_batch)
    policy = LanguageModelPolicy(model, ByteCodec())
    policy.save(given.out)
    out.print(Text(f"model: {given.out}"))
    if given.card_problems:
        with out.status("measuring pass@1 and pass@64 by level ..."):
            command = shlex.join(["reason-env", "pretrain", *words])
            write_card(policy, given.config, given.out, command, given.card_problems)
        out.print(Text(f"card: {given.out / 'README.md'}"))


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "train": _train,
    "eval": _eval,
    "problems": _problems,
    "play": _play,
    "pretrain": _pretrain,
}

HELP = """reason-env: reasoning as a resettable MDP, and a language-model policy that learns in it

  reason-env train grpo --problems chain --model base    train; ends with a table and a curve
  reason-env eval --model base --problems chain          pass@1 and pass@k with intervals
  reason-env problems list | show SOURCE                 where problems come from, and what they are
  reason-env play --problems chain [--model base]        one episode, by you or by a model
  reason-env pretrain --out DIR                          the base model from scratch

Every command takes --help."""
