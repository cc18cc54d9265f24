import random

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reason_env.codec import ByteCodec, HuggingFaceCodec
from reason_env.env import COMMITMENT_SIGNS, ReasonEnv, commits, may_commit
from reason_env.errors import ActionError, CodecError, ConfigError, StateError, UnknownNameError
from reason_env.problem import Problem, ProblemSet
from reason_env.problems import reference_response
from reason_env.state import Guidance, ReasonState
from reason_env.vector_env import reset_cache
from reason_env.vector_env.vector_env import INFO_TYPES, ReasonVectorEnv

CODEC = ByteCodec()
EOS = CODEC.eos_id
MODES = ("NextStep", "SameStep", "Disabled")
TOY = ProblemSet(
    "toy",
    (
        Problem(problem_id="toy/train/0", question="?", answer="7", solution=("a", "b"), level=3),
        Problem(problem_id="toy/train/1", question="longer √", answer="8", solution=("c",)),
        Problem(problem_id="toy/train/2", question="!!", answer="9"),
    ),
)
REWARD = {"incorrect": -0.25, "no_answer": -0.5, "truncated": -0.75}
SETTINGS = {"max_tokens": 24, "max_steps": 4, "max_prompt_tokens": 40, "reward": REWARD}


def native(num_envs, mode, **changes) -> ReasonVectorEnv:
    changes = SETTINGS | changes
    return ReasonVectorEnv(num_envs, problems=TOY, autoreset_mode=mode, **changes)


def sync(num_envs, mode, **changes) -> gym.vector.SyncVectorEnv:
    def make():
        return ReasonEnv(TOY, granularity="token", format="tokens", **(SETTINGS | changes))

    modes = {item.value: item for item in gym.vector.AutoresetMode}
    return gym.vector.SyncVectorEnv([make] * num_envs, autoreset_mode=modes[mode])


def same(first, second) -> bool:
    """Compares whatever vector environments say, types of arrays included."""
    if isinstance(first, np.ndarray) and first.dtype == object:
        return second.dtype == object and same(list(first), list(second))
    if isinstance(first, np.ndarray):
        return first.dtype == second.dtype and np.array_equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, (tuple, list)):
        return len(first) == len(second) and all(map(same, first, second))
    return type(first) is type(second) and first == second


class Speaker:
    """Emits references, wrong answers and noise token by token, whatever it observes."""

    def __init__(self, seed: int, num_envs: int) -> None:
        self.rng = random.Random(seed)
        self.queues = [[] for _ in range(num_envs)]

    def __call__(self) -> np.ndarray:
        for queue in self.queues:
            if not queue:
                problem = self.rng.choice(TOY.problems)
                noise = [self.rng.randrange(CODEC.vocab_size) for _ in range(6)]
                texts = (reference_response(problem), "#### 3\n", "x\ny\n\n", "√\n", "")
                queue.extend(self.rng.choice([noise, CODEC.encode(self.rng.choice(texts)), [EOS]]))
        return np.array([queue.pop(0) if queue else EOS for queue in self.queues])


def check_equal(ours, theirs, *, seed: int, steps: int) -> int:
    """Plays both and compares everything; returns how many episodes ended."""
    assert ours.single_observation_space == theirs.single_observation_space
    assert ours.single_action_space == theirs.single_action_space
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    assert same(ours.reset(seed=seed), theirs.reset(seed=seed))
    speak, ended = Speaker(seed, ours.num_envs), 0
    for _ in range(steps):
        actions = speak()
        said = ours.step(actions)
        assert same(said, theirs.step(actions))
        over = said[2] | said[3]
        ended += int(over.sum())
        if ours.autoreset_mode is gym.vector.AutoresetMode.DISABLED and over.any():
            again = {"reset_mask": over}
            assert same(ours.reset(options=again), theirs.reset(options=dict(again)))
            assert again == {"reset_mask": over}
    states = tuple(env.unwrapped.state for env in theirs.envs)
    if ours.autoreset_mode is gym.vector.AutoresetMode.DISABLED or not over.any():
        assert ours.states == states
        assert [state.step_ends for state in ours.states] == [state.step_ends for state in states]
    return ended


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("stop_at_answer", [True, False])
def test_the_vector_environment_equals_the_sync_one_step_for_step(mode, stop_at_answer):
    changes = {"stop_at_answer": stop_at_answer}
    ended = check_equal(native(7, mode, **changes), sync(7, mode, **changes), seed=3, steps=120)
    assert ended > 30


