"""`reason-env play`: one episode, step by step, typed by a person or sampled by a policy.

`:back` undoes a step by resetting the environment to the state before it. `:end`, or the end of the
input, ends the response.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

import gymnasium as gym
from rich.text import Text

from reason_env.agents.engines import Context, SamplingConfig
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.runs import FLAT, model_directory
from reason_env.cli import tables
from reason_env.cli.flags import out, parsed, trust
from reason_env.codec import ByteCodec
from reason_env.env import EnvConfig, ReasonEnv
from reason_env.state import ReasonState

Ask = Callable[[int], str | None]


def run(words: list[str]) -> None:
    """Play one episode."""

    @dataclass(frozen=True, kw_only=True)
    class Play:
        """Play one episode, step by step: type the steps yourself, or let a model write them."""

        env: Annotated[EnvConfig, FLAT] = field(default_factory=EnvConfig)
        model: str | None = None
        """The model that plays: "base", a directory or a hub name; None: you."""
        problem: str | None = None
        """Problem id; None: a random one."""
        seed: int = 0
        """Seed of the environment and of the model's samples."""
        trust: str | None = None
        """Modules, joined by commas, whose wrappers a spec may name: their code is imported and
        runs."""

    trust(words)
    given = parsed(Play, words, prog="play")
    policy: Any = None
    if given.model is not None:
        policy = LanguageModelPolicy.load(
            model_directory(given.model), step_delimiter=given.env.step_delimiter
        )
    codec = ByteCodec(given.env.step_delimiter) if policy is None else policy.codec
    env = given.env.make(codec, granularity="step", format="text", render_mode="ansi")
    options = {} if given.problem is None else {"problem": given.problem}
    env.reset(seed=given.seed, options=options)
    steps = typed_steps(env, _ask) if policy is None else model_steps(env, policy, given.seed)
    out.print(Text(str(env.render())))
    for line in steps:
        out.print(Text(line))
    problem = env.unwrapped.state.problem
    out.print(tables.problem_text(problem))


def _ask(number: int) -> str | None:
    """Read a line from the person; None at the end of the input."""
    try:
        return input(f"step {number}> ")
    except EOFError:
        return None


def typed_steps(env: gym.Env[Any, Any], ask: Ask) -> Iterator[str]:
    """Step the environment with each line that `ask` returns; yield the lines to show."""
    inner = env.unwrapped
    assert isinstance(inner, ReasonEnv), "play needs an env whose core is a ReasonEnv"
    history: list[ReasonState] = []
    yield "Type one reasoning step per line, the answer as `#### answer`; :back undoes, :end ends."
    while True:
        line = ask(inner.state.num_steps + 1)
        if line == ":back":
            if history:
                env.reset(options={"state": history.pop()})
                yield f"(back at step {inner.state.num_steps + 1})"
            continue
        history.append(inner.state)
        ends = line is None or line == ":end"
        action = "" if ends else f"{line}{inner.codec.step_delimiter}"
        _, reward, terminated, truncated, info = env.step(action)
        if terminated or truncated:
            yield _ended(float(reward), info)
            return


def model_steps(env: gym.Env[Any, Any], policy: Any, seed: int) -> Iterator[str]:
    """Yield each step that the policy writes; marks the first wrong one, if there is a checker."""
    inner = env.unwrapped
    assert isinstance(inner, ReasonEnv), "play needs an env whose core is a ReasonEnv"
    context = Context(
        token_ids=inner.prompt.token_ids(inner.state),
        num_samples=1,
        max_new_tokens=inner.rules.max_tokens,
    )
    ((completion,),) = policy.sample([context], SamplingConfig(), seed=seed)
    full = inner.state.extend(completion.token_ids)
    for number, step in enumerate(full.steps, start=1):
        if not step:
            break
        _, reward, terminated, truncated, info = env.step(step)
        yield f"{number:>3}  {step.rstrip()}{_mark(inner)}"
        if terminated or truncated:
            yield _ended(float(reward), info)
            return
    _, reward, _, _, info = env.step("")
    yield _ended(float(reward), info)


def _mark(inner: ReasonEnv) -> str:
    checker = inner.problems.checker
    if checker is None:
        return ""
    wrong = checker(inner.state.problem, inner.state.steps)
    return "" if wrong is None or wrong != inner.state.num_steps else "    <- first wrong step"


def _ended(reward: float, info: dict[str, Any]) -> str:
    reason = f" ({info['reason']})" if info["reason"] else ""
    return f"     {info['outcome']}{reason}, reward {reward:g}\n"
