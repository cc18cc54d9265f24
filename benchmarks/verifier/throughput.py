r"""Verdicts per second against math-verify, in one process and one run, without caches.

Claim: at least 20 times as many on integers and fractions, 50 times as many on polynomials and
trigonometric identities; a 1.3 kB response with a boxed integer takes at most 50 us. The graders
take turns for `REPEATS` rounds, so that a slow moment of the machine hits both; the ratio is that
of the median seconds of CPU time.
Run: python -m benchmarks.verifier.throughput
"""

import logging
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import math_verify

from reason_env.verify import clear_cache, grade
from reason_env.verify.parsing.reading import read

REPEATS = 7

Pairs = list[tuple[str, str]]
Grader = Callable[[str, str], bool]


@dataclass(frozen=True, slots=True)
class Setting:
    """A kind of answer, its pairs, and the ratio claimed."""

    name: str
    pairs: Callable[[], Pairs]
    at_least: float
    math_verify_pairs: int = 60


def _boxed(response: str, answer: str) -> tuple[str, str]:
    return f"The answer is $\\boxed{{{response}}}$.", f"${answer}$"


SETTINGS = (
    Setting("integers", lambda: [_boxed(str(n), str(n)) for n in range(1000, 3000)], 20, 400),
    Setting(
        "fractions",
        lambda: [_boxed(rf"\frac{{{n}}}{{7}}", rf"\frac{{{2 * n}}}{{14}}") for n in range(3, 2000)],
        20,
        200,
    ),
    Setting(
        "polynomials",
        lambda: [_boxed(f"x^2+{n + 1}x+{n}", f"(x+1)(x+{n})") for n in range(2, 900)],
        50,
    ),
    Setting(
        "trigonometric identities",
        lambda: [
            _boxed(rf"{n}\sin^2(x)+{n}\cos^2(x)+\sin(2x)", rf"{n}+2\sin(x)\cos(x)")
            for n in range(2, 500)
        ],
        50,
        20,
    ),
)


def run(setting: Setting) -> list[dict[str, object]]:
    """Time both graders: seconds per pair, their ratio, and whether both accept every pair."""
    pairs = setting.pairs()
    few = pairs[: setting.math_verify_pairs]
    rounds = [(_timed(_by_reason_env, pairs), _timed(_by_math_verify, few)) for _ in range(REPEATS)]
    ours, theirs = (statistics.median(both[at][0] for both in rounds) for at in (0, 1))
    right = all(are_right for both in rounds for _, are_right in both)
    return [{"name": setting.name, "seconds": ours, "math_verify_seconds": theirs,
             "ratio": theirs / ours, "at_least": setting.at_least,
             "all_right": right}]  # fmt: skip


def _timed(grader: Grader, pairs: Pairs) -> tuple[float, bool]:
    """Time a grader once with empty caches: seconds per pair, and whether it accepts every pair."""
    grader(*pairs[0])
    clear_cache()
    read.cache_clear()
    start = time.process_time()
    verdicts = [grader(*pair) for pair in pairs]
    return (time.process_time() - start) / len(pairs), all(verdicts)


def _by_reason_env(response: str, answer: str) -> bool:
    return grade(response, answer).is_correct


def _by_math_verify(response: str, answer: str) -> bool:
    return math_verify.verify(math_verify.parse(answer), math_verify.parse(response))


def long_response() -> float:
    """Time a 1.3 kB response that ends in a boxed integer, in seconds."""
    words = "so we add the two numbers and get " * 38
    pairs = [(f"{words} $\\boxed{{{n}}}$.", str(n)) for n in range(1000, 3000)]
    return statistics.median(_timed(_by_reason_env, pairs)[0] for _ in range(REPEATS))


def score(rows: list[dict[str, object]]) -> dict[str, float]:
    """Map each setting to its ratio."""
    return {str(row["name"]): float(str(row["ratio"])) for row in rows}


def main() -> None:
    """Print the ratios."""
    logging.disable(logging.CRITICAL)
    for setting in SETTINGS:
        for row in run(setting):
            print(row)
    print("1.3 kB response with a boxed integer:", round(long_response() * 1e6, 1), "us")


if __name__ == "__main__":
    main()
