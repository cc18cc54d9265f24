"""`reason-env train METHOD`: trains, shows every iteration, ends with a table and a curve."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.text import Text

from reason_env.agents import config_json
from reason_env.agents.checkpoint import latest_checkpoint
from reason_env.agents.methods import METHODS
from reason_env.agents.run_dir import RunDir
from reason_env.agents.train import train
from reason_env.agents.train_config import TrainConfig
from reason_env.agents.training import Training
from reason_env.cli import tables
from reason_env.cli.flags import FLAT, Arguments, out, parsed
from reason_env.errors import ConfigError, UnknownNameError, did_you_mean
from reason_env.wrappers.stack import checked_spec


def run(words: list[str]) -> None:
    """Trains by the method that the first word names."""
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
        env: Annotated[Path | None, tyro.conf.arg(name="env")] = None
        """A wrapped environment as env.spec.to_json() writes it; stands instead of the flags of
        the environment."""
        from_config: Path | None = None
        """Takes every setting from this config.json; only --out may stand beside it."""

    default = Train(config=TrainConfig(method=METHODS[method]()))
    given = parsed(Train, rest, prog=f"train {method}", default=default)
    if given.resume is not None:
        _alone(rest, {"--resume"})
        _resume_run(given.resume, method)
        return
    config = given.config
    if given.from_config is not None:
        _alone(rest, {"--from-config", "--out"})
        config = _config_of(given.from_config)
    if given.env is not None:
        spec = _text_of(given.env, "--env")
        config = replace(config, env=replace(config.env, stack=spec))
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

    return config_json.load(TrainConfig, _text_of(path, "--from-config"))


def _check_stack(config: TrainConfig) -> None:
    """Raises if the spec of a stack, wherever it comes from, would run code that is not ours."""
    if config.env.stack is not None:
        checked_spec(config.env.stack)


def _text_of(path: Path, flag: str) -> str:
    if not path.is_file():
        raise ConfigError(f"{flag} must name a file, got {str(path)!r}; check the path")
    return path.read_text(encoding="utf-8")


def _new_run(config: Any, path: Path | None, command: list[str]) -> None:

    _check_stack(config)
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

    with RunDir.open(path) as run:
        config = run.config(TrainConfig)
        if config.method.kind != method:
            raise ConfigError(
                f"--resume must name a run of {method!r}, got one of {config.method.kind!r}; "
                f"use: reason-env train {config.method.kind} --resume {path}"
            )
        _check_stack(config)
        training = Training(config, checkpoint=latest_checkpoint(run))
        command = ["reason-env", "train", method, "--resume", str(path)]
        run.resume(training.iteration, command=command, device=config.device)
        out.print(f"resuming {path} after iteration {training.iteration}", highlight=False)
        _show_run(training, run)


def _free_directory(config: Any) -> Path:
    source = Path(config.env.source.rpartition(":")[2]).stem or "problems"
    number = 1
    while (path := Path("runs") / f"{config.method.kind}-{source}-{number:03d}").exists():
        number += 1
    return path


def _show_run(training: Any, run: Any) -> None:

    config = training.config
    began = time.monotonic()
    deadline = None if config.max_minutes is None else began + 60 * config.max_minutes
    out.print(
        Text(
            f"{config.method.kind} on {config.env.source}: "
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
            out.print(Text(tables.row_line(row, config.iterations)))
            status.update(f"iteration {row['iteration'] + 1} of {config.iterations} ...")

        rows = train(training, run, on_row=on_row, deadline=deadline)
    if any(row.get("eval/pass_at_1") is not None for row in rows):
        out.print(tables.before_and_after(rows))
    last = rows[-1]
    out.print(
        f"generated {last['rollout/sampled_tokens_total']:,} tokens in "
        f"{last['iteration']} iterations, {(time.monotonic() - began) / 60:.1f} minutes",
        highlight=False,
    )
    out.print(Text(f"curve: {run.path / 'curve.png'}\nmetrics: {run.path / 'metrics.jsonl'}"))
