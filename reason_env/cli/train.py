"""`reason-env train METHOD`: trains, shows every iteration, ends with a table and report.html."""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro
from rich.text import Text

from reason_env.agents.cpi import CPIConfig
from reason_env.agents.learning import learning_rate_line
from reason_env.agents.methods import method_config, method_names, sb3_names
from reason_env.agents.policy import lora_line
from reason_env.agents.processes import Processes
from reason_env.agents.runs import (
    FLAT,
    RunDir,
    check_free,
    check_trackers,
    config_json,
    model_directory,
)
from reason_env.agents.train import TrainConfig, session_of
from reason_env.cli.devices import devices_flag, first_process, launches
from reason_env.cli.dry_run import show_estimate
from reason_env.cli.flags import (
    HELP_FLAGS,
    Arguments,
    check_only,
    check_spec_alone,
    out,
    parsed,
    text_of,
    trust,
    trust_flag,
    value_of,
)
from reason_env.cli.resume import COPY, resume_run, resumes
from reason_env.cli.running import Interrupted, ended_by_sigterm, prepare_shown, train_shown
from reason_env.errors import ConfigError

ALSO = ("--out", "--dry-run", "--trust", "--devices")
"""The flags that --from-config allows."""
RUNS = Path("runs")
"""Where runs without --out get a directory."""


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a policy; the run directory holds metrics, episodes, checkpoints and report.html."""

    config: Annotated[TrainConfig, FLAT]
    out: Path | None = None
    """Run directory; None: a new one under runs/."""
    resume: Path | None = None
    """Resume the run in this directory; needs no METHOD. Allows only --iterations,
    --max-generated-tokens and --max-minutes, which prolong it, and the flags that a refusal
    advises."""
    env: Annotated[Path | None, tyro.conf.arg(name="env")] = None
    """File with a wrapped environment as env.spec.to_json() writes it. Replaces the flags of the
    environment."""
    trust: str | None = None
    """Modules, joined by commas, whose wrappers a spec may name: their code runs."""
    devices: int = 1
    """Processes that train the weights together, each on a device of its own: a GPU, or a share of
    the processors."""
    dry_run: bool = False
    """Measure a few samples and one update, print what the run would cost, and write nothing."""
    from_config: Path | None = None
    """Read every setting from this config.json. Allows no other flag but --out and --trust."""


@dataclass(frozen=True, kw_only=True)
class TrainCPI(Train):
    """Conservative policy iteration: accept an update only if its measured advantage holds up."""

    cpi: CPIConfig = field(default_factory=CPIConfig)
    restart: str = "initial"
    """The method whose starts are the restart distribution mu and whose loss trains the candidate:
    a method's name, or initial (the problem itself, as grpo). Its own flags are available too."""


def run(words: list[str]) -> None:
    """Train with the method that the first word names, or resume a run."""
    if launches("train", words):
        return
    trust(words)
    with first_process(words) as processes:
        if processes is not None:
            with ended_by_sigterm():
                _run(words, processes)


def _run(words: list[str], processes: Processes) -> None:
    if resumes(words):
        resume_run(words, processes)
        return
    if words[:1] in HELP_FLAGS:
        names = "\n  ".join((*method_names(), "cpi", *sb3_names()))
        out.print(
            Text(
                f"reason-env train METHOD [FLAGS]; methods:\n\n  {names}\n\n"
                "Several joined by + are combined: srpo+lte. For the flags of one: "
                "reason-env train METHOD --help\n\n"
                "reason-env train --resume RUN [--iterations N] resumes or prolongs a run."
            )
        )
        return
    if not words or words[0].startswith("-"):
        raise ConfigError(
            "train must name a method, or several joined by '+' (reason-env methods lists them); "
            "for example: reason-env train grpo --problems chain --model base; to resume a run: "
            "reason-env train --resume RUN"
        )
    name, words = words[0], words[1:]
    default, words = _default(name, words)
    given = parsed(type(default), words, prog=f"train {name}", default=default)
    config = replace(given.config, cpi=given.cpi) if name == "cpi" else given.config
    if given.from_config is not None:
        check_only("--from-config", words, advice=COPY, also=ALSO)
        config = _read_config(given.from_config, name)
    if given.env is not None:
        check_spec_alone(words)
        spec = text_of(given.env, "--env")
        config = replace(config, env=replace(config.env, stack=spec))
    check_trackers(config.trackers)
    if given.dry_run:
        if not processes.is_alone:
            raise ConfigError(
                f"--devices must be 1 with --dry-run, got {processes.number}; what it measures is "
                "one process's"
            )
        show_estimate(config)
        return
    _new_run(config, given.out, ["reason-env", "train", name, *words], processes)


def _default(name: str, words: Arguments) -> tuple[Train, list[str]]:
    """Give the default settings of `train NAME`, and the words with the flags they define."""
    if name != "cpi":
        return Train(config=TrainConfig(method=method_config(name))), with_method_indices(
            words, name
        )
    restart = value_of("--restart", words, "initial")
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


def _read_config(path: Path, method: str) -> TrainConfig:
    config = config_json.load(TrainConfig, text_of(path, "--from-config"))
    if config.name != method:
        raise ConfigError(
            f"--from-config must name a config of {method!r}, got one of {config.name!r}; "
            f"use: reason-env train {config.name} --from-config {path}"
        )
    return config


def _new_run(
    config: TrainConfig, path: Path | None, command: list[str], processes: Processes
) -> None:
    """Build and prepare the run before writing, so that a refused run leaves no directory."""
    config = replace(config, model=model_directory(config.model))
    check_free(path or RUNS)
    place = path or _reserved_directory(config)
    try:
        _check_own(place)
        session = session_of(config, processes=processes)
        is_default = config.learner.learning_rate is None
        out.print(Text(config.env.template_line(session.policy.codec)))
        config = session.config
        line = learning_rate_line(config.learner, session.policy.model, is_default=is_default)
        out.print(Text(line))
        if config.lora.is_on:
            out.print(Text(lora_line(session.policy.model, config.lora)))
        began = time.monotonic()
        prepare_shown(session, place, began)
    except BaseException as error:
        if path is None:
            place.rmdir()
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted(
                "interrupted before the first iteration; nothing was written"
            ) from None
        raise
    seeds = {"seed": config.seed}
    with RunDir.create(
        place,
        session.config,
        command=command,
        device=config.device,
        seeds=seeds,
        problem_sets=session.problem_sets,
        trackers=config.trackers,
    ) as run:
        flags = trust_flag(command) + devices_flag(processes)
        train_shown(session, run, began, flags=flags)


def _check_own(path: Path) -> None:
    """Raise if a directory holds other files than a log and what a killed creation leaves."""
    names = [item.name for item in path.iterdir()] if path.is_dir() else []
    is_own = [name == "provenance.json" or name.startswith(".") for name in names]
    foreign = [
        name
        for name, own in zip(names, is_own, strict=True)
        if not own and not name.endswith((".log", ".out", ".err"))
    ]
    if foreign:
        raise ConfigError(
            f"--out must be a new or empty directory, got {str(path)!r}, which holds "
            f"{min(foreign)!r}; give another --out"
        )


def _reserved_directory(config: TrainConfig) -> Path:
    """Create the next free directory, so that runs that start together get different ones."""
    source = Path(config.env.source.rpartition(":")[2]).stem or "problems"
    number = 1
    while True:
        path = RUNS / f"{config.name}-{source}-{number:03d}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return path
