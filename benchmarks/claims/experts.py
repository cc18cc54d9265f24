"""Expert chains in a hand that is not the policy's own.

The families' reference solutions are what the base model was pretrained on, so as experts they
speak its language. These say the same, step for step, in another one.
"""

import json
import re
from pathlib import Path

from reason_env.agents.env_config import EnvConfig
from reason_env.agents.rollout import reason_env_of
from reason_env.codec import ByteCodec
from reason_env.problem import Problem

_STEP = re.compile(r"([A-Z]):(\d)([-+*/^])(\d) ([xyz])=(\d)")


def foreign_step(step: str) -> str:
    """Returns a register step as somebody else would write it.

    >>> foreign_step("S:3/9 y=7")
    'y becomes 7, since 3/9 is 7 (S)'
    """
    found = _STEP.fullmatch(step)
    assert found is not None, f"not a register step: {step!r}"
    label, before, symbol, operand, register, after = found.groups()
    return f"{register} becomes {after}, since {before}{symbol}{operand} is {after} ({label})"


def foreign_response(problem: Problem) -> str:
    """Returns the reference chain in that hand, up to its answer line."""
    return "".join(f"{foreign_step(step)}\n" for step in problem.solution)


def write_foreign(source: str, env: EnvConfig, out: Path) -> str:
    """Writes a family's training problems with rewritten solutions; returns the file, a source."""
    problems = reason_env_of(
        EnvConfig(problems=source, size=env.size, levels=env.levels).make(ByteCodec())
    ).problems
    rows = [
        {
            "question": problem.question,
            "answer": problem.answer,
            "solution": [foreign_step(step) for step in problem.solution],
            "level": problem.level,
        }
        for problem in problems
    ]
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"{source}_foreign.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(file)
