# pyright: basic, reportMissingImports=false
# GEM has incomplete types and needs a separate environment (see check_peers.py).
"""Adapts GEM's environments to `ReasoningTask`, for `benchmarks/environments/check_peers.py`.

A response is all text of the policy in one episode: a single turn, or in a game one turn per line.
The policy sees the first observation and `info["suffix"]`, which holds a game's board. This module
writes the data sets, because GEM would download its data; a search for moves uses the game's rules
on a copy. An exception from `step` is a finding.

Left out: Wordle, Hangman and WordSearch (they download word lists); visual, terminal and tool
environments (data, containers, servers); 2048, Sokoban and Crosswords (a reference response would
need a solver).
"""

import copy
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reason_env.check.tasks import ReasoningTask
from reason_env.errors import ProblemError, VerifierError

MAX_TURNS = 100
RAISED = (ArithmeticError, AttributeError, LookupError, NameError, TypeError, ValueError)
"""Exceptions that `step` must not raise for any response."""
NUM_ROWS = 200
"""Rows of each data set."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Builds an environment, and states the reference response to its current episode."""

    make: Callable[[], Any]
    reference: Callable[[Any], str]


class GemTask:
    """An environment of GEM; see `ForkableGemTask` for those with `get_state` and `set_state`."""

    def __init__(self, name: str) -> None:
        """Build the environment with this name in `KINDS`."""
        self._name = name
        self._kind = KINDS[name]
        self._env = self._kind.make()

    def begin(self, seed: int) -> str:
        """Reset with a seed; return what the policy sees."""
        seen, info = self._env.reset(seed=seed)
        return seen + info.get("suffix", "")

    def respond(self, text: str) -> float:
        """Send the text, then empty turns until the episode ends; return the sum of rewards."""
        turns = deque(text.split("\n") if self._name.startswith("game:") else [text])
        total = 0.0
        for _ in range(MAX_TURNS):
            turn = turns.popleft() if turns else ""
            try:
                _, reward, terminated, truncated, _ = self._env.step(turn)
            except RAISED as error:
                raise VerifierError(f"step raises {type(error).__name__} for {turn!r}") from error
            total += float(reward)
            if terminated or truncated:
                return total
        raise VerifierError(f"the episode did not end in {MAX_TURNS} turns")

    def reference(self) -> str:
        """Return the environment's answer in the form that it requires."""
        return self._kind.reference(self._env)

    def another(self) -> ReasoningTask:
        """Build another instance."""
        return type(self)(self._name)

    def program(self) -> str:
        """Return Python code that builds the task."""
        kind = type(self).__name__
        module = "benchmarks.environments.check_peers_gem"
        return f"from {module} import {kind}\ntask = {kind}({self._name!r})"


class ForkableGemTask(GemTask):
    """A task whose state can be copied to another instance."""

    def save(self) -> Any:
        """Return the state."""
        return self._env.get_state()

    def load(self, saved: Any) -> None:
        """Set the state."""
        self._env.set_state(saved)


def gem_task(name: str) -> GemTask:
    """Build the task of that name, forkable if its environment is."""
    plain = GemTask(name)
    return ForkableGemTask(name) if hasattr(plain._env, "get_state") else plain


def _gem(env_id: str) -> Any:
    import gem

    return gem.make(env_id)


def _data_set(row: Callable[[int, int, int], dict[str, str]]) -> Any:
    from datasets import Dataset

    rng = random.Random(0)
    numbers = [(rng.randint(1, 99), rng.randint(2, 99), rng.randint(1, 9)) for _ in range(NUM_ROWS)]
    return Dataset.from_list([row(a, b, c) for a, b, c in numbers])


def _math() -> Any:
    from gem.envs.math_env import MathEnv

    return MathEnv(
        dataset=_data_set(
            lambda a, b, c: {
                "problem": f"What is {a}/{b} + {c}?",
                "answer": f"\\frac{{{a + b * c}}}{{{b}}}",
            }
        )
    )


def _qa(*, boxed: bool) -> Any:
    from gem.envs.qa_env import QaEnv

    data = _data_set(
        lambda a, b, c: {"question": f"What is {a} + {b} * {c}?", "answer": str(a + b * c)}
    )
    return QaEnv(dataset=data, extract_boxed=boxed)


