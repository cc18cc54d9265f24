from hypothesis import given, settings
from hypothesis import strategies as st

from reason_env.agents.engines.fused import prefix_tree
from reason_env.agents.engines.fused.prefix_tree import (
    Graft,
    common_length,
    in_sharing_order,
    plan_waves,
)

LONG = tuple(range(100, 120))


def test_a_branch_copies_from_the_first_context_that_reached_the_node():
    new = [(*LONG, 1, 5), (*LONG, 1, 6), (*LONG, 2), LONG, (*LONG[:17], 9)]
    # In order: LONG[:17] + 9 computes the root; wave 1 copies 17 of it. (LONG, 1, 5) could copy 20
    # from LONG, which is in wave 1, so it is in wave 2, and (LONG, 1, 6) copies 21 from it.
    assert plan_waves(new, {}) == [
        [Graft(4, None, 0)],
        [Graft(3, -1 - 4, 17)],
        [Graft(0, -1 - 3, 20), Graft(2, -1 - 3, 20)],
        [Graft(1, -1 - 0, 21)],
    ]


def test_a_context_in_the_pool_is_a_donor_if_it_has_more_in_common():
    pool = {6: (*LONG, 3, 3, 3), 2: LONG[:18], 4: (1, 2, 3)}
    assert plan_waves([(*LONG, 3, 4)], pool) == [[Graft(0, 6, 21)]]
    assert plan_waves([LONG], pool) == [[Graft(0, 6, 19)]]
    assert plan_waves([(*LONG[:15], 4)], pool) == [[Graft(0, None, 0)]]
    # The second copies from the pool what the first did, and needs no second wave.
    assert plan_waves([(*LONG, 8), (*LONG, 9)], pool) == [[Graft(0, 6, 20), Graft(1, 6, 20)]]


tokens = st.lists(st.integers(0, 1), min_size=1, max_size=9).map(tuple)


def distinct_tokens(contexts):
    return len({context[: end + 1] for context in contexts for end in range(len(context))})


@settings(max_examples=200)
@given(st.lists(tokens, min_size=1, max_size=9, unique=True), st.lists(tokens, max_size=4))
def test_every_distinct_token_is_computed_once_after_its_donor(new, old):
    pool = {3 * at + 1: context for at, context in enumerate(old)}
    before, prefix_tree.MIN_SHARED_TOKENS = prefix_tree.MIN_SHARED_TOKENS, 1
    try:
        waves = plan_waves(new, pool)
    finally:
        prefix_tree.MIN_SHARED_TOKENS = before
    assert sorted(graft.index for wave in waves for graft in wave) == list(range(len(new)))
    ready = set()
    for wave in waves:
        assert wave
        for graft in wave:
            assert 0 <= graft.num_shared < len(new[graft.index])
            if graft.donor is None:
                assert graft.num_shared == 0
                continue
            donor = pool[graft.donor] if graft.donor >= 0 else new[-1 - graft.donor]
            assert donor[: graft.num_shared] == new[graft.index][: graft.num_shared]
            assert graft.donor >= 0 or -1 - graft.donor in ready
        ready |= {graft.index for graft in wave}
    computed = sum(len(new[graft.index]) - graft.num_shared for wave in waves for graft in wave)
    if not pool:
        assert computed == distinct_tokens(new)
    # The last token of a context that the pool has is computed again.
    again = sum(any(context == other[: len(context)] for other in old) for context in new)
    assert computed <= distinct_tokens([*new, *old]) - distinct_tokens(old or [()]) + again


@given(tokens, tokens)
def test_the_common_length_is_that_of_the_longest_common_prefix(one, other):
    length = common_length(one, other)
    assert one[:length] == other[:length]
    assert one[: length + 1] != other[: length + 1] or length == min(len(one), len(other))


def test_contexts_that_share_half_are_side_by_side_and_clusters_begin_with_the_shortest():
    family = [(*LONG, *range(at)) for at in (1, 2, 3)]
    alone, short = tuple(range(22)), (100, 7)
    assert in_sharing_order([family[2], alone, family[0], short, family[1]]) == [
        short, alone, *family,
    ]  # fmt: skip