@settings(max_examples=25, deadline=None)
@given(
    mode=st.sampled_from(MODES),
    seed=st.integers(0, 2**31),
    num_envs=st.integers(1, 4),
    max_tokens=st.integers(1, 12),
    max_steps=st.integers(1, 3),
    delimiter=st.sampled_from(["\n", "\n\n", "√", "ab", " "]),
    stops=st.sampled_from([[], ["3"], ["x\ny", "####"], ["\n"]]),
)
def test_the_vector_environment_equals_the_sync_one_for_any_rules(
    mode, seed, num_envs, max_tokens, max_steps, delimiter, stops
):
    changes = {"max_tokens": max_tokens, "max_steps": max_steps, "codec": ByteCodec(delimiter)}
    changes["template"] = {"base": "ours", "stops": stops}
    check_equal(
        native(num_envs, mode, **changes), sync(num_envs, mode, **changes), seed=seed, steps=20
    )


@pytest.mark.parametrize("mode", MODES)
def test_stops_end_the_episodes_of_both_alike(mode):
    changes = {"template": {"base": "ours", "stops": ["3", "x\ny"]}, "stop_at_answer": False}
    ended = check_equal(native(7, mode, **changes), sync(7, mode, **changes), seed=4, steps=120)
    assert ended > 30


class TwoEnds(ByteCodec):
    """The pad id ends a response too."""

    end_ids = (257, 256)


@pytest.mark.parametrize("mode", MODES)
def test_each_of_several_end_tokens_ends_an_episode(mode):
    changes = {"codec": TwoEnds(), "max_tokens": 9}
    assert check_equal(native(7, mode, **changes), sync(7, mode, **changes), seed=1, steps=90) > 30
    envs = native(2, mode, **changes)
    envs.reset(seed=0)
    _, _, terminations, _, _ = envs.step(np.array([256, 65]))
    assert terminations.tolist() == [True, False]


@pytest.mark.parametrize("mode", MODES)
def test_random_actions_of_the_space_are_accepted(mode):
    ours, theirs = native(5, mode), sync(5, mode)
    ours.action_space.seed(1)
    ours.reset(seed=0)
    theirs.reset(seed=0)
    for _ in range(20):
        actions = ours.action_space.sample()
        assert same(ours.step(actions), theirs.step(actions))


def test_next_step_autoreset_ignores_the_action_of_an_episode_that_restarts():
    envs = native(2, "NextStep")
    envs.reset(seed=0)
    envs.step([EOS, 65])
    envs.step([9999, 66])
    assert [state.text for state in envs.states] == ["", "AB"]
    with pytest.raises(CodecError, match="got 9999"):
        envs.step([9999, 66])


SPOKEN = ("a b #### 7\n", "\\frac{1}{2} \\boxed", "{7}\n", "##", "##8\n", "####\n", "\\boxed {9}\n",
          "<think>", "</think>\n", "\n\n", "so #\n", "x\ny", "\\fbox{", "}\n")  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(
    lines=st.lists(
        st.lists(st.sampled_from(SPOKEN), min_size=1, max_size=9), min_size=2, max_size=2
    ),
    delimiter=st.sampled_from(["\n", " ", "#", "e"]),
    mode=st.sampled_from(MODES[:2]),
)
def test_answers_that_begin_in_one_step_and_end_in_another_are_found(lines, delimiter, mode):
    """Signs of an answer over step boundaries, undone by a thought, empty, or spelt by halves."""
    changes = {"max_tokens": 70, "max_steps": 30, "codec": ByteCodec(delimiter)}
    ours, theirs = native(2, mode, **changes), sync(2, mode, **changes)
    ours.reset(seed=1)
    theirs.reset(seed=1)
    texts = [CODEC.encode("".join(parts)) for parts in lines]
    for place in range(max(map(len, texts))):
        tokens = np.array([ids[place] if place < len(ids) else 120 for ids in texts])
        assert same(ours.step(tokens), theirs.step(tokens))


