"""Grades responses against references; returns a `Verdict` and never raises.

Runs tiers from cheapest to most expensive: equal text, equal exact numbers, the typed reader, a
worker. `grade` and `grade_many` share a cache whose key is the final answer rather than the whole
response, so that responses with equal answers are compared once. The cache does not keep TIMEOUT
and ERROR, because another attempt may succeed.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

from reason_env.errors import ConfigError, shown
from reason_env.problem import ScoredReference
from reason_env.verdict import Outcome, Verdict
from reason_env.verify.comparing import compare, reference_answer
from reason_env.verify.extraction import extract_answer
from reason_env.verify.options import DEFAULT, GradeOptions, read_options
from reason_env.verify.scorers import SCORER, score_countdown
from reason_env.verify.workers import shared_pool

CACHE_PAIRS = 20_000
CACHE_CHARACTERS = 2_000
"""Longer answers are not cached."""

_NO_ANSWER = Verdict(Outcome.NO_ANSWER, None, "no final answer was found")
Reference = str | ScoredReference
"""A reference answer, or the entry of a scorer."""
GradingJob = tuple[str, Reference, GradeOptions]
"""What a verdict depends on: final answer of the response, reference, options."""
GradesJobs = Callable[[Sequence[GradingJob]], Sequence[Verdict]]
"""Grades jobs that need a worker, in order, as `grade_jobs` does."""


class _Cache:
    """Least-recently-used cache of verdicts, safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._verdicts: OrderedDict[GradingJob, Verdict] = OrderedDict()

    def get(self, key: GradingJob) -> Verdict | None:
        with self._lock:
            verdict = self._verdicts.get(key)
            if verdict is not None:
                self._verdicts.move_to_end(key)
            return verdict

    def put(self, key: GradingJob, verdict: Verdict) -> None:
        if not verdict.is_graded or len(key[0]) > CACHE_CHARACTERS:
            return
        with self._lock:
            self._verdicts[key] = verdict
            if len(self._verdicts) > CACHE_PAIRS:
                self._verdicts.popitem(last=False)

    def renew_lock(self) -> None:
        self._lock = threading.Lock()

    def clear(self) -> None:
        with self._lock:
            self._verdicts.clear()


_CACHE = _Cache()
clear_cache = _CACHE.clear
if hasattr(os, "register_at_fork"):
    # Another thread may hold the lock at the moment of a fork.
    os.register_at_fork(after_in_child=_CACHE.renew_lock)


def grade(response: str, answer: Reference, options: GradeOptions | str = DEFAULT) -> Verdict:
    r"""Grade the final answer of a response against the reference `answer`.

    Extraction is the same for reference answers and scorers. The scorer of another package runs in
    a worker; only a score of 1 is correct.

    >>> grade(r"It is \boxed{\frac{1}{2}}.", "0.5").outcome
    <Outcome.CORRECT: 'correct'>
    >>> grade("I think it is 0.5.", "0.5").outcome
    <Outcome.NO_ANSWER: 'no_answer'>
    >>> grade("Answer: 50", r"50\%", "dapo+math").outcome
    <Outcome.CORRECT: 'correct'>

    Args:
        response: All that the policy wrote.
        answer: The reference.
        options: How to extract and compare, or presets by name (`reason_env.verify.PRESETS`).

    Raises:
        ConfigError: The response, the answer or the options are of another type, or there is no
            such preset.
    """
    options = read_options(options)
    _check_texts(response, answer)
    found = extract_answer(response, options)
    if found is None:
        return _NO_ANSWER
    key = (found, answer, options)
    verdict = _CACHE.get(key)
    if verdict is None:
        verdict = _in_process(key) or _in_worker(key)
        _CACHE.put(key, verdict)
    return verdict


