"""`reason-env eval`: measures pass@1 and pass@k of a policy, with 95 % intervals, by level.

A model that this project trained is evaluated as its run evaluates it: with its prompt, limits and
grading, on its held-out problems. Flags that differ from how it was trained act, with a warning.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym
import tyro
from rich.text import Text

from reason_env.agents.engines import EngineConfig
from reason_env.agents.evaluate import EvalConfig, EvalReport, evaluate
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.runs import FLAT, model_directory, tree_of, write_text
from reason_env.agents.train import ModelRecord, no_eval_problems, read_record
from reason_env.cli import tables
from reason_env.cli.flags import (
    Arguments,
    check_spec_alone,
    given_flags,
    out,
    parsed,
    text_of,
    trust,
    value_of,
)
from reason_env.codec import Codec
from reason_env.env import EnvConfig, reason_env_of
from reason_env.errors import ConfigError, shown

_log = logging.getLogger(__name__)
ABOUT_PROBLEMS = (
    "problems", "split", "size", "levels", "problem_seed", "columns", "allow_ungradable",
    "drop_ungradable", "hold_out",
)  # fmt: skip
"""Fields of EnvConfig that choose the problems: other ones than the run's are no contradiction."""


@dataclass(frozen=True, kw_only=True)
class Eval:
    """Measure pass@1 and pass@k of a policy, with 95 % intervals, by level."""

    config: Annotated[EnvConfig, FLAT] = field(default_factory=lambda: EnvConfig(split="test"))
    model: str = "base"
    """The model: a run directory (its newest checkpoint), one checkpoint, a model directory,
    "base", "late", "sealed", "smollm2", a GGUF file, or a hub name."""
    env: Annotated[Path | None, tyro.conf.arg(name="env")] = None
    """File with a wrapped environment as env.spec.to_json() writes it; its wrappers act. Replaces
    the flags of the environment."""
    trust: str | None = None
    """Modules, joined by commas, whose wrappers a spec may name: their code runs."""
    device: str = "cpu"
    """cpu, cuda, cuda:1, ..."""
    precision: str = "float32"
    """float32, or bf16-mixed: matrix products in bfloat16, with float32 weights."""
    max_batch_size: int = 256
    """Sequences sampled in one batch."""
    engine: EngineConfig = field(default_factory=EngineConfig)
    num_problems: int = 200
    """Number of problems, the first of the set."""
    samples: int = 8
    """Completions per problem."""
    k: int = 8
    """The k of pass@k."""
    temperature: float = 1.0
    """Sampling temperature."""
    greedy: bool = True
    """Also decode each problem greedily."""
    seed: int = 0
    """Seed of the samples and of the bootstrap."""
    json: Path | None = None
    """File to write the numbers and settings to, as JSON."""
    transcripts: Path | None = None
    """File to write every sampled episode to, as JSON lines: prompt, response and verdict."""


def run(words: list[str]) -> None:
    """Measure a policy."""
    trust(words)
    model = model_directory(value_of("--model", words, Eval.model))
    record = read_record(model)
    if given_flags(words, {"stack"}):
        record, default = None, Eval(config=EnvConfig())
    else:
        default = _defaults(record)
    given: Eval = parsed(Eval, words, prog="eval", default=default)
    if {"problems"} == given_flags(words, {"problems", "hold_out"}):
        # What the run held out of its own problems says nothing about other ones.
        given = replace(given, config=replace(given.config, hold_out=None))
    _check_files(given)
    config = EvalConfig(
        num_problems=given.num_problems,
        samples=given.samples,
        k=given.k,
        temperature=given.temperature,
        greedy=given.greedy,
    )
    env_config, make = _environment(given, words, record)
    policy = LanguageModelPolicy.load(
        model,
        device=given.device,
        precision=given.precision,
        max_batch_size=given.max_batch_size,
        engine=given.engine,
        step_delimiter=env_config.step_delimiter,
    )
    out.print(Text(env_config.template_line(policy.codec)))
    env = make(policy.codec)
    problems = reason_env_of(env).problems
    ids = [item.problem_id for item in problems][: config.num_problems]
    if record is not None:
        out.print(
            Text(f"{model}: {record.method} from {record.base_model}, iteration {record.iteration}")
        )
    what = tables.counted(len(ids), "problem")
    with out.status(f"sampling {config.samples} completions of {what} ..."):
        report = evaluate(policy, env, ids, config=config, seed=given.seed)
    _show(report)
    facts = {
        "model": model,
        "precision": given.precision,
        "trained": None if record is None else tree_of(record),
        "environment": tree_of(env_config),
        "settings": tree_of(config),
        "seed": given.seed,
        "problems_content_hash": problems.content_hash,
    }
    _write(given, report, facts)