@pytest.mark.parametrize("delimiter", ["\n", "\n\n", "√"])
def test_the_vector_environment_equals_the_sync_one_with_a_tokenizer(delimiter):
    tokenizer = tokenizer_of(("a b #### 7\n\n", "so √ it is\n", "\\boxed{8}"))
    codec = HuggingFaceCodec(tokenizer, delimiter)
    changes = {"codec": codec, "max_tokens": 20, "max_prompt_tokens": 90}
    for mode in MODES[:2]:
        ours, theirs = native(5, mode, **changes), sync(5, mode, **changes)
        assert same(ours.reset(seed=2), theirs.reset(seed=2))
        rng = random.Random(3)
        queues = [[] for _ in range(5)]
        for _ in range(40):
            for queue in queues:
                if not queue:
                    text = rng.choice(("#### 7\n", "so √\n\n", "\\boxed{8}\n", "√√", "a\nb"))
                    noise = [rng.randrange(codec.vocab_size) for _ in range(3)]
                    queue.extend(rng.choice((codec.encode(text), noise, [codec.eos_id])))
            tokens = np.array([queue.pop(0) for queue in queues])
            assert same(ours.step(tokens), theirs.step(tokens))


SPLIT = (
    "####",
    " 7\n",
    "8\n",
    "#",
    "\\bo",
    "xed",
    "{7}",
    "\n",
    "√",
    "x",
    "\\frac{1}{2}",
    "</think>\n",
)


