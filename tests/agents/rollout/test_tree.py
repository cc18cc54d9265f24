"""Branches of trajectories and the values of their segments, by hand."""

from dataclasses import replace

import pytest

from reason_env.agents.rollout import Segment, branch, training_sample, tree_segments
from reason_env.errors import ConfigError, StateError


@pytest.fixture
def tree(build):
    """Root: A (right), D (wrong). B branches off A after 4 tokens, C off B after 7."""
    problem = build["problem_state"](0)

    def grow(parent, cut, text, name, *, outcome):
        start = branch(parent, cut, num_samples=1, role="branch")
        item = build["trajectory"](start.state, text, outcome=outcome)
        return replace(item, start=start, trajectory_id=name)

    def first(text, name, *, outcome):
        return replace(build["trajectory"](problem, text, outcome=outcome), trajectory_id=name)

    a = first("A:1\nB:2\n#", "a", outcome="correct")
    b = grow(a, 4, "B:3\n##", "b", outcome="incorrect")
    c = grow(b, 8, "xy", "c", outcome="correct")
    d = first("no", "d", outcome="incorrect")
    return a, b, c, d


def test_a_branch_shares_the_tokens_before_its_cut_and_trains_the_others(tree):
    a, b, _, _ = tree
    assert b.start.parent_id == "a"
    assert b.start.state.text == "A:1\n"
    assert set(b.start.state.sources) == {"reset"}
    assert (b.start.group, b.start.role, b.start.draw) == ("0:toy", "branch", None)
    assert b.final_state.text == "A:1\nB:3\n##"
    sample = training_sample(b, 0.5)
    assert sample.action_mask == (False,) * 4 + (True,) * 7
    other = branch(a, 6, num_samples=3, role="x", group="0:toy/x")
    assert (other.num_samples, other.role, other.group) == (3, "x", "0:toy/x")
    assert other.state.text == "A:1\nB:"
    assert other.state.num_steps == 2


def test_a_branch_trains_under_the_prompt_that_its_parent_trains_under(build):
    from reason_env.state import Guidance

    problem = build["problem_state"](0)
    shown = problem.with_guidance(Guidance("mistakes", ("35",)))
    item = build["trajectory"](shown, "A:1\nB", learn_from=problem)
    start = branch(item, 2, num_samples=1, role="branch")
    assert (start.state.guidance, start.learn_from.guidance) == (shown.guidance, ())
    assert start.learn_from.response == start.state.response


def test_segments_have_the_mean_return_of_the_leaves_that_they_lead_to(tree):
    found = tree_segments(tree)
    # Root: (1 + 0 + 1 + 0) / 4. The first four tokens of A lead to A, B and C.
    first = Segment(begin=0, end=4, num_leaves=3, value=pytest.approx(2 / 3), parent_value=0.5)
    rest = Segment(begin=4, end=10, num_leaves=1, value=1.0, parent_value=pytest.approx(2 / 3))
    assert found["a"] == (first, rest)
    # B begins after A's first segment; its first four tokens lead to B and C.
    assert found["b"] == (
        Segment(begin=4, end=8, num_leaves=2, value=0.5, parent_value=pytest.approx(2 / 3)),
        Segment(begin=8, end=11, num_leaves=1, value=0.0, parent_value=0.5),
    )
    assert found["c"] == (Segment(begin=8, end=11, num_leaves=1, value=1.0, parent_value=0.5),)
    assert found["d"] == (Segment(begin=0, end=3, num_leaves=1, value=0.0, parent_value=0.5),)


def test_branches_at_one_cut_share_a_segment_and_one_at_the_beginning_is_a_sibling(tree, build):
    a, b, _, d = tree
    twin = replace(b, trajectory_id="b2", episode_return=0.25)
    again = branch(a, 0, num_samples=1, role="branch")
    sibling = build["trajectory"](again.state, "z", outcome="incorrect")
    sibling = replace(sibling, start=again, trajectory_id="s")
    found = tree_segments([a, b, twin, sibling, replace(d, episode_return=0.5)])
    root = (1 + 0 + 0.25 + 0 + 0.5) / 5
    assert found["a"][0] == Segment(
        begin=0, end=4, num_leaves=3, value=pytest.approx(1.25 / 3), parent_value=root
    )
    assert found["b"][0].parent_value == found["b2"][0].parent_value == pytest.approx(1.25 / 3)
    assert found["s"][0].parent_value == root
    # A branch of the sibling's first token has the sibling's segments before it.
    low = branch(sibling, 1, num_samples=1, role="branch")
    child = replace(build["trajectory"](low.state, "q"), start=low, trajectory_id="q")
    assert tree_segments([a, sibling, child])["q"][0].parent_value == 0.0


