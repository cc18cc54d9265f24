"""Which episodes the report embeds, and in which form the page's tree reads them.

Of each problem source and arm, one seed's; of its iterations, ones spread from first to last that
all arms have, so that the same problems stand side by side. Runs from before episodes recorded
steps, advantages and trained log-probabilities are read too: what is missing is null.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from reason_env.agents.report.numbers import ReportRun
from reason_env.agents.runs import iteration_paths
from reason_env.codec import ByteCodec, step_ends

Json = dict[str, Any]
_DIGITS = 4


def chosen_episodes(runs: Sequence[ReportRun], limit: int) -> Json:
    """Returns the embedded episodes, with problems and contexts they share kept once.

    Args:
        runs: All runs of the report.
        limit: Most episodes in all.
    """
    shown = _one_seed_each(runs)
    book = _Book()
    each = limit // max(1, len(shown))
    for source in dict.fromkeys(run.source for run in shown):
        own = [run for run in shown if run.source == source]
        numbers = [set(iteration_paths(run.run.path / "episodes")) for run in own]
        common = sorted(set.intersection(*numbers)) or sorted(set.union(*numbers))
        for run in own:
            book.add(run, [n for n in common if n in _numbers(run)], each)
    return {
        "total": sum(_num_recorded(run) for run in shown),
        "problems": book.problems,
        "contexts": book.contexts,
        "items": book.items,
    }


class _Book:
    """Episodes in the page's form; problems and contexts by number."""

    def __init__(self) -> None:
        self.problems: list[Json] = []
        self.contexts: list[list[Any]] = []
        self.items: list[Json] = []
        self._number: dict[str, int] = {}

    def add(self, run: ReportRun, iterations: Sequence[int], limit: int) -> None:
        """Adds at most `limit` episodes of iterations that are spread evenly."""
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
            "problem": self._kept(self.problems, problem, f"p {state['problem']['problem_id']}"),
            "context": self._kept(self.contexts, state["guidance"], f"c {state['guidance']!r}"),
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
            # One letter a token, as in the built-in codec, needs no list.
            "lengths": None if _are_letters(pieces) else [len(p) for p in pieces],
            "ends": _ends(row),
            "sources": state["sources"],
            "logp": _short(row["behavior_log_probs"]),
            "learned": _short(row.get("old_log_probs")),
        }

    def _kept(self, store: list[Any], value: Any, key: str) -> int:
        if key not in self._number:
            self._number[key] = len(store)
            store.append(value)
        return self._number[key]


def _pieces(row: Mapping[str, Any]) -> list[str]:
    """Returns each token's text; where it was not recorded, one letter each of the bytes codec."""
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
    """Returns whether each token is one letter, but for an end token without text."""
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
    """Returns `count` of the numbers, the first and the last among them, evenly between.

    >>> _spread([1, 2, 3, 4, 5, 6, 7], 3), _spread([1, 2, 3], 1)
    ([1, 4, 7], [3])
    """
    if count == 1:
        return [numbers[-1]]
    last = len(numbers) - 1
    return [numbers[round(at * last / (count - 1))] for at in range(count)]


def _short(values: Sequence[float] | None) -> list[float] | None:
    return None if values is None else [round(value, _DIGITS) for value in values]
