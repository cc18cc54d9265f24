"""`reason-env compare METHOD...`: the same budget, several seeds, one table and one report."""

import json
import shlex
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.live import Live
from rich.text import Text

from reason_env.agents.compare import (
    CompareConfig,
    Comparison,
    Progress,
    arm,
    arms_of,
    arms_of_file,
    losses_of,
    num_cores,
    shared_settings,
    slug,
    summary,
    with_loss,
)
from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.methods import method_name, method_names, sb3_names
from reason_env.agents.report import write_report
from reason_env.agents.runs import FLAT, check_trackers, model_directory, write_text
from reason_env.agents.train import TrainConfig
from reason_env.cli.board import Board
from reason_env.cli.flags import (
    check_only,
    check_spec_alone,
    leading,
    out,
    parsed,
    text_of,
    trust,
    trust_flag,
)
from reason_env.cli.running import ended_by_sigterm
from reason_env.cli.tables import arm_table
from reason_env.codec import ByteCodec
from reason_env.env import EnvConfig
from reason_env.errors import ConfigError

FAMILY_SIZE = 64
"""Training problems of a family without --size: few enough that methods which measure each problem
before training (POPE) can do so within a budget."""

DESCRIPTION = """Compare methods at an equal budget of generated tokens, over paired seeds.

For example: reason-env compare grpo rrpo lte:gamma=0.2 --problems chain,inverse --seeds 5

Words before the first flag are arms: METHOD, or METHOD:KEY=VALUE,... The first is the baseline. \
Methods: {methods}; srpo+lte joins two.

The first ten flags describe the comparison; all others are those of `reason-env train` and apply \
to every arm. The command prints a table and one sentence per arm, and writes report.html. Run the \
same command again to continue an interrupted comparison."""


def run(words: list[str]) -> None:
    """Compare the arms that the leading words name."""

    @dataclass(frozen=True, kw_only=True)
    class Compare:
        """The flags of the command."""

        config: Annotated[TrainConfig, FLAT] = field(default_factory=shared_settings)
        seeds: int = 5
        """Runs of each arm, with seeds --seed, --seed + 1, ... Families have 64 training problems
        unless --size is given."""
        budget: int = 500_000
        """Generated tokens of each run, including preparation, localisation and discarded ones."""
        level: float | None = None
        """The pass@1 of "tokens to reach"; None: the baseline's mean final pass@1."""
        workers: int | None = None
        """Processes, each with one thread; None: one per core."""
        same_loss: bool = False
        """Use the baseline's loss of policy tokens in every arm, so that no difference comes from
        the loss."""
        env_spec: Annotated[Path | None, tyro.conf.arg(name="env")] = None
        """File with a wrapped environment as env.spec.to_json() writes it. Replaces the flags of
        the environment."""
        trust: str | None = None
        """Modules, joined by commas, whose wrappers a spec may name: their code runs."""
        arms: Path | None = None
        """JSON file with more arms: label -> settings that differ."""
        out: Path | None = None
        """Directory; None: named by the settings, under runs/."""
        resume: Path | None = None
        """Resume the comparison in this directory. Allows, of all flags, only --workers
        and --trust."""

    trust(words)
    names = leading(words)
    given = parsed(
        Compare,
        words[len(names) :],
        prog="compare METHOD...",
        default=Compare(),
        description=DESCRIPTION.format(methods=", ".join((*method_names(), *sb3_names()))),
    )
    if given.resume is not None:
        advice = "a comparison keeps its settings: start another one"
        check_only("--resume", words, advice=advice, also=("--workers", "--trust"))
        comparison = Comparison.open(given.resume)
    else:
        if given.env_spec is not None:
            check_spec_alone(words)
        config = _config(given, names)
        path = given.out or Path("runs") / _name(config)
        comparison = Comparison.open_or_create(path, config)
    workers = num_cores() if given.workers is None else given.workers
    if workers < 1:
        raise ConfigError(f"workers must be at least 1, got {workers!r}")
    _show(comparison, workers, trust_flag(words))


def _config(given: Any, names: list[str]) -> CompareConfig:
    shared: TrainConfig = given.config
    if shared.seed < 0:
        raise ConfigError(f"seed must be at least 0, got {shared.seed!r}")
    if shared.max_generated_tokens is not None:
        raise ConfigError("a comparison's budget must be given once; use --budget alone")
    env, sources = _env(shared.env, given.env_spec)
    shared = replace(shared, seed=0, env=env, model=model_directory(shared.model))
    arms = arms_of(names, shared)
    if given.arms is not None:
        arms |= arms_of_file(given.arms, shared)
    if not arms:
        raise ConfigError(
            "compare must name arms, the baseline first; for example: reason-env compare grpo "
            "rrpo lte --problems chain --seeds 5 --budget 500000"
        )
    if given.same_loss:
        arms = _with_same_loss(arms, shared)
    config = CompareConfig(
        arms=arms,
        sources=sources,
        num_seeds=given.seeds,
        first_seed=given.config.seed,
        budget=given.budget,
        level=given.level,
        family_size=FAMILY_SIZE,
    )
    check_trackers([name for own in config.arms.values() for name in own.trackers])
    _check_problems(config)
    return config


