"""Choose the episodes that the report embeds, and convert them for the page's tree.

One seed per problem source and arm; of its iterations, some between the first and the last that all
arms have, so that the arms show the same problems. Older episodes without steps, advantages or
log-probabilities in training are read too; missing values are null.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from reason_env.agents.report.numbers import ReportRun
from reason_env.agents.runs import iteration_paths
from reason_env.codec import ByteCodec, step_ends

Json = dict[str, Any]
_DIGITS = 4


def chosen_episodes(runs: Sequence[ReportRun], limit: int) -> Json:
    """Choose episodes; problems and contexts that several share are stored once.

    Args:
        runs: All runs of the report.
        limit: Maximum number of episodes.
    """
    shown = _one_seed_each(runs)
    chosen = _Episodes()
    each = limit // max(1, len(shown))
    for source in dict.fromkeys(run.source for run in shown):
        own = [run for run in shown if run.source == source]
        first, *others = (set(_numbers(run)) for run in own)
        shared = sorted(first.intersection(*others)) or sorted(first.union(*others))
        for run in own:
            chosen.add(run, [n for n in shared if n in _numbers(run)], each)
    return {
        "total": sum(_num_recorded(run) for run in shown),
        "problems": chosen.problems,
        "contexts": chosen.contexts,
        "items": chosen.items,
    }


class _Episodes:
    """Episodes in the form of the page, with problems and contexts by index."""

    def __init__(self) -> None:
        self.problems: list[Json] = []
        self.contexts: list[list[Any]] = []
        self.items: list[Json] = []
        self._known: dict[str, int] = {}

    def add(self, run: ReportRun, iterations: Sequence[int], limit: int) -> None:
        """Add at most `limit` episodes of evenly spaced iterations."""
        if not iterations or not limit:
            return
        first = run.run.read_episodes(iterations[0])
        count = max(1, min(len(iterations), limit // max(1, len(first))))
        left = limit
        for number in _spread(iterations, count):
            rows = run.run.read_episodes(number)[:left]
            self.items += [self._item(run, number, row) for row in rows]
            left -= len(rows)

    def _item(self, run: ReportRun, iteration: int, row: Mapping[str, Any]) -> Json:
        state = row["state"]
        problem = {name: state["problem"].get(name) for name in ("problem_id", "question")}
        problem |= {
            "answer": state["problem"].get("answer"),
            "level": state["problem"].get("level"),
            "solution": state["problem"].get("solution", []),
        }
        pieces = _pieces(row)
        verdict = state["verdict"]
        return {
            "source": run.source,
            "arm": run.arm,
            "seed": run.seed,
            "iteration": iteration,
            "problem": self._index(self.problems, problem, f"p {state['problem']['problem_id']}"),
            "context": self._index(self.contexts, state["guidance"], f"c {state['guidance']!r}"),
            "role": row["role"],
            "group": row["group"],
            "auxiliary": bool(row.get("is_auxiliary", row["role"] == "localise")),
            "hides": bool(row.get("hides_guidance", False)),
            "outcome": row["outcome"],
            "extracted": None if verdict is None else verdict[1],
            "reason": None if verdict is None else verdict[2],
            "return": row["return"],
            "advantage": row.get("advantage"),
            "recorded": "advantage" in row,
            "start": row["start_tokens"],
            "tokens": row.get("sampled_tokens", len(row["behavior_log_probs"])),
            "text": "".join(pieces),
            # No list is needed if each token is one letter, as in the built-in codec.
            "lengths": None if _are_letters(pieces) else [len(p) for p in pieces],
            "ends": _ends(row),
            "sources": state["sources"],
            "logp": _short(row["behavior_log_probs"]),
            "learned": _short(row.get("old_log_probs")),
        }

    def _index(self, store: list[Any], value: Any, key: str) -> int:
        if key not in self._known:
            self._known[key] = len(store)
            store.append(value)
        return self._known[key]


def _pieces(row: Mapping[str, Any]) -> list[str]:
    """Give each token's text; for older episodes of the byte codec, by decoding."""
    if "pieces" in row:
        return row["pieces"]
    state = row["state"]
    codec = ByteCodec()
    if state["codec_id"] == codec.codec_id:
        return [codec.decode((token,)) for token in state["response"]]
    return [row["response"], *[""] * (len(state["response"]) - 1)]


def _ends(row: Mapping[str, Any]) -> list[int]:
    if "step_ends" in row:
        return row["step_ends"]
    state = row["state"]
    codec = ByteCodec()
    if state["codec_id"] == codec.codec_id:
        return list(step_ends(codec, tuple(state["response"])))
    return []


def _are_letters(pieces: Sequence[str]) -> bool:
    """Check that each token is one letter, except an end token without text."""
    sizes = [len(piece) for piece in pieces]
    return not any(sizes[sum(size > 0 for size in sizes) :]) and max(sizes, default=1) == 1


def _one_seed_each(runs: Sequence[ReportRun]) -> list[ReportRun]:
    shown: dict[tuple[str, str], ReportRun] = {}
    for run in sorted(runs, key=lambda own: own.seed):
        if _numbers(run):
            shown.setdefault((run.source, run.arm), run)
    order = {(run.source, run.arm): at for at, run in enumerate(runs)}
    return sorted(shown.values(), key=lambda run: order[run.source, run.arm])


def _numbers(run: ReportRun) -> list[int]:
    return list(iteration_paths(run.run.path / "episodes"))


def _num_recorded(run: ReportRun) -> int:
    paths = iteration_paths(run.run.path / "episodes").values()
    return sum(path.read_bytes().count(b"\n") for path in paths)


def _spread(numbers: Sequence[int], count: int) -> list[int]:
    """Select `count` evenly spaced numbers, including the first and the last.

    >>> _spread([1, 2, 3, 4, 5, 6, 7], 3), _spread([1, 2, 3], 1)
    ([1, 4, 7], [3])
    """
    if count == 1:
        return [numbers[-1]]
    last = len(numbers) - 1
    return [numbers[round(at * last / (count - 1))] for at in range(count)]


def _short(values: Sequence[float] | None) -> list[float] | None:
    return None if values is None else [round(value, _DIGITS) for value in values]
