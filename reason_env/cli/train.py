"""`reason-env train METHOD`: trains, shows every iteration, ends with a table and report.html."""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.text import Text

from reason_env.agents.cpi import CPIConfig
from reason_env.agents.learning import learning_rate_line
from reason_env.agents.methods import method_config, method_names
from reason_env.agents.report import write_report
from reason_env.agents.runs import FLAT, RunDir, check_free, config_json, latest_checkpoint
from reason_env.agents.train import Session, TrainConfig, build_session, prepare, train
from reason_env.cli import tables
from reason_env.cli.flags import HELP_FLAGS, Arguments, check_only, check_spec_alone, out, parsed
from reason_env.errors import ConfigError

PROGRESS_S = 15.0
"""Seconds between progress lines of a preparation."""
COPY = (
    "a run keeps its settings: copy its config.json, change it, and start a new run with "
    "--from-config"
)


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a policy; the run directory holds metrics, episodes, checkpoints and report.html."""

    config: Annotated[TrainConfig, FLAT]
    out: Path | None = None
    """Run directory; None: a new one under runs/."""
    resume: Path | None = None
    """Resume the run in this directory. Allows no other flag."""
    env: Annotated[Path | None, tyro.conf.arg(name="env")] = None
    """File with a wrapped environment as env.spec.to_json() writes it. Replaces the flags of the
    environment."""
    from_config: Path | None = None
    """Read every setting from this config.json. Allows no other flag but --out."""


@dataclass(frozen=True, kw_only=True)
class TrainCPI(Train):
    """Conservative policy iteration: accept an update only if its measured advantage holds up."""

    cpi: CPIConfig = field(default_factory=CPIConfig)
    restart: str = "initial"
    """The method whose starts are the restart distribution mu and whose loss trains the candidate:
    a method's name, or initial (the problem itself, as grpo). Its own flags are available too."""


def run(words: list[str]) -> None:
    """Train with the method that the first word names."""
    if words[:1] in HELP_FLAGS:
        names = "\n  ".join((*method_names(), "cpi"))
        out.print(
            Text(
                f"reason-env train METHOD [FLAGS]; methods:\n\n  {names}\n\n"
                "Several joined by + are combined: srpo+lte. For the flags of one: "
                "reason-env train METHOD --help"
            )
        )
        return
    if not words or words[0].startswith("-"):
        raise ConfigError(
            f"train must name a method, one of {', '.join((*method_names(), 'cpi'))}, or several "
            "joined by '+'; for example: reason-env train grpo --problems chain --model base"
        )
    name, words = words[0], words[1:]
    default, words = _default(name, words)
    given = parsed(type(default), words, prog=f"train {name}", default=default)
    if given.resume is not None:
        check_only("--resume", words, advice=COPY)
        _resume_run(given.resume, name)
        return
    config = replace(given.config, cpi=given.cpi) if name == "cpi" else given.config
    if given.from_config is not None:
        check_only("--from-config", words, advice=COPY, also="--out")
        config = _read_config(given.from_config, name)
    if given.env is not None:
        check_spec_alone(words)
        spec = _read_text(given.env, "--env")
        config = replace(config, env=replace(config.env, stack=spec))
    _new_run(config, given.out, ["reason-env", "train", name, *words])


def _default(name: str, words: Arguments) -> tuple[Train, list[str]]:
    """Give the default settings of `train NAME`, and the words with the flags they define."""
    if name != "cpi":
        return Train(config=TrainConfig(method=method_config(name))), with_method_indices(
            words, name
        )
    restart = _restart_of(words)
    method = method_config("grpo" if restart == "initial" else restart)
    return TrainCPI(config=TrainConfig(method=method), restart=restart), with_method_indices(
        words, restart
    )


def with_method_indices(words: Arguments, method: str) -> list[str]:
    """Replace the method's name in flags of a composition by its index in the config.

    >>> with_method_indices(["--lte.gamma", "0.2", "--seed", "1"], "srpo+lte")
    ['--methods.1.gamma', '0.2', '--seed', '1']
    """
    names = method.split("+")
    if len(names) == 1:
        return list(words)
    fields = {f"--{name}": f"--methods.{index}" for index, name in enumerate(names)}

    def replaced(word: str) -> str:
        head, dot, rest = word.partition(".")
        return fields.get(head, head) + dot + rest if dot else word

    return [replaced(word) for word in words]


def _restart_of(words: Arguments) -> str:
    """Read the method that --restart names, which decides the available flags."""
    for index, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name == "--restart":
            return value if equals else words[index + 1] if index + 1 < len(words) else ""
    return "initial"


