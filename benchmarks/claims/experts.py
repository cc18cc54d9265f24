"""Expert chains in a hand that is not the policy's own.

The families' reference solutions are what the base model was pretrained on, so as experts they
speak its language. These say the same, step for step, in another one.
"""

import json
import re
from dataclasses import replace
from pathlib import Path

from reason_env.agents.compare import slug
from reason_env.codec import ByteCodec
from reason_env.env import EnvConfig, reason_env_of
from reason_env.problem import Problem

_REGISTER = re.compile(r"([A-Z]):(\d)([-+*/^])(\d) ([xyz])=(\d)")
_ROW = re.compile(r"([xyz])=([-+*\d]+)")


def foreign_step(step: str) -> str:
    """Returns a step of `inverse`, `unlock` or `precedence` as somebody else would write it.

    >>> foreign_step("S:3/9 y=7"), foreign_step("x=6-0")
    ('y becomes 7, since 3/9 is 7 (S)', 'what is left of x is 6-0')
    """
    register, row = _REGISTER.fullmatch(step), _ROW.fullmatch(step)
    if register is not None:
        label, before, symbol, operand, name, after = register.groups()
        return f"{name} becomes {after}, since {before}{symbol}{operand} is {after} ({label})"
    assert row is not None, f"a step of another family: {step!r}"
    return f"what is left of {row[1]} is {row[2]}"


def foreign_response(problem: Problem) -> str:
    """Returns the reference chain in that hand, up to its answer line."""
    return "".join(f"{foreign_step(step)}\n" for step in problem.solution)


def write_foreign(source: str, env: EnvConfig, out: Path) -> str:
    """Writes a family's training problems with rewritten solutions; returns the file, a source."""
    problems = reason_env_of(replace(env, problems=source).make(ByteCodec())).problems
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
    file = out / f"{slug(source)}_foreign.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(file)
