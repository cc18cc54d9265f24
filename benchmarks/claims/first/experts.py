"""Expert chains in words that the policy does not use.

The base model was pretrained on the families' reference solutions, so these are experts that write
as the policy does. The chains here say the same, step by step, in other words.
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
    """Rewrite a step of `inverse`, `unlock` or `precedence` in other words.

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
    """Return the rewritten reference chain, without the answer line."""
    return "".join(f"{foreign_step(step)}\n" for step in problem.solution)


def write_foreign(source: str, env: EnvConfig, out: Path) -> str:
    """Write a family's training problems with rewritten solutions; return the file's path."""
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