def word_piece_codec() -> HuggingFaceCodec:
    """A codec that strips and adds characters between tokens: a box is whole only in company."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", "<end>", "\\", "##boxed", "##{7}", "\n", "##\n", "####", "7", "x", ">", "a"]
    words += ["##{", "}"]
    tokenizer = Tokenizer(
        models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece("##", cleanup=False)
    return HuggingFaceCodec(
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", unk_token="<unk>")
    )


BYTE_LEVEL: dict[str, HuggingFaceCodec] = {}


def byte_level_codec(delimiter) -> HuggingFaceCodec:
    if delimiter not in BYTE_LEVEL:
        tokenizer = tokenizer_of(("a b #### 7\n\n", "so √ it is\n", "\\boxed{8}", "\\frac{1}"))
        BYTE_LEVEL[delimiter] = HuggingFaceCodec(tokenizer, delimiter)
    return BYTE_LEVEL[delimiter]


def play_both(ours, theirs, scripts, *, filler) -> list[bool]:
    """Play a script of ids in each episode, then the filler; return which steps ended one."""
    assert same(ours.reset(seed=1), theirs.reset(seed=1))
    ended = []
    for place in range(max(map(len, scripts))):
        tokens = np.array([ids[place] if place < len(ids) else filler for ids in scripts])
        said = ours.step(tokens)
        assert same(said, theirs.step(tokens))
        ended.append(bool((said[2] | said[3]).any()))
    return ended


@settings(max_examples=60, deadline=None)
@given(
    lines=st.lists(
        st.lists(
            st.sampled_from(SPLIT) | st.integers(0, 289).map(lambda token: (token,)), max_size=10
        ),
        min_size=2,
        max_size=2,
    ),
    delimiter=st.sampled_from(["\n", "\n\n", "√", "#"]),
    mode=st.sampled_from(MODES[:2]),
    max_tokens=st.integers(4, 40),
    max_steps=st.integers(1, 4),
)
def test_signs_and_characters_split_over_tokens_are_found(
    lines, delimiter, mode, max_tokens, max_steps
):
    codec = byte_level_codec(delimiter)
    assert codec.token_bytes is not None
    assert codec.vocab_size >= 290
    changes = {"codec": codec, "max_prompt_tokens": 90, "max_tokens": max_tokens}
    changes["max_steps"] = max_steps
    scripts = [
        [i for part in line for i in (codec.encode(part) if type(part) is str else part)] + [120]
        for line in lines
    ]
    ours, theirs = native(2, mode, **changes), sync(2, mode, **changes)
    play_both(ours, theirs, scripts, filler=codec.eos_id)


@settings(max_examples=40, deadline=None)
@given(
    scripts=st.lists(st.lists(st.integers(1, 13), min_size=1, max_size=14), min_size=2, max_size=2),
    mode=st.sampled_from(MODES[:2]),
)
@example(scripts=[[1], [5, 6, 2]], mode="NextStep")  # "##\n" alone has text, after "\n" it is blank
def test_the_vector_environment_equals_the_sync_one_if_tokens_change_their_neighbours(
    scripts, mode
):
    changes = {"codec": word_piece_codec()}
    assert changes["codec"].token_bytes is None
    play_both(native(2, mode, **changes), sync(2, mode, **changes), scripts, filler=9)


def test_an_answer_that_exists_only_in_the_joined_text_is_graded():
    codec = word_piece_codec()
    assert codec.decode((2, 3, 4, 6)) == "\\boxed{7}\n"
    ours, theirs = native(1, "NextStep", codec=codec), sync(1, "NextStep", codec=codec)
    assert play_both(ours, theirs, [[9, 6, 2, 6, 2, 3, 4, 6]], filler=9) == [False] * 7 + [True]
    assert [state.verdict.extracted for state in ours.states] == ["7"]


def test_a_box_that_exists_only_in_the_joined_text_can_close_steps_later():
    codec = word_piece_codec()
    assert codec.decode((2, 3, 12, 6, 9, 6, 8, 13, 6)) == "\\boxed{\n x\n 7 }\n"
    for begun in ((), (2, 3, 12, 6)):
        ours, theirs = native(1, "Disabled", codec=codec), sync(1, "Disabled", codec=codec)
        start = ReasonState(problem=TOY[0], codec=codec).extend(begun, "reset")
        for envs in (ours, theirs):
            envs.reset(options={"state": start})
        rest = (2, 3, 12, 6, 9, 6, 8, 13, 6)[len(begun) :]
        for token in rest:
            said = ours.step(np.array([token]))
            assert same(said, theirs.step(np.array([token])))
        assert said[2].tolist() == [True]


@pytest.mark.parametrize("mode", MODES[:2])
@pytest.mark.parametrize(
    ("limits", "text", "ends"),
    [
        # The answer comes with the last token, or the last step, that a budget leaves.
        ({"max_tokens": 7}, "#### 7\nab", "terminated"),
        ({"max_tokens": 6}, "#### 7\nab", "truncated"),
        ({"max_steps": 2}, "a\n#### 7\n", "terminated"),
        ({"max_steps": 1}, "a\n#### 7\n", "truncated"),
        ({"max_steps": 1, "stop_at_answer": False}, "#### 7\n", "truncated"),
        # Without a line end, the end token grades the response, also as the last token.
        ({"max_tokens": 9}, "a\n#### 7", "terminated"),
        ({"max_tokens": 8}, "a\n#### 7", "truncated"),
        ({"stop_at_answer": False}, "#### 7\n", "terminated"),
    ],
)
def test_an_answer_and_a_budget_at_once(mode, limits, text, ends):
    ours, theirs = native(2, mode, **limits), sync(2, mode, **limits)
    assert same(ours.reset(seed=4), theirs.reset(seed=4))
    for token in (*CODEC.encode(text), EOS):
        said = ours.step(np.array([token, token]))
        assert same(said, theirs.step(np.array([token, token])))
        if (said[2] | said[3]).any():
            break
    _, _, terminations, truncations, _ = said
    assert terminations.tolist() == [ends == "terminated"] * 2
    assert truncations.tolist() == [ends == "truncated"] * 2


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("begun", "text"),
    [
        ("", "#### 7\n"),
        ("a\n##", "## 7\n"),
        ("####", " 7\n"),
        ("#### 7\n", "b\n"),
        ("\\box", "ed{7}\n"),
        ("\\boxed{7", "}\n"),
        ("a\n\\frac", "{1}{2}\n\n"),
        ("√ \\boxed{", "√}\n"),
    ],
)
def test_a_start_may_hold_the_beginning_of_an_answer(mode, begun, text):
    for codec in (CODEC, byte_level_codec("\n")):
        changes = {"codec": codec, "max_prompt_tokens": 90}
        ours, theirs = native(2, mode, **changes), sync(2, mode, **changes)
        start = ReasonState(problem=TOY[0], codec=codec).extend(codec.encode(begun), "reset")
        start = start.with_guidance(Guidance("answer", ("7",)))
        for envs in (ours, theirs):
            envs.reset(seed=2)
        given = {"state": start}
        assert same(ours.reset(options=dict(given)), theirs.reset(options=dict(given)))
        for token in codec.encode(text):
            said = ours.step(np.array([token, codec.eos_id]))
            assert same(said, theirs.step(np.array([token, codec.eos_id])))
            if mode == "Disabled" and (over := said[2] | said[3]).any():
                again = {"reset_mask": over}
                assert same(ours.reset(options=dict(again)), theirs.reset(options=dict(again)))


@pytest.mark.parametrize("mode", MODES[:2])
def test_the_caller_may_overwrite_returned_arrays(mode):
    ours, theirs = native(4, mode), sync(4, mode)
    speak = Speaker(8, 4)
    assert same(ours.reset(seed=8), theirs.reset(seed=8))
    for _ in range(40):
        actions = speak()
        said = ours.step(actions)
        assert same(said, theirs.step(actions))
        spoil(said)


def test_no_two_infos_are_one_array():
    envs = native(2, "SameStep")
    _, infos = envs.reset(seed=0)
    assert len({id(values) for values in infos.values()}) == len(infos) == 18
    _, _, _, _, infos = envs.step(np.array([EOS, 65]))
    final = infos.pop("final_info")
    everything = [*infos.values(), *final.values()]
    assert len({id(values) for values in everything}) == len(everything) == 18 + 3 + 18


def spoil(given) -> None:
    if isinstance(given, np.ndarray) and given.dtype == object:
        spoil(list(given))
        given[:] = "spoilt"
    elif isinstance(given, np.ndarray):
        given[:] = 1 - given
    elif isinstance(given, dict):
        spoil(list(given.values()))
        given.clear()
    elif isinstance(given, (tuple, list)):
        for part in given:
            spoil(part)


@pytest.mark.parametrize("mode", MODES)
def test_a_reset_evicted_from_the_cache_is_computed_again(mode, monkeypatch):
    monkeypatch.setattr(reset_cache, "MAX_PROBLEMS", 2)
    check_equal(native(3, mode), sync(3, mode), seed=12, steps=60)


def test_resets_are_cached_for_the_problems_reset_last(monkeypatch):
    monkeypatch.setattr(reset_cache, "MAX_PROBLEMS", 2)
    env = ReasonEnv(TOY, granularity="token", format="tokens", **SETTINGS)
    cache = reset_cache.ResetCache(env)
    rng = np.random.default_rng(0)
    first, second = (cache.get({"problem": TOY[i].problem_id}, rng) for i in (0, 1))
    assert cache.get({"problem": TOY[1].problem_id}, rng) is second
    cache.get({"problem": TOY[2].problem_id}, rng)
    assert cache.get({"problem": TOY[1].problem_id}, rng) is second
    again = cache.get({"problem": TOY[0].problem_id}, rng)
    assert again is not first
    assert again.state == first.state
    assert again.prompt_ids.tolist() == list(CODEC.encode("?\n>"))
    hinted = first.state.with_guidance(Guidance("answer", ("7",)))
    assert cache.get({"state": hinted}, rng).info[-1] == "Answer: 7\n"
    assert cache.get({"problem": TOY[0].problem_id}, rng) is again


def tokenizer_of(texts):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=290,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>")


@given(
    st.lists(
        st.sampled_from(["#", "##", "\\", "boxed", "fbox", "{1}", " 2", "\n", "x"]), max_size=8
    )
)
def test_a_text_that_may_not_commit_commits_only_after_another_sign(parts):
    for place in range(len(parts)):
        head, tail = "".join(parts[:place]), "".join(parts[place:])
        if not may_commit(head):
            assert not commits(head)
            if not any(sign in tail for sign in COMMITMENT_SIGNS):
                assert not commits(head + tail)


def test_gymnasium_s_make_vec_builds_the_vector_environment():
    envs = gym.make_vec(
        "MathReason-v0",
        num_envs=3,
        vectorization_mode="vector_entry_point",
        problems="chain",
        size=4,
        autoreset_mode="SameStep",
    )
    assert type(envs) is ReasonVectorEnv
    assert envs.metadata["autoreset_mode"] is gym.vector.AutoresetMode.SAME_STEP
    assert ReasonVectorEnv.metadata["autoreset_mode"] is gym.vector.AutoresetMode.NEXT_STEP
    assert envs.num_envs == 3
    assert envs.reset(seed=0)[0] in envs.observation_space


def test_each_episode_can_start_from_a_different_state():
    envs = native(3, "NextStep")
    first = ReasonState(problem=TOY[2], codec=CODEC).extend(CODEC.encode("so\n"), "reset")
    second = ReasonState(problem=TOY[0], codec=CODEC).with_guidance(Guidance("answer", ("7",)))
    ids, infos = envs.reset(seed=5, options={"states": [first, None, second.to_json()]})
    single = ReasonEnv(TOY, granularity="token", format="tokens", **SETTINGS)
    assert np.array_equal(ids[1], single.reset(seed=6)[0])
    assert envs.states[0] == first
    assert envs.states[2] == second
    assert infos["privileged_context"].tolist() == ["", "", "Answer: 7\n"]
    assert infos["num_tokens"].tolist() == [3, 0, 0]
    for token in CODEC.encode("#### 9"):
        envs.step(np.array([token, 65, 66]))
    _, rewards, terminations, _, _ = envs.step(np.array([10, 65, 66]))
    assert (rewards[0], terminations[0]) == (1.0, True)
    assert envs.states[0].sources == ("reset",) * 3 + ("policy",) * 7


def test_options_for_all_reach_every_episode():
    envs = native(2, "NextStep")
    envs.reset(options={"problem": "toy/train/1"})
    assert {state.problem for state in envs.states} == {TOY[1]}
    begun = lambda state: state.extend(CODEC.encode("c\n"), "reference")  # noqa: E731
    envs.reset(options={"problem": "toy/train/1", "starts": (begun,)})
    assert {state.text for state in envs.states} == {"c\n"}


def test_a_group_branches_from_one_state():
    envs = native(4, "Disabled")
    start = ReasonState(problem=TOY[0], codec=CODEC).extend(CODEC.encode("a\n"), "reference")
    envs.reset(options={"state": start})
    envs.step(np.array([65, 66, 67, EOS]))
    assert [state.text for state in envs.states] == ["a\nA", "a\nB", "a\nC", "a\n"]


def test_observations_are_copies_unless_copy_is_false():
    envs = native(2, "NextStep")
    first, _ = envs.reset(seed=0)
    kept = first.copy()
    envs.step(np.array([65, 66]))
    assert np.array_equal(first, kept)
    envs = native(2, "NextStep", copy=False)
    first, _ = envs.reset(seed=0)
    second = envs.step(np.array([65, 66]))[0]
    assert second is first


def test_infos_have_the_keys_of_a_single_environment():
    env = ReasonEnv(TOY)
    _, info = env.reset(seed=0)
    assert list(INFO_TYPES) == list(info)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_envs": 0}, "num_envs must be at least 1, got 0"),
        (
            {"autoreset_mode": "sometimes"},
            "autoreset_mode must be one of NextStep, SameStep, Disab",
        ),
        ({"granularity": "step"}, "must have granularity 'token' and format 'tokens', got 'step'"),
        ({"format": "text"}, "got 'token' and 'text'; use vectorization_mode='sync'"),
        ({"render_mode": "ansi"}, "render_mode must be None, got 'ansi'"),
        ({"max_tokens": 0}, "max_tokens must be at least 1, got 0"),
    ],
)
def test_a_wrong_setting_is_refused_at_construction(settings, message):
    with pytest.raises(ConfigError, match=message):
        ReasonVectorEnv(**({"num_envs": 2, "problems": TOY} | settings))


@pytest.mark.parametrize(
    ("actions", "error", "message"),
    [
        ([65], ActionError, "actions must be one token id for each of the 2 episodes"),
        ([65.0, 66.0], ActionError, "actions must be one token id for each of the 2 episodes"),
        ("ab", ActionError, "actions must be one token id for each of the 2 episodes, got 'ab'"),
        ([65, 258], CodecError, r"token ids must lie in 0\.\.257, got 258"),
        ([-1, 65], CodecError, r"token ids must lie in 0\.\.257, got -1"),
    ],
)
def test_a_wrong_action_is_refused_and_changes_nothing(actions, error, message):
    envs = native(2, "NextStep")
    envs.reset(seed=0)
    before = envs.states
    with pytest.raises(error, match=message):
        envs.step(actions)
    assert envs.states == before
    envs.step([65, 66])


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"seed": [1]}, ConfigError, "seed must be one number, or one for each"),
        ({"options": {"states": [None]}}, ConfigError, r"must be one state .or None. for"),
        ({"options": {"reset_mask": np.zeros(2, bool)}}, ConfigError, "at least one of them True"),
        ({"options": {"reset_mask": [1, 0]}}, ConfigError, "must be one boolean for each of the 2"),
        ({"options": {"problem": "toy/train/7"}}, UnknownNameError, "no problem 'toy/train/7'"),
        ({"options": {"stat": 3}}, ConfigError, "reset options must be among"),
    ],
)  # fmt: skip
def test_a_wrong_reset_is_refused_and_the_episodes_continue(given, error, message):
    envs = native(2, "NextStep")
    envs.reset(seed=0)
    with pytest.raises(error, match=message):
        envs.reset(**given)
    envs.step([65, 66])


def test_step_states_and_a_masked_reset_need_a_reset_first():
    envs = native(2, "NextStep")
    for act in (
        lambda: envs.step([65, 66]),
        lambda: envs.states,
        lambda: envs.reset(options={"reset_mask": np.array([True, False])}),
    ):
        with pytest.raises(ResetNeeded, match=r"call reset\(\)"):
            act()


def test_without_autoreset_an_episode_that_is_over_is_not_stepped():
    envs = native(2, "Disabled")
    envs.reset(seed=0)
    envs.step([EOS, 65])
    with pytest.raises(
        StateError, match="episodes that are over must be reset before a step, got 1"
    ):
        envs.step([65, 65])
    envs.reset(options={"reset_mask": np.array([True, False])})
    envs.step([65, 65])
    assert [len(state.response) for state in envs.states] == [1, 2]
