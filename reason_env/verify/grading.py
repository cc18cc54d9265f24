"""The public functions: a response and a reference in, a `Verdict` out, and never an exception.

The tiers are cheap to dear: the same text, the same exact number, the typed reader, a worker. A
cache of decided pairs serves `grade` and `grade_many`; it is keyed by the final answer rather
than by the whole response, so responses that end alike are decided once. TIMEOUT and ERROR are
never kept, because another try may decide.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence

from reason_env.problem import ScoredReference
from reason_env.verdict import Outcome, Verdict
from reason_env.verify.comparing import compare, reference_answer
from reason_env.verify.extraction import extract_answer
from reason_env.verify.options import DEFAULT, GradeOptions
from reason_env.verify.scorers import SCORER, score_countdown
from reason_env.verify.workers import shared_pool

CACHE_PAIRS = 20_000
CACHE_CHARACTERS = 2_000
"""A longer answer is graded each time."""

_NO_ANSWER = Verdict(Outcome.NO_ANSWER, None, "no final answer was found")
Reference = str | ScoredReference
"""What a response is graded against: an answer, or the entry of a scorer."""
_Key = tuple[str, Reference, GradeOptions]
"""Final answer of the response, reference, options: what a verdict depends on."""


class _Cache:
    """The decided pairs used last, under one lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._verdicts: OrderedDict[_Key, Verdict] = OrderedDict()

    def get(self, key: _Key) -> Verdict | None:
        with self._lock:
            verdict = self._verdicts.get(key)
            if verdict is not None:
                self._verdicts.move_to_end(key)
            return verdict

    def put(self, key: _Key, verdict: Verdict) -> None:
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
# Another thread may hold the lock at the moment of a fork.
os.register_at_fork(after_in_child=_CACHE.renew_lock)


def grade(response: str, answer: Reference, options: GradeOptions = DEFAULT) -> Verdict:
    r"""Returns the verdict on the final answer of a response; `answer` is the reference.

    The answer is looked for in the same way whoever decides on it. A scorer of somebody else's
    always runs in a worker; it has found the answer correct where its score is 1, and nothing less.

    >>> grade(r"It is \boxed{\frac{1}{2}}.", "0.5").outcome
    <Outcome.CORRECT: 'correct'>
    >>> grade("I think it is 0.5.", "0.5").outcome
    <Outcome.NO_ANSWER: 'no_answer'>
    """
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
    pairs: Sequence[tuple[str, Reference]], options: GradeOptions = DEFAULT
) -> list[Verdict]:
    """Returns `grade` of each pair, in order; those that need a worker run in parallel.

    Equal pairs are graded once, and `grade` finds all of them in the cache afterwards.
    """
    found = [extract_answer(response, options) for response, _ in pairs]
    keys = [(text, pair[1], options) for text, pair in zip(found, pairs, strict=True) if text]
    decided: dict[_Key, Verdict] = {}
    waiting: list[_Key] = []
    for key in dict.fromkeys(keys):
        verdict = _CACHE.get(key) or _in_process(key)
        if verdict is None:
            waiting.append(key)
        else:
            decided[key] = verdict
    _share_out(waiting, decided)
    for key, verdict in decided.items():
        _CACHE.put(key, verdict)
    return [
        decided[text, answer, options] if text else _NO_ANSWER
        for text, (_, answer) in zip(found, pairs, strict=True)
    ]


def is_gradable(answer: str, options: GradeOptions = DEFAULT) -> bool:
    r"""Returns whether a reference answer grades as CORRECT against itself in a box.

    >>> is_gradable("3,600"), is_gradable(r"\frac{1}{"), is_gradable("")
    (True, False, False)
    """
    text = reference_answer(answer).strip()
    return bool(text) and grade("\\boxed{" + text + "}", answer, options).is_correct


def _in_process(key: _Key) -> Verdict | None:
    """Returns the verdict of the tiers that need no worker, or None."""
    text, reference, options = key
    if isinstance(reference, ScoredReference):
        if reference.scorer != SCORER:
            return None
        outcome, reason, score = score_countdown(text, reference.entry)
        return Verdict(outcome, text, reason, score)
    decision = compare(text, reference, options)
    return None if decision is None else Verdict(decision[0], key[0], decision[1])


def _in_worker(key: _Key) -> Verdict:
    text, reference, options = key
    if isinstance(reference, ScoredReference):
        outcome, reason, score = shared_pool(reference.scorer).score(text, reference.entry)
        return Verdict(outcome, text, reason, score)
    outcome, reason = shared_pool().compare(text, reference, options)
    return Verdict(outcome, text, reason)


def _share_out(waiting: list[_Key], decided: dict[_Key, Verdict]) -> None:
    """Grades the waiting keys in as many threads as there are workers."""
    todo = iter(waiting)
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                key = next(todo, None)
            if key is None:
                return
            decided[key] = _in_worker(key)

    count = min(len(waiting), shared_pool().size) if waiting else 0
    threads = [threading.Thread(target=work, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
