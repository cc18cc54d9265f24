import random
import re
from types import SimpleNamespace

import pytest

from benchmarks.environments import check_peers, check_peers_gem
from benchmarks.environments.check_peers import (
    CHECKS,
    PAGE,
    PEERS,
    Peer,
    Setting,
    chosen,
    explained,
    main,
    missing,
)
from benchmarks.environments.check_peers_gem import ForkableGemTask, GemTask, Kind, gem_task
from reason_env.check import check_reasoning_env
from reason_env.check.report import Check, CheckReport
from reason_env.errors import ConfigError, ProblemError, VerifierError

ABSENT = Peer(modules=("no_such_module",), packages=(), settings=list)


class Doubling:
    def begin(self, seed):
        self.number = random.Random(seed).randrange(1, 1000)
        return f"{self.number}*2=?"

    def respond(self, text):
        return float(text == str(2 * self.number))

    def reference(self):
        return str(2 * self.number)


def report(**words):
    passed = {"ok": True, "failed": False, "none": None}
    names = [f"check {place}" for place in range(9)]
    given = ["ok"] * 7 + [words.get("eighth", "ok"), words.get("last", "ok")]
    return CheckReport(
        tuple(
            Check(name=name, passed=passed[word], detail="" if word == "ok" else "why")
            for name, word in zip(names, given, strict=True)
        )
    )


def test_a_table_has_a_row_an_environment_and_a_column_a_check():
    lines = check_peers.table({"a": report(), "b": report(eighth="none", last="failed")})
    columns = "reference | floor | load | replay | global RNG | leak | hash seed | fork | apart"
    assert lines.splitlines() == [
        f"| | {columns} |",
        "|---|---|---|---|---|---|---|---|---|---|",
        "| a | ok | ok | ok | ok | ok | ok | ok | ok | ok |",
        "| b | ok | ok | ok | ok | ok | ok | ok | - | **fails** |",
    ]


def test_the_columns_are_the_checks_of_a_report_in_their_order():
    names = [name for name, _, _ in check_reasoning_env(Doubling(), num_problems=2).rows]
    in_name = ("references", "floor", "load", "replays", "global", "no solution", "HASHSEED")
    assert len(names) == len(CHECKS) == 9
    assert all(word in name for word, name in zip((*in_name, "fork", "apart"), names, strict=True))
    assert [column for column, _ in CHECKS[5:]] == ["leak", "hash seed", "fork", "apart"]


def test_findings_list_failed_checks_and_not_skipped_ones():
    found = check_peers.findings({"a": report(eighth="none", last="failed"), "b": report()})
    assert found == ["* a, check 8: why"]


def test_a_section_is_replaced_and_the_rest_stays():
    page = "top\n" + "".join(
        f"<!-- {name}: made by check_peers.py -->\nold {name}\n<!-- end of {name} -->\n"
        for name in ("a", "b")
    )
    changed = check_peers.with_section(page, "b", "new")
    assert changed == page.replace("\nold b\n", "\n\nnew\n\n")
    assert check_peers.with_section(changed, "b", "new") == changed
    with pytest.raises(ConfigError, match=r"must hold '<!-- c: made by check_peers.py -->' and "):
        check_peers.with_section(page, "c", "new")
    with pytest.raises(ConfigError, match=r"and '<!-- end of b -->' once; write them there"):
        check_peers.with_section(page.replace("end of b", "end"), "b", "new")


def test_missing_peers_are_skipped_with_a_message_unless_they_are_named(monkeypatch, capsys):
    there = Peer(modules=("reason_env",), packages=(), settings=list)
    monkeypatch.setattr(check_peers, "PEERS", {"there": there, "away": ABSENT, "here": there})
    assert chosen([]) == ["there", "here"]
    assert capsys.readouterr().out == (
        "skipped away: no_such_module not installed; its section is kept\n"
    )
    assert chosen(["there"]) == ["there"]
    assert capsys.readouterr().out == ""
    with pytest.raises(ConfigError, match="peer away must have no_such_module installed"):
        chosen(["there", "away"])
    with pytest.raises(ConfigError, match="no peer 'their'; did you mean 'there'"):
        chosen(["their"])
    # Importable from a checkout, but without the version that the page states.
    copied = Peer(modules=("reason_env",), packages=("gymnasium", "no-such-one"), settings=list)
    assert missing(copied) == ["no-such-one"]


