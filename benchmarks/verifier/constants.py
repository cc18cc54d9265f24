"""Whether a policy that says one constant answer to every problem earns more than its share.

Claim: on GSM8K (where it is found) and on two sets of reasoning-gym, no constant of the 200
likeliest is graded correct on a problem whose reference is another value.

    python -m benchmarks.verifier.constants [FILE ...]
"""

import sys
import time
from pathlib import Path

from reason_env.problems import ConstantProbe, load_problems, probe_constants

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "gsm8k"
REASONING_GYM = ("gcd", "simple_equations")


def sources() -> list[tuple[str, str]]:
    """The sets of the claim that are found here, with their split."""
    files = [(f"gsm8k:{DATA / split}.jsonl", split) for split in ("train", "test")]
    found = [(name, split) for name, split in files if Path(name.partition(":")[2]).is_file()]
    return found + [(f"reasoning_gym:{name}", "test") for name in REASONING_GYM]


def probed(source: str, split: str) -> ConstantProbe:
    """Probe one set; those of reasoning-gym have 30 problems."""
    size = 30 if source.startswith("reasoning_gym:") else None
    return probe_constants(load_problems(source, split=split, size=size))


def main() -> None:
    """Print a line for each set, and each constant that earns more than its share."""
    chosen = [(name, "train") for name in sys.argv[1:]] or sources()
    for source, split in chosen:
        began = time.perf_counter()
        probe = probed(source, split)
        print(
            f"{source}: {len(probe.shares)} constants, {probe.num_problems:,} problems, best "
            f"{probe.best.constant!r} on {probe.best.earned}, {len(probe.above)} above their "
            f"share, {probe.num_undecided:,} pairs undecided, {time.perf_counter() - began:.1f} s"
        )
        for one in probe.above:
            print(f"  {one.constant!r} earns {one.earned}, its share {one.honest}: {one.examples}")


if __name__ == "__main__":
    main()
