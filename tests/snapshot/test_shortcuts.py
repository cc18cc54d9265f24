"""What a restore caches: generators, states, chains and parsed actions."""

import copy
import json
import pickle

import gymnasium as gym
import numpy as np
import pytest

from reason_env.codec import ByteCodec
from reason_env.env import ReasonEnv
from reason_env.env.state_reader import MAX_CACHED, StateReader
from reason_env.errors import StateError
from reason_env.problem import Problem, ProblemSet
from reason_env.snapshot import pack_state, restore, rng_to_json, snapshot
from reason_env.snapshot.generator import rng_from_json
from reason_env.state import Guidance, ReasonState
from reason_env.wrappers.curriculum import Curriculum
from reason_env.wrappers.hint import Hint
from reason_env.wrappers.prefix_rollin import PrefixRollin
from reason_env.wrappers.record_episodes import RecordEpisodes
from reason_env.wrappers.reset_to_state import ResetToState

CODEC = ByteCodec()
TOY = ProblemSet(
    "toy",
    (
        Problem(problem_id="toy/train/0", question="?", answer="7", solution=("a", "b", "c")),
        Problem(problem_id="toy/train/1", question="!", answer="8", solution=("d",), level=2),
        Problem(problem_id="toy/train/2", question="√", answer="9", level=2),
    ),
)
WRITTEN = rng_to_json(np.random.default_rng(5))


def toy(**changes):
    return ReasonEnv(TOY, **({"max_tokens": 60, "max_steps": 5} | changes))


def forged(snap, old, new):
    """The snapshot with another body, and the digest of that one."""
    from reason_env.snapshot.stack import _BODY, _HEAD, _digest

    body = snap[len(_HEAD) + 16 + len(_BODY) : -1]
    assert body.count(old) == 1, (old, body)
    body = body.replace(old, new)
    return f"{_HEAD}{_digest(body)}{_BODY}{body}}}"


def refuses(env, snap, message):
    before = snapshot(env)
    with pytest.raises(StateError, match=message):
        restore(env, snap)
    assert snapshot(env) == before
    env.step("a\n")


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_copies_of_a_restored_stack_draw_the_same_random_numbers(copied):
    env, fork = (Hint(Curriculum(toy()), trigger=0.5) for _ in range(2))
    env.reset(seed=4)
    restore(fork, snapshot(env))
    copies = [copied(fork), fork, env]
    said = [[each.reset() for _ in range(12)] for each in copies]
    assert said[0] == said[1] == said[2]


def test_a_seed_and_a_given_generator_override_the_restored_one():
    env, fresh = toy(), toy()
    env.reset(seed=1)
    saved = snapshot(env)
    restore(env, saved)
    assert env.reset(seed=9) == fresh.reset(seed=9)
    assert env.np_random.random() == fresh.np_random.random()
    restore(env, saved)
    env.np_random = np.random.default_rng(3)
    assert env.np_random.random() == np.random.default_rng(3).random()
    assert env.np_random_seed == -1
    assert snapshot(env) != saved


def test_a_snapshot_after_a_draw_holds_the_generator_s_new_state():
    env = Hint(toy(), trigger=0.5)
    env.reset(seed=1)
    saved = snapshot(env)
    restore(env, saved)
    assert snapshot(env) == saved
    env.rng.random()
    moved = snapshot(env)
    assert moved != saved
    restore(env, moved)
    assert snapshot(env) == moved


def test_a_generator_of_another_kind_is_not_written():
    env = toy()
    env.reset(seed=0)
    env.np_random = np.random.Generator(np.random.MT19937(1))
    with pytest.raises(StateError, match=r"generator must be of numpy's PCG64 .* got MT19937"):
        snapshot(env)


@pytest.mark.parametrize(
    "text",
    [
        "",
        WRITTEN + " ",
        WRITTEN.upper(),
        WRITTEN.replace("PCG64", "PCG64DXSM"),
        WRITTEN[:-1],
        WRITTEN.replace(" 0 ", " 2 "),
        # The increment of a PCG is odd.
        f"{WRITTEN[:70]}{int(WRITTEN[70], 16) ^ 1:x}{WRITTEN[71:]}",
    ],
)
def test_a_malformed_generator_is_refused(text):
    with pytest.raises(ValueError, match="a generator must be written as PCG64 and its state, got"):
        rng_from_json(text)
    env = toy()
    env.reset(seed=0)
    saved = snapshot(env)
    written = rng_to_json(env.np_random)
    refuses(env, forged(saved, written, text), "snapshot of ReasonEnv must be as to_snapshot")