def grade_many(
    pairs: Sequence[tuple[str, Reference]],
    options: GradeOptions | str = DEFAULT,
    *,
    grades_jobs: GradesJobs | None = None,
) -> list[Verdict]:
    """Grade each pair, in order; pairs that need a worker run in parallel.

    Equal pairs are graded once. Later calls of `grade` find the verdicts in the cache.

    Args:
        pairs: Responses and references.
        options: As for `grade`.
        grades_jobs: Grades what needs a worker; the workers of this process if None.
    """
    options = read_options(options)
    for response, answer in pairs:
        _check_texts(response, answer)
    found = [extract_answer(response, options) for response, _ in pairs]
    keys = [(text, pair[1], options) for text, pair in zip(found, pairs, strict=True) if text]
    decided: dict[GradingJob, Verdict] = {}
    waiting: list[GradingJob] = []
    for key in dict.fromkeys(keys):
        verdict = _CACHE.get(key) or _in_process(key)
        if verdict is None:
            waiting.append(key)
        else:
            decided[key] = verdict
    if waiting:
        found_in_workers = (grades_jobs or grade_jobs)(waiting)
        decided |= zip(waiting, found_in_workers, strict=True)
    for key, verdict in decided.items():
        _CACHE.put(key, verdict)
    return [
        decided[text, answer, options] if text else _NO_ANSWER
        for text, (_, answer) in zip(found, pairs, strict=True)
    ]


def is_gradable(answer: str, options: GradeOptions | str = DEFAULT) -> bool:
    r"""Decide whether a reference answer in a box grades as CORRECT against itself.

    >>> is_gradable("3,600"), is_gradable(r"\frac{1}{"), is_gradable("")
    (True, False, False)
    """
    text = reference_answer(answer).strip()
    return bool(text) and grade("\\boxed{" + text + "}", answer, options).is_correct


def decide(text: str, answer: Reference, options: GradeOptions | str = DEFAULT) -> Verdict | None:
    """Grade a final answer, without the text around it, in this process.

    For many comparisons that need no worker's certainty: microseconds each, and no cache.

    >>> decide("1/2", "0.5").outcome, decide("1/3", "0.5").outcome
    (<Outcome.CORRECT: 'correct'>, <Outcome.INCORRECT: 'incorrect'>)

    Returns:
        None if only a worker can decide.
    """
    return _in_process((text, answer, read_options(options)))


def _check_texts(response: object, answer: object) -> None:
    if not isinstance(response, str):
        raise ConfigError(f"response must be a text, got {shown(response)}; for example '#### 5'")
    if not isinstance(answer, Reference):
        raise ConfigError(f"answer must be a text, got {shown(answer)}; for example '5'")


def _in_process(key: GradingJob) -> Verdict | None:
    """Run the tiers that need no worker; None if they cannot decide."""
    text, reference, options = key
    if isinstance(reference, ScoredReference):
        if reference.scorer != SCORER:
            return None
        outcome, reason, score = score_countdown(text, reference.entry)
        return Verdict(outcome, text, reason, score)
    decision = compare(text, reference, options)
    return None if decision is None else Verdict(decision[0], text, decision[1])


def _in_worker(key: GradingJob) -> Verdict:
    text, reference, _ = key
    if isinstance(reference, ScoredReference):
        outcome, reason, score = shared_pool(reference.scorer).score(text, reference.entry)
        return Verdict(outcome, text, reason, score)
    outcome, reason = shared_pool().compare(text, reference)
    return Verdict(outcome, text, reason)


def grade_jobs(jobs: Sequence[GradingJob], *, at_once: int | None = None) -> list[Verdict]:
    """Grade jobs in the workers of this process, in order; a failure is a verdict.

    Args:
        jobs: What only a worker can decide.
        at_once: Workers that are busy at most; all of the pool if None.
    """
    verdicts: dict[int, Verdict] = {}
    todo = iter(enumerate(jobs))
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                job = next(todo, None)
            if job is None:
                return
            verdicts[job[0]] = _in_worker(job[1])

    count = min(len(jobs), at_once or shared_pool().size) if jobs else 0
    threads = [threading.Thread(target=work, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [verdicts[number] for number in range(len(jobs))]
