"""The check that PYTHONHASHSEED decides nothing: two processes play the same seeds.

The hash of a text changes from process to process, so whatever walks a set of texts does too. Most
of what it decides is not seen in the question: two runs of one seed may show one question and
train on other reference steps, hints and answers. So all of an episode is compared.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence

from reason_env.check.report import need
from reason_env.errors import shown

PARTS = ("observation", "reference", "solution", "return")
"""Of an episode, in the order in which they are compared."""
# hasattr is what isinstance(task, Explained) asks, without an import that the task may not need.
_EPISODES = """
import json, sys
program, seeds = json.loads(sys.stdin.read())
names = {}
exec(program, names)
task = names["task"]
said = []
for seed in seeds:
    seen, reference = task.begin(seed), task.reference()
    solution = list(task.solution()) if hasattr(task, "solution") else []
    said.append([seen, reference, solution, task.respond(reference)])
sys.stdout.write("\\n" + json.dumps(said))
"""


def same_under_hash_seeds(program: str, seeds: Sequence[int]) -> None:
    """Checks that two processes with other hash seeds play equal episodes.

    Equal are what is seen, the reference, the reference solution of an `Explained` task, and what
    the reference returns.

    Args:
        program: Python that makes a task and binds it to `task`; its last line of output counts.
        seeds: Of the episodes.

    Raises:
        FailedCheckError: A process fails, or a part differs: which one first, and how.
    """
    first, second = (_episodes(program, seeds, hash_seed) for hash_seed in ("1", "2"))
    for seed, one, other in zip(seeds, first, second, strict=True):
        for part, under_1, under_2 in zip(PARTS, one, other, strict=True):
            need(
                under_1 == under_2,
                f"the {part} of seed {seed} depends on PYTHONHASHSEED: "
                f"{shown(under_1, 60)} or {shown(under_2, 60)}",
            )


def _episodes(program: str, seeds: Sequence[int], hash_seed: str) -> list[list[object]]:
    done = subprocess.run(
        [sys.executable, "-c", _EPISODES],
        input=json.dumps([program, list(seeds)]),
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
    )
    last = done.stderr.strip().rpartition("\n")[2]
    need(done.returncode == 0, f"another process fails: {last[-120:]}")
    return json.loads(done.stdout.splitlines()[-1])
