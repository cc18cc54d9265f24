"""`reason-env eval`: measures pass@1 and pass@k of a policy, with 95 % intervals, by level."""

from dataclasses import dataclass, field
from typing import Annotated

from rich.text import Text

from reason_env.agents.engines import EngineConfig
from reason_env.agents.evaluate import EvalConfig, evaluate
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.runs import FLAT
from reason_env.cli import tables
from reason_env.cli.flags import out, parsed
from reason_env.env import EnvConfig, reason_env_of


def run(words: list[str]) -> None:
    """Measure a policy."""

    @dataclass(frozen=True, kw_only=True)
    class Eval:
        """Measure pass@1 and pass@k of a policy, with 95 % intervals, by level."""

        env: Annotated[EnvConfig, FLAT] = field(default_factory=lambda: EnvConfig(split="test"))
        model: str = "base"
        """The model: "base", a model directory (also model/ of a checkpoint), or a hub name."""
        device: str = "cpu"
        """cpu, cuda, cuda:1, ..."""
        dtype: str = "float32"
        """float32, bfloat16 or float16."""
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

    given = parsed(Eval, words, prog="eval")
    config = EvalConfig(
        num_problems=given.num_problems,
        samples=given.samples,
        k=given.k,
        temperature=given.temperature,
        greedy=given.greedy,
    )
    policy = LanguageModelPolicy.load(
        given.model,
        device=given.device,
        dtype=given.dtype,
        max_batch_size=given.max_batch_size,
        engine=given.engine,
        step_delimiter=given.env.step_delimiter,
    )
    out.print(Text(given.env.template_line(policy.codec)))
    env = given.env.make(policy.codec)
    ids = [item.problem_id for item in reason_env_of(env).problems][: config.num_problems]
    with out.status(f"sampling {config.samples} completions of {len(ids)} problems ..."):
        report = evaluate(policy, env, ids, config=config, seed=given.seed)
    out.print(Text(f"pass@1 {report.pass_at_1}   pass@{report.k} {report.pass_at_k}"))
    if report.greedy is not None:
        out.print(Text(f"greedy {report.greedy}"))
    out.print(Text("outcomes: " + ", ".join(f"{k} {n}" for k, n in report.outcomes.items())))
    out.print(tables.level_table(report.by_level, report.k))