def test_the_sections_of_installed_peers_are_rewritten(monkeypatch, tmp_path, capsys):
    page = tmp_path / "page.md"
    marks = [f"<!-- {name}: made by check_peers.py -->|<!-- end of {name} -->" for name in "cha"]
    text = "\n".join(marks).replace("<!-- c:", "<!-- checks:").replace("of c ", "of checks ")
    page.write_text(text.replace("<!-- h", "<!-- here").replace("of h ", "of here "))
    here = Peer(
        modules=("reason_env",),
        packages=("gymnasium",),
        settings=lambda: [Setting(name="doubling", make=Doubling)],
        left_out=lambda: {"tripling": "not written yet"},
    )
    monkeypatch.setattr(check_peers, "PAGE", page)
    monkeypatch.setattr(check_peers, "PEERS", {"here": here, "a": ABSENT})
    main([])
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("skipped a: ")
    assert said[1:] == ["here, doubling: ok ok ok ok ok skipped skipped skipped skipped"]
    made = page.read_text()
    assert made.startswith(f"<!-- checks: made by check_peers.py -->\n\n{explained()}\n")
    assert re.search(r"gymnasium [\d.]+, Python [\d.]+; 10 problems per environment; \d{4}-", made)
    assert "| doubling | ok | ok | ok | ok | ok | - | - | - | - |\n\nNo check fails.\n" in made
    assert "* left out: tripling, not written yet\n" in made
    assert made.endswith("<!-- a: made by check_peers.py -->|<!-- end of a -->")


def test_the_published_page_holds_every_peer_and_no_path_of_a_machine():
    text = PAGE.read_text(encoding="utf-8")
    assert explained() in text
    for name in PEERS:
        body = text.split(f"<!-- {name}: made")[1].split(f"<!-- end of {name} -->")[0]
        assert "| fork | apart |\n" in body, name
        assert f"{check_peers.NUM_PROBLEMS} problems" in body, name
    assert not re.search(r"https?://|/(work|home|tmp|usr|opt)/", text)


# The adapter of GEM, on environments with GEM's interface; GEM itself is not needed


class OneTurn:
    """The answer is the seed doubled; a text without a number breaks it."""

    def reset(self, seed=None):
        self.number = seed
        return "double it", {"suffix": f": {seed}"}

    def step(self, action):
        self.said = action
        return "", 1.0 if int(action) == 2 * self.number else 0.25, True, True, {}

    def get_state(self):
        return {"number": self.number}

    def set_state(self, state):
        self.number = state["number"]


class Counting:
    """A game of up to three turns: each says the next number, and earns a quarter."""

    def reset(self, seed=None):
        self.turns = []
        return "count", {}

    def step(self, action):
        self.turns.append(action)
        reward = 0.25 if action == str(len(self.turns)) else 0.0
        return "", reward, action == "", len(self.turns) == 3, {}


class Endless(Counting):
    def step(self, action):
        self.turns.append(action)
        return "", 0.0, False, False, {}


@pytest.fixture
def kinds(monkeypatch):
    made = {
        "one": Kind(make=OneTurn, reference=lambda env: str(2 * env.number)),
        "game:count": Kind(make=Counting, reference=lambda env: "1\n2\n3"),
        "game:endless": Kind(make=Endless, reference=lambda env: ""),
    }
    monkeypatch.setattr(check_peers_gem, "KINDS", made)


@pytest.mark.usefixtures("kinds")
def test_a_policy_of_gem_sees_the_suffix_and_a_response_is_one_turn():
    task = GemTask("one")
    assert task.begin(7) == "double it: 7"
    assert task.respond(task.reference()) == 1.0
    assert task.begin(7) == "double it: 7"
    with pytest.raises(VerifierError, match=r"step raises ValueError for '7\\n7'"):
        task.respond("7\n7")


@pytest.mark.usefixtures("kinds")
def test_a_game_of_gem_gets_one_line_a_turn_and_then_empty_actions():
    task = GemTask("game:count")
    assert task.begin(0) == "count"
    assert task.respond("1\n9") == 0.25
    assert task._env.turns == ["1", "9", ""]
    task.begin(0)
    assert task.respond(task.reference() + "\n4") == 0.75
    endless = GemTask("game:endless")
    endless.begin(0)
    with pytest.raises(VerifierError, match="the episode did not end in 100 turns"):
        endless.respond("1")
    assert len(endless._env.turns) == 100


