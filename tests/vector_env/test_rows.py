import numpy as np

from reason_env.codec import ByteCodec
from reason_env.problem import Problem
from reason_env.state import EpisodeRules, ReasonState
from reason_env.vector_env import rows as episode_rows
from reason_env.vector_env.rows import EpisodeRows

CODEC = ByteCodec()
PROBLEM = Problem(problem_id="toy/train/0", question="?", answer="7")
EMPTY = ReasonState(problem=PROBLEM, codec=CODEC)
PROMPT = np.array(CODEC.encode("?>"))


def rows_of(*states: ReasonState, **rules: int) -> EpisodeRows:
    rows = EpisodeRows(len(states), width=60, codec=CODEC, rules=EpisodeRules(**rules))
    for index, state in enumerate(states):
        rows.begin(index, PROMPT, state)
    return rows


def write_texts(rows: EpisodeRows, *texts: str) -> list[list[int]]:
    """Appends texts, each in its episode as long as it lasts; returns the ends of each."""
    ends: list[list[int]] = [[] for _ in texts]
    for place in range(max(map(len, texts))):
        acts = np.array([place < len(text) for text in texts])
        tokens = np.array([ord(text[place]) if place < len(text) else 35 for text in texts])
        over, _, _ = rows.append(tokens, acts)
        for index in np.flatnonzero(over):
            ends[index].append(place)
    return ends


def test_beginning_an_episode_overwrites_everything_in_its_row():
    rows = rows_of(EMPTY, EMPTY)
    write_texts(rows, "a\nbc\nd", "x\ny")
    assert (rows.num_tokens.tolist(), rows.num_steps.tolist()) == ([6, 3], [3, 2])
    assert (rows.step_ends(0), rows.step_ends(1)) == ((2, 5), (2,))
    rows.begin(0, PROMPT[:1], EMPTY)
    rows.begin(1, PROMPT, EMPTY.extend(CODEC.encode("p\nq\nr\n"), "reset"))
    assert (rows.num_tokens.tolist(), rows.num_steps.tolist()) == ([0, 6], [0, 3])
    assert (rows.step_ends(0), rows.step_ends(1)) == ((), (2, 4, 6))
    assert rows.ids[0].tolist() == [ord("?")] + [CODEC.pad_id] * 59
    assert rows.ids[1].tolist() == list(b"?>p\nq\nr\n") + [CODEC.pad_id] * 52
    assert rows.response(1, 4) == list(b"r\n")


def test_a_row_that_does_not_act_does_not_change():
    rows = rows_of(EMPTY, EMPTY, max_tokens=6)
    before = rows.ids[1].copy()
    assert write_texts(rows, "#####\n", "")[1] == []
    assert np.array_equal(rows.ids[1], before)
    assert (rows.num_tokens.tolist(), rows.num_steps.tolist()) == ([6, 0], [1, 0])


def test_only_responses_with_a_commitment_sign_are_decoded(monkeypatch):
    looked = []
    monkeypatch.setattr(
        episode_rows, "commits", lambda text: bool(looked.append(text)) or "7" in text
    )
    rows = rows_of(EMPTY, EMPTY)
    write_texts(rows, "\\frac{1}{2} # ###\n\\fbo\nx\n", "\\box{7}\n##\n##\n7\n\\ boxed{7}\n")
    assert looked == []
    assert write_texts(rows, "####\n#### 7\n", "") == [[11], []]
    assert looked == [rows.text(0)[:-7], rows.text(0)]
    looked.clear()
    # The next episode of the same row has no sign either.
    rows.begin(0, PROMPT, EMPTY)
    assert write_texts(rows, "7\n\\frac 7\n", "a#\n") == [[], []]
    assert looked == []
    # Where only the last token begins a sign, what closes before it is whole holds none.
    rows.begin(0, PROMPT, EMPTY.extend(CODEC.encode("7 ###"), "reset"))
    assert write_texts(rows, "\n7\n", "") == [[], []]
    assert looked == []
    rows.begin(0, PROMPT, EMPTY.extend(CODEC.encode("7 ###"), "reset"))
    assert write_texts(rows, "#\n", "") == [[1], []]
