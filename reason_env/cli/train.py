"""`reason-env train METHOD`: trains, shows every iteration, ends with a table and a report."""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.text import Text

from reason_env.agents.cpi import CPIConfig
from reason_env.agents.methods import METHODS, method_config
from reason_env.agents.report import write_report
from reason_env.agents.runs import RunDir, check_free, config_json, latest_checkpoint
from reason_env.agents.train import Session, TrainConfig, build_session, prepare, train
from reason_env.cli import tables
from reason_env.cli.flags import FLAT, Arguments, check_spec_alone, out, parsed
from reason_env.errors import ConfigError

PROGRESS_S = 15.0
"""Between the lines of a preparation."""


def run(words: list[str]) -> None:
    """Trains by the method that the first word names."""
    if not words or words[0].startswith("-"):
        raise ConfigError(
            f"train must name a method, one of {', '.join(METHODS)}, or several joined by '+'; "
            "for example: reason-env train grpo --problems chain --model base"
        )
    method, rest = words[0], words[1:]
    if method == "cpi":
        _run_conservative(rest)
        return
    chosen = method_config(method)
    rest = of_parts(rest, method)

    @dataclass(frozen=True, kw_only=True)
    class Train:
        """Trains a policy; ends with a table, and a run directory that repeats and resumes it."""

        config: Annotated[TrainConfig, FLAT]
        out: Path | None = None
        """Run directory; a new one below runs/ if None."""
        resume: Path | None = None
        """Goes on with the run in this directory; stands alone."""
        env: Annotated[Path | None, tyro.conf.arg(name="env")] = None
        """A wrapped environment as env.spec.to_json() writes it; stands instead of the flags of
        the environment."""
        from_config: Path | None = None
        """Takes every setting from this config.json; only --out may stand beside it."""

    default = Train(config=TrainConfig(method=chosen))
    given = parsed(Train, rest, prog=f"train {method}", default=default)
    if given.resume is not None:
        _alone(rest, {"--resume"})
        _resume_run(given.resume, method)
        return
    config = given.config
    if given.from_config is not None:
        _alone(rest, {"--from-config", "--out"})
        config = _config_of(given.from_config, method)
    if given.env is not None:
        check_spec_alone(rest)
        spec = _text_of(given.env, "--env")
        config = replace(config, env=replace(config.env, stack=spec))
    _new_run(config, given.out, ["reason-env", "train", method, *rest])


def _run_conservative(words: Arguments) -> None:
    """Trains by any method's starts and loss, each update behind CPI's test."""

    @dataclass(frozen=True, kw_only=True)
    class Train:
        """Conservative policy iteration: each update of a method is taken if it holds up."""

        config: Annotated[TrainConfig, FLAT]
        cpi: CPIConfig = field(default_factory=CPIConfig)
        restart: str = "initial"
        """Whose starts are mu, and whose loss makes the candidate: a method's name, or initial (the
        problem, as grpo). The method's own flags follow the name that stands here."""
        out: Path | None = None
        """Run directory; a new one below runs/ if None."""
        resume: Path | None = None
        """Goes on with the run in this directory; stands alone."""
        env: Annotated[Path | None, tyro.conf.arg(name="env")] = None
        """A wrapped environment as env.spec.to_json() writes it; stands instead of the flags of
        the environment."""
        from_config: Path | None = None
        """Takes every setting from this config.json; only --out may stand beside it."""

    restart = _restart_of(words)
    method = method_config("grpo" if restart == "initial" else restart)
    default = Train(config=TrainConfig(method=method), restart=restart)
    words = of_parts(words, restart)
    given = parsed(Train, words, prog="train cpi", default=default)
    if given.resume is not None:
        _alone(words, {"--resume"})
        _resume_run(given.resume, "cpi")
        return
    config = replace(given.config, cpi=given.cpi)
    if given.from_config is not None:
        _alone(words, {"--from-config", "--out"})
        config = _config_of(given.from_config, "cpi")
    if given.env is not None:
        check_spec_alone(words)
        spec = _text_of(given.env, "--env")
        config = replace(config, env=replace(config.env, stack=spec))
    _new_run(config, given.out, ["reason-env", "train", "cpi", *words])


def of_parts(words: Arguments, method: str) -> list[str]:
    """Returns the flags of several methods as their config has them, by place instead of name.

    >>> of_parts(["--lte.gamma", "0.2", "--seed", "1"], "srpo+lte")
    ['--methods.1.gamma', '0.2', '--seed', '1']
    """
    names = method.split("+")
    if len(names) == 1:
        return list(words)
    places = {f"--{name}": f"--methods.{place}" for place, name in enumerate(names)}

    def placed(word: str) -> str:
        head, dot, rest = word.partition(".")
        return places.get(head, head) + dot + rest if dot else word

    return [placed(word) for word in words]


def _restart_of(words: Arguments) -> str:
    """Returns the method that --restart names: it decides which flags there are."""
    for index, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name == "--restart":
            return value if equals else words[index + 1] if index + 1 < len(words) else ""
    return "initial"


def _alone(words: Arguments, allowed: set[str]) -> None:
    flags = [word.partition("=")[0].replace("_", "-") for word in words if word.startswith("--")]
    others = [flag for flag in flags if flag not in allowed]
    if others:
        raise ConfigError(
            f"{' and '.join(sorted(allowed))} must stand alone, got {others[0]} too; a run keeps "
            "its settings: copy its config.json, change it, and start a new run with --from-config"
        )


def _config_of(path: Path, method: str) -> TrainConfig:
    config = config_json.load(TrainConfig, _text_of(path, "--from-config"))
    if config.name != method:
        raise ConfigError(
            f"--from-config must name a config of {method!r}, got one of {config.name!r}; "
            f"use: reason-env train {config.name} --from-config {path}"
        )
    return config


def _text_of(path: Path, flag: str) -> str:
    if not path.is_file():
        raise ConfigError(f"{flag} must name a file, got {str(path)!r}; check the path")
    return path.read_text(encoding="utf-8")


def _new_run(config: TrainConfig, path: Path | None, command: list[str]) -> None:
    """Prepares, and only then writes: a run that is refused leaves no directory behind."""
    place = path or _reserved_directory(config)
    try:
        check_free(place)
        session = build_session(config)
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
    """Makes the next free directory: another run that starts now takes the one after."""
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
    """Lets the method measure its problems, with a line of progress now and then."""
    config = session.config
    num_problems = len(session.problem_ids)
    out.print(
        Text(
            f"{config.name} on {config.env.source}: "
            f"{num_problems} problems, model {config.model}, run {path}"
        )
    )
    told = began

    def on_prepared(done: int, planned: int, tokens: int) -> None:
        nonlocal told
        if time.monotonic() - told > PROGRESS_S:
            told = time.monotonic()
            out.print(
                f"preparing: {done:,} of {planned:,} starts, {tokens:,} tokens, "
                f"{(told - began) / 60:.1f} minutes",
                highlight=False,
            )

    prepare(session, on_prepared=on_prepared, deadline=_deadline(config, began))
    if session.sampled_tokens_total and session.iteration == 0:
        out.print(
            f"prepared with {session.sampled_tokens_total:,} tokens: "
            f"{len(session.problem_ids):,} of {num_problems:,} problems are trained on",
            highlight=False,
        )


def _show_run(session: Session, run: RunDir, began: float) -> None:
    config = session.config
    if session.eval_env is None:
        out.print(
            f"no evaluation: {config.env.source} has no {config.eval.split} split; give "
            "--eval.problems FILE, or another --eval.split, to have one",
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