@pytest.mark.usefixtures("kinds")
def test_a_task_of_gem_forks_where_its_environment_can():
    task = gem_task("one")
    assert type(task) is type(task.another()) is ForkableGemTask
    assert type(gem_task("game:count")) is GemTask
    task.begin(3)
    saved, other = task.save(), task.another()
    other.begin(5)
    other.load(saved)
    assert other.respond("6") == 1.0
    names = {}
    exec(task.program(), names)
    assert type(names["task"]) is ForkableGemTask
    assert names["task"].begin(2) == "double it: 2"


def test_the_towers_are_moved_by_the_rules():
    towers = {"A": [4, 3, 2, 1], "B": [], "C": []}
    moves = check_peers_gem._hanoi(SimpleNamespace(num_disks=4)).splitlines()
    assert len(moves) == 2**4 - 1
    for move in moves:
        source, target = re.fullmatch(r"\\boxed\{([ABC]) ([ABC])\}", move).groups()
        disk = towers[source].pop()
        assert not towers[target] or towers[target][-1] > disk
        towers[target].append(disk)
    assert towers == {"A": [], "B": [], "C": [4, 3, 2, 1]}


class Tiles:
    """Two by two, as GEM's: `left` moves the tile right of the gap, `up` the one below it."""

    def __init__(self, *board):
        self.board = [list(row) for row in board]

    def _move(self, name):
        flat = [tile for row in self.board for tile in row]
        gap = flat.index(None)
        other = {"up": gap + 2, "down": gap - 2}.get(name)
        if name in ("left", "right"):
            other = gap + 1 if name == "left" else gap - 1
            if other // 2 != gap // 2:
                return False
        if not 0 <= other < 4:
            return False
        # In place, as GEM moves: a search that shares boards would be found out.
        self.board[gap // 2][gap % 2] = flat[other]
        self.board[other // 2][other % 2] = None
        return True

    def _is_solved(self):
        return self.board == [[1, 2], [3, None]]


@pytest.mark.parametrize(
    ("board", "moves"),
    [
        (([1, 2], [None, 3]), ["left"]),
        (([1, None], [3, 2]), ["up"]),
        (([None, 2], [1, 3]), ["up", "left"]),
    ],
)
def test_the_tiles_are_slid_the_shortest_way(board, moves):
    env = Tiles(*board)
    assert check_peers_gem._slides(env).splitlines() == [f"\\boxed{{{move}}}" for move in moves]
    assert env.board == list(board)


def test_a_solved_board_is_left_and_solved_again_and_an_unsolvable_one_is_refused():
    assert len(check_peers_gem._slides(Tiles([1, 2], [3, None])).splitlines()) == 2
    with pytest.raises(ProblemError, match=r"no moves solve the board \[\[2, 1\], \[3, None\]\]"):
        check_peers_gem._slides(Tiles([2, 1], [3, None]))


def test_the_empty_cells_are_filled_from_the_full_grid():
    env = SimpleNamespace(scale=2, board=[[1, 0], [0, 0]], full_grid=[[1, 2], [3, 4]])
    cells = ["\\boxed{1 2 2}", "\\boxed{2 1 3}", "\\boxed{2 2 4}"]
    assert check_peers_gem._sudoku(env).splitlines() == cells


def test_the_program_computes_what_is_asked():
    program = check_peers_gem._program(SimpleNamespace(first_obs="Read x; print 7 * x + 3."))
    assert program == "```python\nprint(7 * int(input()) + 3)\n```"


class Field:
    """Two by two; the first cell that is opened draws where the mine is, never there."""

    rows = cols = 2

    def __init__(self):
        self.grid = [[0, 0], [0, 0]]
        self.revealed = [[False, False], [False, False]]

    def step(self, action):
        assert action == "\\boxed{reveal 0 0}"
        row, column = random.choice([(0, 1), (1, 0), (1, 1)])
        self.grid[row][column] = -1
        self._update_grid(0, 0)

    def _update_grid(self, row, column):
        self.revealed[row][column] = True


@pytest.mark.parametrize("seed", range(4))
def test_the_reference_flags_the_mines_that_the_generator_will_draw_without_drawing(seed):
    random.seed(seed)
    mine = random.choice([(0, 1), (1, 0), (1, 1)])
    random.seed(seed)
    before, env = random.getstate(), Field()
    others = [cell for cell in ((0, 1), (1, 0), (1, 1)) if cell != mine]
    moves = [f"flag {mine[0]} {mine[1]}", *(f"reveal {row} {column}" for row, column in others)]
    said = check_peers_gem._mines(env).splitlines()
    assert said == [f"\\boxed{{{move}}}" for move in ("reveal 0 0", *moves)]
    assert random.getstate() == before
    assert env.grid == [[0, 0], [0, 0]]