def _read_config(path: Path, method: str) -> TrainConfig:
    config = config_json.load(TrainConfig, _read_text(path, "--from-config"))
    if config.name != method:
        raise ConfigError(
            f"--from-config must name a config of {method!r}, got one of {config.name!r}; "
            f"use: reason-env train {config.name} --from-config {path}"
        )
    return config


def _read_text(path: Path, flag: str) -> str:
    if not path.is_file():
        raise ConfigError(f"{flag} must name a file, got {str(path)!r}; check the path")
    return path.read_text(encoding="utf-8")


def _new_run(config: TrainConfig, path: Path | None, command: list[str]) -> None:
    """Build and prepare the run before writing, so that a refused run leaves no directory."""
    place = path or _reserved_directory(config)
    try:
        check_free(place)
        session = build_session(config)
        is_default = config.learner.learning_rate is None
        config = session.config
        line = learning_rate_line(config.learner, session.policy.model, is_default=is_default)
        out.print(Text(line))
        began = time.monotonic()
        _prepare(session, place, began)
    except BaseException:
        if path is None:
            place.rmdir()
        raise
    seeds = {"seed": config.seed}
    with RunDir.create(
        place,
        config,
        command=command,
        device=config.device,
        seeds=seeds,
        problem_sets=session.problem_sets,
    ) as run:
        _show_run(session, run, began)


def _resume_run(path: Path, method: str) -> None:
    with RunDir.open(path) as run:
        config = run.config(TrainConfig)
        if config.name != method:
            raise ConfigError(
                f"--resume must name a run of {method!r}, got one of {config.name!r}; "
                f"use: reason-env train {config.name} --resume {path}"
            )
        session = build_session(config, checkpoint=latest_checkpoint(run))
        command = ["reason-env", "train", method, "--resume", str(path)]
        run.resume(session.iteration, command=command, device=config.device)
        out.print(f"resuming {path} after iteration {session.iteration}", highlight=False)
        began = time.monotonic()
        _prepare(session, path, began)
        _show_run(session, run, began)


def _reserved_directory(config: TrainConfig) -> Path:
    """Create the next free directory, so that runs that start together get different ones."""
    source = Path(config.env.source.rpartition(":")[2]).stem or "problems"
    number = 1
    while True:
        path = Path("runs") / f"{config.name}-{source}-{number:03d}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return path


def _deadline(config: TrainConfig, began: float) -> float | None:
    return None if config.max_minutes is None else began + 60 * config.max_minutes


def _prepare(session: Session, path: Path, began: float) -> None:
    """Prepare the session, with a progress line every `PROGRESS_S` seconds."""
    config = session.config
    num_problems = len(session.problem_ids)
    out.print(
        Text(
            f"{config.name} on {config.env.source}: "
            f"{num_problems} problems, model {config.model}, run {path}"
        )
    )
    last_shown = began

    def on_prepared(done: int, planned: int, tokens: int) -> None:
        nonlocal last_shown
        if time.monotonic() - last_shown > PROGRESS_S:
            last_shown = time.monotonic()
            out.print(
                f"preparing: {done:,} of {planned:,} starts, {tokens:,} tokens, "
                f"{(last_shown - began) / 60:.1f} minutes",
                highlight=False,
            )

    prepare(session, on_prepared=on_prepared, deadline=_deadline(config, began))
    if session.sampled_tokens_total and session.iteration == 0:
        out.print(
            f"prepared with {session.sampled_tokens_total:,} tokens: "
            f"training on {len(session.problem_ids):,} of {num_problems:,} problems",
            highlight=False,
        )


def _show_run(session: Session, run: RunDir, began: float) -> None:
    config = session.config
    if session.eval_env is None:
        out.print(
            f"no evaluation: {config.env.source} has no {config.eval.split} split; give "
            "--eval.problems FILE or another --eval.split to evaluate",
            highlight=False,
        )
    with out.status("evaluating before training ...") as status:

        def on_row(row: dict[str, Any]) -> None:
            out.print(Text(tables.row_line(row, config.iterations)))
            status.update(f"iteration {row['iteration'] + 1} of {config.iterations} ...")

        rows = train(session, run, on_row=on_row, deadline=_deadline(config, began))
    if any(row.get("eval/pass_at_1") is not None for row in rows):
        out.print(tables.before_and_after(rows))
    last = rows[-1]
    out.print(
        f"generated {last['rollout/sampled_tokens_total']:,} tokens in "
        f"{last['iteration']} iterations, {(time.monotonic() - began) / 60:.1f} minutes",
        highlight=False,
    )
    report = write_report([run.path], run.path / "report.html")
    out.print(Text(f"report: {report}\nmetrics: {run.path / 'metrics.jsonl'}"))