def test_reading_the_same_state_again_returns_the_cached_object():
    initial = ReasonState(problem=TOY[0], codec=CODEC)
    one = initial.extend(CODEC.encode("a\nb"))
    others = [
        initial.extend(CODEC.encode("a\nb"), "reset"),
        one.with_guidance(Guidance("answer", ("7",))),
        ReasonState(problem=TOY[1], codec=CODEC).extend(CODEC.encode("a\nb")),
        initial.extend(CODEC.encode("a\nc")),
    ]
    reader = StateReader(TOY, CODEC)
    written = json.dumps(pack_state(one))
    first = reader.read_cached(json.loads(written))
    assert first == one
    assert reader.read_cached(json.loads(written)) is first
    for other in others:
        assert reader.read_cached(json.loads(json.dumps(pack_state(other)))) == other
        assert reader.read_cached(json.loads(written)) == one


def test_only_the_most_recently_read_states_are_cached():
    reader = StateReader(TOY, CODEC)
    initial = ReasonState(problem=TOY[0], codec=CODEC)
    packed = [pack_state(initial.extend((65 + place,))) for place in range(MAX_CACHED + 1)]
    states = [reader.read_cached(data) for data in packed[:-1]]
    assert reader.read_cached(packed[0]) is states[0]
    reader.read_cached(packed[-1])
    assert reader.read_cached(packed[0]) is states[0]
    assert reader.read_cached(packed[1]) is not states[1]


def test_a_refused_state_is_not_cached():
    env = toy()
    env.reset(seed=0)
    saved = snapshot(env)
    bad = forged(saved, ',"1",[],[],null]', ',"1QQ==",[["reader",1]],[],null]')
    for _ in range(2):
        refuses(env, bad, "sources must be among policy")
    restore(env, saved)


@pytest.mark.parametrize("ids", [(65, 66), (256, 65), (195, 164)])
def test_token_observations_after_a_restore_equal_the_original_s(ids):
    env, fork = (toy(format="tokens") for _ in range(2))
    env.reset(seed=0)
    fork.reset(seed=1)
    fork.step(CODEC.encode("long text"))
    env.step(ids)
    restore(fork, snapshot(env))
    seen = fork.step((67,))[0]
    assert np.array_equal(seen, env.step((67,))[0])
    size = len(env.prompt.token_ids(env.state))
    assert seen[size : size + 4].tolist() == [*ids, 67, CODEC.pad_id]


def test_a_restore_rebuilds_the_prompt_if_only_the_guidance_differs():
    env = Hint(toy(), "answer", trigger=0.5)
    seen = {}
    for seed in range(20):
        env.reset(seed=seed, options={"problem": "toy/train/0"})
        seen.setdefault(env.unwrapped.state.guidance, snapshot(env))
    assert len(seen) == 2
    for guidance, saved in [*seen.items()] * 2:
        restore(env, saved)
        obs, *_ = env.step("a\n")
        assert env.unwrapped.state.guidance == guidance
        assert obs == ("?\nAnswer: 7\n>a\n" if guidance else "?\n>a\n")


def archived(chains, capacity=3):
    env = ResetToState(toy(), cut=1, capacity=capacity)
    for row, text in chains:
        env.add(env.reason_env.initial_state(TOY[row]).extend(CODEC.encode(text)))
    env.reset(seed=4)
    return env


FULL = [(0, "a\nb"), (1, "c\nd"), (0, "e\nf"), (2, "g\nh")]


@pytest.mark.parametrize("more", [[(0, "x\ny")], [*FULL[1:]], [(0, "x\ny")] * 5])
def test_a_restore_reverts_an_archive_that_changed_after_the_snapshot(more):
    env = archived(FULL)
    saved, chains = snapshot(env), env.archive.chains
    for row, text in more:
        env.add(env.reason_env.initial_state(TOY[row]).extend(CODEC.encode(text)))
    restore(env, saved)
    assert env.archive.chains == chains
    assert [chain.state.text for chain in env.archive.of_problem("toy/train/0")] == ["e\nf"]
    assert snapshot(env) == saved


def test_two_stacks_restored_from_one_snapshot_do_not_share_an_archive():
    env, fork = archived(FULL[:2]), archived([])
    saved = snapshot(env)
    for _ in range(2):
        restore(env, saved)
        restore(fork, saved)
        assert snapshot(fork) == snapshot(env) == saved
        fork.add(fork.reason_env.initial_state(TOY[2]).extend(CODEC.encode("x\ny")))
        assert (len(env.archive), len(fork.archive)) == (2, 3)


def test_an_unchanged_full_archive_continues_as_one_restored_from_json():
    env, fork = archived(FULL), archived([])
    saved = snapshot(env)
    restore(env, saved)
    restore(fork, saved)
    for each in (env, fork):
        each.add(each.reason_env.initial_state(TOY[1]).extend(CODEC.encode("i\nj")))
    assert env.archive.chains == fork.archive.chains
    assert snapshot(env) == snapshot(fork)
    assert [env.reset() for _ in range(9)] == [fork.reset() for _ in range(9)]