def test_a_segment_may_be_valued_by_what_directly_continues_it(tree, build):
    a, b, c, d = tree
    twin = replace(b, trajectory_id="b2", episode_return=0.25)
    found = tree_segments([a, b, twin, c, d], by_child=True)
    # C continues B after 8 tokens, next to B's own end: (0 + 1) / 2. After A's first segment come
    # A's end, B and its twin: (1 + 1/2 + 1/4) / 3. From the problem come that and D.
    first = 1.75 / 3
    assert [one.value for one in found["a"]] == pytest.approx([first, 1])
    assert [one.parent_value for one in found["a"]] == pytest.approx([first / 2, first])
    assert [one.value for one in found["b"]] == [0.5, 0.0]
    assert [one.parent_value for one in found["b"]] == pytest.approx([first, 0.5])
    assert (found["b2"][0].value, found["c"][0].parent_value) == (0.25, 0.5)
    assert found["d"][0].parent_value == pytest.approx(first / 2)
    assert [one.num_leaves for one in found["a"]] == [4, 1]
    # A branch at a beginning is one more continuation of what is before it.
    start = branch(twin, 4, num_samples=1, role="branch")
    late = replace(build["trajectory"](start.state, "z"), start=start, trajectory_id="z")
    late = replace(late, episode_return=0.75)
    again = branch(d, 0, num_samples=1, role="branch")
    early = replace(build["trajectory"](again.state, "y"), start=again, trajectory_id="y")
    early = replace(early, episode_return=0.5)
    found = tree_segments([a, b, twin, c, d, late, early], by_child=True)
    first = (1.75 + 0.75) / 4
    assert found["a"][0].value == pytest.approx(first)
    assert found["z"][0].parent_value == pytest.approx(first)
    root = (first + 0 + 0.5) / 3
    assert found["y"][0].parent_value == found["d"][0].parent_value == pytest.approx(root)
    # What has no verdict counts for nothing.
    left = [replace(item, is_left_out=item is c) for item in (a, b, c, d)]
    assert [one.value for one in tree_segments(left, by_child=True)["b"]] == [0.0, 0.0]


def test_ungraded_leaves_have_no_value(tree):
    a, b, c, d = tree
    found = tree_segments([a, b, replace(c, is_left_out=True), replace(d, is_left_out=True)])
    assert found["c"] == (Segment(begin=8, end=11, num_leaves=0, value=None, parent_value=0.0),)
    assert (found["a"][0].num_leaves, found["a"][0].parent_value) == (2, 0.5)


def test_a_cut_outside_of_the_tokens_that_the_parent_sampled_is_refused(tree):
    a, b, c, _ = tree
    for item, cut in ((a, -1), (a, 10), (b, 3), (b, 11)):
        with pytest.raises(ConfigError, match=rf"cut must lie in .* got {cut}; branch off"):
            branch(item, cut, num_samples=1, role="branch")
    # The end token may be left out, so that the branch goes on.
    assert branch(a, 9, num_samples=1, role="branch").state.text == "A:1\nB:2\n#"
    with pytest.raises(ConfigError, match=r"a branch's parent must be among .* got 'b'"):
        tree_segments([a, c])


def test_a_state_is_cut_at_tokens_as_at_steps(build):
    final = build["trajectory"](build["problem_state"](0), "A:1\nB:2\n#").final_state
    assert final.cut_tokens(4) == final.cut(1)
    assert final.cut_tokens(4).step_ends == (4,)
    assert final.cut_tokens(3).step_ends == ()
    assert final.cut_tokens(0) == final.cut(0)
    assert final.cut_tokens(8, "reset") == final.cut(2, source="reset")
    with pytest.raises(StateError, match=r"num must lie in 0\.\.10, the tokens of the response"):
        final.cut_tokens(11)
    with pytest.raises(StateError, match="a cut must keep no end token, got 10 of 10"):
        final.cut_tokens(10)
    with pytest.raises(StateError, match=r"source must be one of .* got 'nobody'"):
        final.cut_tokens(2, "nobody")