def _code() -> Any:
    import json

    from gem.envs.code_env import CodeEnv

    def row(a: int, b: int, c: int) -> dict[str, str]:
        tests = {"inputs": [f"{b}", f"{a + b}"], "outputs": [str(a * b + c), str(a * (a + b) + c)]}
        return {"problem": f"Read x; print {a} * x + {c}.", "tests": json.dumps(tests)}

    # CodeEnv chooses the format of the tests by the name, which must contain a known set's name.
    return CodeEnv(dataset=_data_set(row), dataset_name="written here, in the form of taco")


def _program(env: Any) -> str:
    a, c = env.first_obs.removeprefix("Read x; print ").removesuffix(".").split(" * x + ")
    return f"```python\nprint({a} * int(input()) + {c})\n```"


def _boxed(answer: str) -> str:
    return f"\\boxed{{{answer}}}"


def _hanoi(env: Any) -> str:
    def moves(disks: int, source: str, target: str, spare: str) -> list[str]:
        if disks == 0:
            return []
        before = moves(disks - 1, source, spare, target)
        return [*before, f"{source} {target}", *moves(disks - 1, spare, target, source)]

    return "\n".join(_boxed(move) for move in moves(env.num_disks, "A", "C", "B"))


def _sudoku(env: Any) -> str:
    cells = [(row, column) for row in range(env.scale) for column in range(env.scale)]
    return "\n".join(
        _boxed(f"{row + 1} {column + 1} {env.full_grid[row][column]}")
        for row, column in cells
        if env.board[row][column] == 0
    )


def _slides(env: Any) -> str:
    """Find the shortest moves to the solved board by breadth-first search."""
    probe = copy.deepcopy(env)
    found = {str(env.board)}
    queue: deque[tuple[Any, tuple[str, ...]]] = deque([(env.board, ())])
    while queue:
        board, moves = queue.popleft()
        for move in ("up", "down", "left", "right"):
            probe.board = copy.deepcopy(board)
            if not probe._move(move):
                continue
            if probe._is_solved():
                return "\n".join(_boxed(step) for step in (*moves, move))
            if str(probe.board) not in found:
                found.add(str(probe.board))
                queue.append((probe.board, (*moves, move)))
    raise ProblemError(f"no moves solve the board {env.board}")


def _mines(env: Any) -> str:
    """Open all safe cells; the game draws the mines when the first cell is opened."""
    saved = random.getstate()
    probe = copy.deepcopy(env)
    probe.step(_boxed("reveal 0 0"))
    random.setstate(saved)
    cells = [(row, column) for row in range(env.rows) for column in range(env.cols)]
    mines = [(row, column) for row, column in cells if probe.grid[row][column] == -1]
    moves = ["reveal 0 0", *(f"flag {row} {column}" for row, column in mines)]
    for row, column in cells:
        if (row, column) not in mines and not probe.revealed[row][column]:
            moves.append(f"reveal {row} {column}")
            probe._update_grid(row, column)
    return "\n".join(_boxed(move) for move in moves)


def _reasoning_gym(name: str) -> Kind:
    return Kind(make=lambda: _gem(f"rg:{name}"), reference=lambda env: _boxed(env.data["answer"]))


def _game(name: str, reference: Callable[[Any], str]) -> dict[str, Kind]:
    env_id = f"game:{name}"
    return {env_id: Kind(make=lambda: _gem(env_id), reference=reference)}


KINDS: dict[str, Kind] = {
    "MathEnv": Kind(make=_math, reference=lambda env: _boxed(env.answer)),
    "QaEnv": Kind(
        make=lambda: _qa(boxed=False), reference=lambda env: f"<answer>{env.answer}</answer>"
    ),
    "QaEnv, boxed": Kind(make=lambda: _qa(boxed=True), reference=lambda env: _boxed(env.answer)),
    "CodeEnv": Kind(make=_code, reference=_program),
    **{f"rg:{name}": _reasoning_gym(name) for name in ("gcd", "countdown", "word_ladder")},
    **_game("GuessTheNumber-v0-easy", lambda env: _boxed(env.game_number)),
    **_game("Mastermind-v0-easy", lambda env: _boxed(" ".join(map(str, env.game_code)))),
    **_game("TowerofHanoi-v0-easy", _hanoi),
    **_game("Sudoku-v0-easy", _sudoku),
    **_game("FifteenPuzzle-v0-easy", _slides),
    **_game("Minesweeper-v0-easy", _mines),
}
"""Name in the table -> kind; ids are registered by GEM, classes get the data of this module."""