def test_a_restore_reorders_an_archive_that_holds_the_same_chains():
    env, other = archived(FULL), archived([FULL[3], FULL[1], FULL[2]])
    chains = other.archive.chains
    assert set(chains) == set(env.archive.chains)
    restore(env, snapshot(other))
    assert env.archive.chains == chains


def test_a_damaged_archive_is_refused_even_if_its_chains_are_cached():
    env = archived(FULL)
    saved = snapshot(env)
    packed = pack_state(env.archive.chains[0].state)[1]
    refuses(env, saved.replace(packed, packed[:-2] + "A="), "snapshot must match its digest")
    for bad in ("1", "1!", "9QQ==", packed[:-4]):
        env.reset()
        saved = snapshot(env)
        refuses(env, forged(saved, packed, bad), "snapshot of ResetToState|source runs must add up")
    restore(env, saved)
    assert snapshot(env) == saved


@pytest.mark.parametrize(
    ("settings", "actions"),
    [
        ({"format": "text"}, ["√ \n", 'say "x"', "", "#### 3\n"]),
        ({"format": "tokens"}, [(65, 10), (), (66,), CODEC.encode("\n#### 3\n")]),
        ({"format": "tokens", "granularity": "token"}, [65, np.int64(10), CODEC.eos_id]),
    ],
)
def test_a_record_restored_in_mid_episode_is_written_identically(settings, actions, tmp_path):
    def recorded(name):
        return RecordEpisodes(Hint(toy(**settings), "answer"), tmp_path / name)

    env = recorded("a.jsonl")
    env.reset(seed=3)
    for place, action in enumerate(actions):
        fork = recorded(f"{place}.jsonl")
        restore(fork, json.loads(json.dumps(snapshot(env))))
        for later in actions[place:]:
            if fork.step(later)[2]:
                break
        if env.step(action)[2]:
            break
    line = (tmp_path / "a.jsonl").read_text()
    row = json.loads(line)
    assert row["actions"] == [
        action if isinstance(action, str) else np.asarray(action).tolist()
        for action in actions[: len(row["actions"])]
    ]
    assert row["start"]["guidance"] == [["answer", [env.unwrapped.state.problem.answer]]]
    assert {(tmp_path / f"{place}.jsonl").read_text() for place in range(place + 1)} == {line}


@pytest.mark.parametrize(
    ("old", "new"), [('"actions":[]', '"actions":[3]'), ('"start":[', '"start":{},"begin":[')]
)
def test_a_malformed_record_is_refused(old, new, tmp_path):
    env = RecordEpisodes(toy(), tmp_path / "a.jsonl")
    env.reset(seed=0)
    refuses(env, forged(snapshot(env), old, new), "snapshot of RecordEpisodes must be as to_snap")


@pytest.mark.parametrize("bad", ['"3"', "3.5", "[3]"])
def test_a_memory_of_another_type_is_refused(bad):
    env = gym.wrappers.TimeLimit(PrefixRollin(toy(), probability=0.5), 50)
    env.reset(seed=0)
    saved = forged(snapshot(env), '"_elapsed_steps":0', f'"_elapsed_steps":{bad}')
    refuses(env, saved, "snapshot of TimeLimit must be as to_snapshot")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"length_queue":[1]', '"length_queue":3'),
        ('"length_queue":[1]', '"length_queue":["1"]'),
        ('"episode_count":1', '"episode_count":1.5'),
        ('"episode_returns":', '"episode_returns":null,"x":'),
    ],
)
def test_malformed_statistics_are_refused(old, new):
    env = gym.wrappers.RecordEpisodeStatistics(toy())
    env.reset(seed=0)
    env.step("#### 3\n")
    env.reset()
    saved = forged(snapshot(env), old, new)
    refuses(env, saved, "snapshot of RecordEpisodeStatistics must be as to_snapshot")


def test_a_snapshot_of_another_format_is_refused():
    env = toy()
    env.reset(seed=0)
    old = snapshot(env).replace('{"format":2', '{"format":1', 1)
    refuses(env, old, "snapshot format must be 2, got 1; take it again with this version")


def test_damage_between_digest_and_layers_is_found():
    env = toy()
    env.reset(seed=0)
    damaged = snapshot(env).replace('","body":', '","bodi":', 1)
    refuses(env, damaged, r"snapshot must be the text that snapshot\(\) returned")


@pytest.mark.parametrize("body", ["3", "[3]", '[["ReasonEnv"]]', "[", "[" * 100_000])
def test_a_snapshot_without_layers_is_refused(body):
    from reason_env.snapshot.stack import _BODY, _HEAD, _digest

    env = toy()
    env.reset(seed=0)
    refuses(
        env, f"{_HEAD}{_digest(body)}{_BODY}{body}}}", "snapshot must hold a list of layers, got"
    )
