"""The check that PYTHONHASHSEED has no effect: two processes play the same seeds.

The hash of a text changes from process to process, and with it the order of a set of texts. The
question often hides this: two runs of one seed may show one question and train on different
reference steps, hints and answers. All parts of an episode are therefore compared.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence

from reason_env.check.report import require
from reason_env.errors import shown

PARTS = ("observation", "reference", "solution", "return")
"""The parts of an episode, in the order of comparison."""
# hasattr replaces isinstance(task, Explained), whose import the task may not need.
_EPISODES = """
import json, sys
program, seeds = json.loads(sys.stdin.read())
names = {}
exec(program, names)
task = names["task"]
episodes = []
for seed in seeds:
    seen, reference = task.begin(seed), task.reference()
    solution = list(task.solution()) if hasattr(task, "solution") else []
    episodes.append([seen, reference, solution, task.respond(reference)])
sys.stdout.write("\\n" + json.dumps(episodes))
"""


def check_hash_seeds(program: str, seeds: Sequence[int]) -> None:
    """Check that two processes with different hash seeds play equal episodes.

    The observation, the reference, the reference solution of an `Explained` task, and the return of
    the reference must be equal.

    Args:
        program: Python that builds a task and binds it to `task`.
        seeds: The seeds of the episodes.

    Raises:
        FailedCheckError: A process fails, or a part differs; the message names the first.
    """
    first, second = (_episodes(program, seeds, hash_seed) for hash_seed in ("1", "2"))
    for seed, one, other in zip(seeds, first, second, strict=True):
        for part, under_1, under_2 in zip(PARTS, one, other, strict=True):
            require(
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
    require(done.returncode == 0, f"another process fails: {last[-120:]}")
    return json.loads(done.stdout.splitlines()[-1])
