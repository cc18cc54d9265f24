r"""Fuzzes the verifier with mutated answers and random pieces of LaTeX.

Claim: no exception and no hang in 10 minutes. Measures the CPU time of each call in this process,
because wall time depends on the load of the machine; the worker has its own limit. A seed makes
findings repeatable. Run: python -m benchmarks.verifier.fuzz [seconds] [seed]
"""

import sys
import time
import traceback

import numpy as np

from benchmarks.verifier.metamorphic import ANSWERS
from reason_env.verify import clear_cache, extract_answer, grade, is_gradable

MAX_CPU_S = 1.0
PIECES = tuple(
    r"""
    \boxed{ \frac \sqrt \sqrt[3] \sum_{k=1}^{n} \int_0^1 \lim_{x\to0} \begin{pmatrix}
    \end{pmatrix} \left( \right) \{ \} { } ( ) [ ] | ^ _ ! ' " % \% $ $$ \( \) \[ \] & \\ , ; : .
    .. + - * / = < > <= \le \ge \ne \in \cup \cap \setminus \pm \mp \approx \pi e i \infty
    \emptyset \sin \cos \log \ln \log_2 \binom \lfloor \rfloor \text{ \mathrm{cm} \circ
    \overline{3} \mathbb{R} \ldots \frac12 \dfrac{1}{2} 0 1 2 7 10 99999 1e9 1.5E999 0.1 .5 1,000
    x y n f(x) f'(x) x_1 x_{n} and or is the answer #### <think> </think> dx \int dx \sum \mho
    \foo \partial cm km \$ 1/0 0^0 9^9^9 100! \mid \langle \rangle \ud800
    """.split()
)
_ODD = (
    "\ud800", "\u200b", "\u202e", "\u0661", "\uff11", "\x00", "\n", " ", "\u221e", "\u03c0",
    "\u2460",
)  # fmt: skip


def response_from(rng: np.random.Generator) -> str:
    """Draw a random text: pieces of LaTeX, or an answer with some characters changed."""
    if rng.random() < 0.5:
        count = int(rng.integers(1, 40 if rng.random() < 0.95 else 800))
        text = "".join(_piece(rng) for _ in range(count))
    else:
        text = _mutated(ANSWERS[int(rng.integers(len(ANSWERS)))], rng)
    return text if rng.random() < 0.2 else f"\\boxed{{{text}}}"


def _piece(rng: np.random.Generator) -> str:
    if rng.random() < 0.03:
        return _ODD[int(rng.integers(len(_ODD)))]
    return PIECES[int(rng.integers(len(PIECES)))] + (" " if rng.random() < 0.3 else "")


def _mutated(text: str, rng: np.random.Generator) -> str:
    for _ in range(int(rng.integers(1, 6))):
        at = int(rng.integers(len(text) + 1))
        kind = rng.random()
        if kind < 0.5:
            text = text[:at] + _piece(rng) + text[at:]
        elif kind < 0.75:
            text = text[:at] + text[at + int(rng.integers(1, 4)) :]
        else:
            text = text[:at] + text[at:] * int(rng.integers(1, 4))
    return text[:3000]


def run(seconds: float, seed: int) -> dict[str, object]:
    """Fuzz for some seconds; count outcomes, and collect texts that raised or took too long."""
    rng = np.random.default_rng(seed)
    outcomes: dict[str, int] = {}
    raised: list[str] = []
    slow: list[tuple[str, str, float]] = []
    deadline = time.monotonic() + seconds
    slowest = 0.0
    while time.monotonic() < deadline:
        response, reference = response_from(rng), ANSWERS[int(rng.integers(len(ANSWERS)))]
        if rng.random() < 0.2:
            reference = extract_answer(response_from(rng)) or reference
        start = time.process_time()
        try:
            outcome = str(grade(response, reference).outcome)
            is_gradable(reference)
        except Exception:  # noqa: BLE001 - any exception is the finding
            raised.append(f"{response!r} {reference!r} {traceback.format_exc()}")
            outcome = "raised"
        spent = time.process_time() - start
        slowest = max(slowest, spent)
        if spent > MAX_CPU_S:
            slow.append((response[:300], reference[:100], spent))
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        if sum(outcomes.values()) % 5000 == 0:
            clear_cache()
    return {"outcomes": outcomes, "raised": raised[:5], "num_raised": len(raised), "slow": slow[:5],
            "num_slow": len(slow), "slowest_s": round(slowest, 3)}  # fmt: skip


def main() -> None:
    """Print the counts."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 600.0
    print(run(seconds, int(sys.argv[2]) if len(sys.argv) > 2 else 0))


if __name__ == "__main__":
    main()