def _defaults(record: ModelRecord | None) -> Eval:
    """Give the settings without any flag: those of the model's run."""
    if record is None:
        return Eval()
    own = record.eval
    env = EnvConfig(split=own.split)
    if record.env.stack is None:
        source = {} if own.problems is None else {"problems": own.problems, "hold_out": None}
        env = replace(record.env, size=None, split=own.split, **source)
    return Eval(
        config=env,
        precision=record.precision,
        num_problems=own.num_problems,
        samples=own.samples,
        k=own.k,
        temperature=own.temperature,
        greedy=own.greedy,
    )


def _environment(
    given: Eval, words: Arguments, record: ModelRecord | None
) -> tuple[EnvConfig, Callable[[Codec], gym.Env[Any, Any]]]:
    """Find the environment that the flags describe; warn where it differs from the model's run.

    Returns:
        Its config, and the function that makes it.
    """
    if given.env is not None:
        check_spec_alone(words)
        spec = EnvConfig(stack=text_of(given.env, "--env"))
        return spec, spec.make
    if record is None:
        return given.config, given.config.make
    names = given_flags(words, {item.name for item in fields(EnvConfig)})
    has_own = record.eval.problems is not None or record.env.has_split(record.eval.split)
    if not has_own and not {"problems", "split"} & names:
        raise no_eval_problems(record.env.source)
    if record.env.stack is None:
        _warn(given.config, record.env)
        return given.config, given.config.make
    refused = names - {*ABOUT_PROBLEMS, "max_tokens", "max_steps", "max_prompt_tokens", "grading"}
    if refused:
        flag = min(refused).replace("_", "-")
        raise ConfigError(
            f"a model that was trained with --env must be evaluated with its spec, got --{flag} "
            "too; give a changed spec: --env FILE"
        )
    changes = {name: getattr(given.config, name) or None for name in names}
    for name in sorted(names - set(ABOUT_PROBLEMS)):
        _log.warning("--%s may differ from the spec that the model was trained with", name)
    return record.env, lambda codec: record.eval_env(codec, **changes)


def _warn(given: EnvConfig, trained: EnvConfig) -> None:
    """Warn of each setting, but the choice of problems, that the model was not trained with."""
    for item in fields(EnvConfig):
        own, other = getattr(given, item.name), getattr(trained, item.name)
        if item.name not in ABOUT_PROBLEMS and own != other:
            _log.warning(
                "--%s is %s, but the model was trained with %s",
                item.name.replace("_", "-"),
                shown(own, 60),
                shown(other, 60),
            )


def _check_files(given: Eval) -> None:
    """Raise before anything is sampled if an output file cannot be written."""
    for flag, path in (("--json", given.json), ("--transcripts", given.transcripts)):
        if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
            raise ConfigError(
                f"{flag} must name a file in an existing directory, got {str(path)!r}; create it"
            )


def _show(report: EvalReport) -> None:
    out.print(Text(f"pass@1 {report.pass_at_1}   pass@{report.k} {report.pass_at_k}"))
    if report.greedy is not None:
        out.print(Text(f"greedy {report.greedy}"))
    out.print(Text("outcomes: " + ", ".join(f"{k} {n}" for k, n in report.outcomes.items())))
    out.print(tables.level_table(report.by_level, report.k))


def _write(given: Eval, report: EvalReport, facts: dict[str, Any]) -> None:
    if given.json is not None:
        text = json.dumps(facts | {"report": report.summary}, indent=2, allow_nan=False)
        write_text(given.json, text + "\n")
        out.print(Text(f"numbers: {given.json}"))
    if given.transcripts is not None:
        lines = [json.dumps(row, allow_nan=False) + "\n" for row in report.transcripts]
        write_text(given.transcripts, "".join(lines))
        out.print(Text(f"transcripts: {given.transcripts}"))
