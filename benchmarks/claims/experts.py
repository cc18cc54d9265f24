"""Reference solutions at a chosen distance from the policy.

The models were pretrained on the families' reference solutions, so these are experts that write as
the policy does. Here a share of the steps says the same in words that no model has seen; the more
of them, the less likely the whole solution is. How far it is, in nats a token, is measured as a
gate of the claims that use it.
"""

import json
import random
import re
from pathlib import Path

from reason_env.agents.runs import write_text
from reason_env.codec import ByteCodec
from reason_env.env import EnvConfig, reason_env_of
from reason_env.problem import Problem

_REGISTER = re.compile(r"(?P<label>[A-Z]):(?P<sum>\d[-+*/^]\d) (?P<name>[xyz])=(?P<after>\d)")
_TURN = re.compile(
    r"(?P<label>[a-zA-Z])(?P<before>\d)(?P<operation>[-+*/^]\d)=(?P<after>\d)(?P<rest>( [a-z]+)?)"
)
_ROW = re.compile(r"(?P<name>[xyz])=(?P<sum>[-+*\d]+)")


def other_words(step: str) -> str:
    """Say a step in other words.

    Of `inverse`, `chain` and `unlock`; of `sealed` and `late`; of `precedence`:

    >>> other_words("S:3/9 y=7"), other_words("b2^5=2"), other_words("x=6-0")
    ('S makes y 7, which is 3/9', '2 comes of 2^5 at b', '6-0 is left of x')
    """
    if found := _REGISTER.fullmatch(step):
        return f"{found['label']} makes {found['name']} {found['after']}, which is {found['sum']}"
    if found := _TURN.fullmatch(step):
        before, after = found["before"] + found["operation"], found["after"]
        return f"{after} comes of {before} at {found['label']}{found['rest']}"
    found = _ROW.fullmatch(step)
    assert found is not None, f"a step of another family: {step!r}"
    return f"{found['sum']} is left of {found['name']}"


def solution_of(problem: Problem, share: float) -> list[str]:
    """Say a share of the steps of the reference solution in other words.

    Each step's chance is drawn by the problem and its place, so the steps of a larger share hold
    those of a smaller one.
    """
    rng = random.Random(problem.problem_id)
    return [other_words(step) if rng.random() < share else step for step in problem.solution]


def write_experts(source: str, evaluated: str, env: EnvConfig, share: float, folder: Path) -> str:
    """Write training problems with such solutions, and the evaluation problems of the same seed.

    Args:
        source: Of the training problems.
        evaluated: Of the evaluation problems, split `hard`.
        env: The number of training problems and the seed of both.
        share: Of the steps, 0 to 1.
        folder: For the directory, whose name says what is in it.

    Returns:
        The directory, a source with the splits `train` and `hard`.
    """
    name = re.sub(r"[^\w@+-]", "_", f"{source}_{evaluated}")
    found = folder / f"{name}_{env.size}_{env.problem_seed}_{share:g}"
    for split, own, size, of_steps in (
        ("train", source, env.size, share),
        ("hard", evaluated, None, 0.0),
    ):
        file = found / f"{split}.jsonl"
        if file.is_file():
            continue
        drawn = EnvConfig(problems=own, split=split, size=size, problem_seed=env.problem_seed)
        rows = [
            {
                "question": problem.question,
                "answer": problem.answer,
                "solution": solution_of(problem, of_steps),
                "level": problem.level,
            }
            for problem in reason_env_of(drawn.make(ByteCodec())).problems
        ]
        found.mkdir(parents=True, exist_ok=True)
        write_text(file, "".join(json.dumps(row) + "\n" for row in rows))
    return str(found)