def _with_same_loss(arms: dict[str, TrainConfig], shared: TrainConfig) -> dict[str, TrainConfig]:
    baseline, first = next(iter(arms.items()))
    losses = losses_of(first.method)
    if not losses:
        raise ConfigError(
            f"--same-loss must have a baseline with a loss of policy tokens, got {baseline!r}; "
            "put another arm first"
        )
    for label, own in arms.items():
        # The arm without its own settings.
        plain = arm(method_name(own.method), shared)
        if label != baseline and losses_of(own.method) != losses_of(plain.method):
            raise ConfigError(
                f"--same-loss must not be given with an arm that sets its loss, got {label!r}; "
                "leave one of them out"
            )
    return {k: replace(v, method=with_loss(v.method, losses[0])) for k, v in arms.items()}


def _check_problems(config: CompareConfig) -> None:
    """Load all training and evaluation problems, to raise before anything is run or written."""
    checked: list[tuple[EnvConfig, EvalConfig]] = []
    for source in config.sources:
        for label in config.arms:
            own = config.run_config(source, label, config.first_seed)
            if (own.env, own.eval) in checked:
                continue
            checked.append((own.env, own.eval))
            own.env.make_bare(ByteCodec(own.env.step_delimiter), template="ours")
            if own.make_eval_env(ByteCodec(own.env.step_delimiter), template="ours") is None:
                raise ConfigError(
                    f"a comparison must have problems to evaluate on, got none for {source!r}; "
                    "give --eval.problems"
                )


def _env(env: EnvConfig, spec: Path | None) -> tuple[EnvConfig, tuple[str, ...]]:
    """Read the environment that the arms share, and the problem sources."""
    if spec is not None:
        env = replace(env, stack=text_of(spec, "--env"))
    if env.stack is not None:
        return env, (env.source,)
    sources = tuple(part.strip() for part in env.problems.split(",") if part.strip())
    if not sources:
        raise ConfigError(f"problems must name a source, got {env.problems!r}; for example chain")
    return replace(env, problems=sources[0]), sources


def _name(config: CompareConfig) -> str:
    sources = "-".join(slug(source) for source in config.sources)
    return f"compare-{sources[:40]}-{config.content_hash}"


def _show(comparison: Comparison, workers: int, trusted: str) -> None:
    config = comparison.config
    began = time.monotonic()
    board = Board(comparison.runs, config.budget)
    out.print(
        Text(
            f"{len(config.arms)} arms x {len(config.sources)} problem sources x "
            f"{config.num_seeds} seeds = {len(comparison.runs)} runs of {config.budget:,} "
            f"generated tokens, {workers} at once, in {comparison.path}"
        )
    )
    try:
        with (
            ended_by_sigterm(),
            Live(board, console=out, refresh_per_second=2, transient=True) as live,
        ):

            def on_progress(progress: Progress) -> None:
                line = board.note(progress)
                if line is not None:
                    live.console.print(line)

            comparison.run(workers=workers, on_progress=on_progress)
    except KeyboardInterrupt:
        out.print(
            Text(
                "interrupted; go on with: reason-env compare --resume "
                f"{shlex.quote(str(comparison.path))}{trusted}"
            ),
        )
        sys.exit(130)
    found = summary(comparison)
    write_text(comparison.path / "comparison.json", json.dumps(found, indent=1, allow_nan=False))
    report = write_report([comparison.path], comparison.path / "report.html")
    for note in found["notes"]:
        out.print(Text(note, style="bold"))
    for source, part in found["by_source"].items():
        out.print(arm_table(source, part, found["baseline"]))
        for own in part["arms"].values():
            out.print(Text(f"  {own['sentence']}"))
        for text in part["without_result"].values():
            out.print(Text(f"  {text}"))
        out.print()
    failed = [item for item in found["runs"] if item["status"] != "finished"]
    for item in failed:
        log = (comparison.path / item["path"]).with_suffix(".log")
        out.print(Text(f"{item['status']}: {item['source']} {item['arm']} seed {item['seed']}"))
        out.print(Text(f"  log: {log}\n  {item.get('log_tail', '')}"))
    out.print(Text(f"{(time.monotonic() - began) / 60:.1f} minutes"))
    out.print(Text(f"report: {report}\nnumbers: {comparison.path / 'comparison.json'}"))
    if failed:
        sys.exit(1)
