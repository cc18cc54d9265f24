"""The tokenizer of SmolLM2, byte-level BPE with 49,152 tokens: nothing is ever tokenised twice."""

import json
import random
from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reason_env
from reason_env.codec import HuggingFaceCodec, load_codec, step_ends
from reason_env.env import ReasonEnv
from reason_env.problem import Problem, ProblemSet
from reason_env.snapshot import restore, snapshot
from reason_env.state import (
    Guidance,
    PromptTemplate,
    ReasonState,
    with_reference_prefix,
    with_response_of,
)
from reason_env.vector_env import ReasonVectorEnv
from reason_env.wrappers.hint import Hint
from reason_env.wrappers.prefix_rollin import PrefixRollin
from reason_env.wrappers.reset_to_state import ResetToState

pytestmark = pytest.mark.real

SOLUTION = ("First, 12*3=36.\n", "\nThen 36+6 = 42.", "So the café has √1764 apples.")
PROBLEM = Problem(
    problem_id="t/train/0", question="12*3+6=? <|im_end|>", answer="42", solution=SOLUTION
)
PROBLEMS = ProblemSet("t", (PROBLEM,))
PIECES = [
    "First, 12*3=36.\n",
    "\n\n",
    "\n",
    " ",
    "Then 36+6",
    " = 42.",
    "√",
    "café",
    "é",
    "\U0001f600",
    "#### 42",
    "#### 4",
    "\\boxed{42}",
    "<|im_end|>",
    "<|endoftext|>",
    "\t",
    "12",
    "3",
]
LIMITS = {"max_tokens": 60, "max_steps": 5, "max_prompt_tokens": 200}


@pytest.fixture(scope="module")
def codecs(smollm2_dir):
    return {
        name: load_codec(str(smollm2_dir), step_delimiter=name) for name in ("line", "paragraph")
    }


@st.composite
def responses(draw) -> list:
    """Texts to encode one by one, and ids: of the vocabulary, of special tokens, of bytes."""
    return draw(
        st.lists(
            st.one_of(
                st.sampled_from(PIECES),
                st.text(max_size=4).filter(
                    lambda text: not any("\ud800" <= c <= "\udfff" for c in text)
                ),
                st.integers(0, 49151),
                st.sampled_from([0, 1, 3, 198, 216, 260, 30, 31, 164, 165]),
            ),
            max_size=12,
        )
    )


def ids_of(codec: HuggingFaceCodec, parts, *, ends: bool = False) -> tuple[int, ...]:
    ids = [i for part in parts for i in (codec.encode(part) if isinstance(part, str) else (part,))]
    return tuple(i for i in ids if ends or i not in codec.end_ids)


DELIMITERS = st.sampled_from(["line", "paragraph"])
MANY = settings(deadline=None, max_examples=120)
SOME = settings(deadline=None, max_examples=40)


def test_it_is_the_tokenizer_with_one_end_token_and_no_begin_token(codecs):
    codec = codecs["line"]
    assert (codec.vocab_size, codec.eos_id, codec.end_ids) == (49152, 2, (2,))
    assert codec.beginning_ids == ()
    assert codec.token_bytes is not None
    assert codec.decode((0, 2, 1)) == "<|endoftext|><|im_start|>"


@MANY
@given(parts=responses())
def test_decoding_is_the_tokenizers_own_with_the_end_left_out(codecs, parts):
    codec = codecs["line"]
    ids = ids_of(codec, parts, ends=True)
    kept = [token for token in ids if token != 2]
    own = codec.tokenizer.decode(
        kept, skip_special_tokens=False, clean_up_tokenization_spaces=False
    )
    assert codec.decode(ids) == own


@MANY
@given(texts=st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=8)), max_size=8))
def test_every_text_survives_in_any_pieces_and_no_text_writes_a_special_token(codecs, texts):
    codec = codecs["line"]
    # It has no token for some bytes, of control characters and planes 4 to 11, and drops them.
    known = {byte for data in codec.token_bytes for byte in data if len(data) == 1}
    assert known >= {*range(32, 127), *"\t\n√é\U0001f600".encode()}
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    texts = [text for text in texts if known.issuperset(text.encode())]
    ids = [token for text in texts for token in codec.encode(text)]
    assert codec.decode(ids) == "".join(texts)
    assert min(ids, default=99) > 16


@MANY
@given(parts=responses(), delimiter=DELIMITERS, cuts=st.lists(st.integers(0, 60), max_size=4))
def test_steps_end_where_the_definition_says_however_the_ids_are_divided(
    codecs, parts, delimiter, cuts
):
    codec = codecs[delimiter]
    ids = ids_of(codec, parts)
    expected, begin = [], 0
    for end in range(1, len(ids) + 1):
        if codec.step_delimiter in codec.decode(ids[begin:end]).lstrip(" \t\n\r\v\f"):
            expected.append(end)
            begin = end
    assert step_ends(codec, ids) == tuple(expected)
    state = ReasonState(problem=PROBLEM, codec=codec)
    for first, last in zip([0, *sorted(cuts)], [*sorted(cuts), len(ids)], strict=True):
        state = state.extend(ids[first:last])
    assert state.step_ends == tuple(expected)
    assert state.response == ids


def played(codec, ids, granularity, **changes):
    """The end of an episode, and every observation's ids."""
    env = ReasonEnv(
        PROBLEMS, granularity=granularity, format="tokens", codec=codec, **(LIMITS | changes)
    )
    env.reset(seed=0)
    prompt = env.prompt.token_ids(env.state)
    if granularity == "token":
        actions = [*ids, codec.eos_id]
    elif granularity == "step":
        bounds = [0, *step_ends(codec, ids), len(ids)]
        actions = [ids[a:b] for a, b in pairwise(bounds) if b > a]
        actions.append(())
    else:
        actions = [ids]
    for action in actions:
        obs, reward, terminated, truncated, info = env.step(action)
        whole = (*prompt, *env.state.response)
        assert tuple(obs[: len(whole)].tolist()) == whole
        assert set(obs[len(whole) :].tolist()) <= {codec.pad_id}
        if terminated or truncated:
            return env, (reward, terminated, truncated, info)
    raise AssertionError("the episode must end")


@MANY
@given(parts=responses(), delimiter=DELIMITERS, has_answer=st.booleans(), stop=st.booleans())
def test_the_same_tokens_are_one_episode_at_every_granularity(
    codecs, parts, delimiter, has_answer, stop
):
    codec = codecs[delimiter]
    ids = ids_of(codec, [*parts, *(["\n#### 42\n\n"] if has_answer else [])])
    ends = [
        played(codec, ids, granularity, stop_at_answer=stop)
        for granularity in ("token", "step", "response")
    ]
    states = [env.state for env, _ in ends]
    assert [end for _, end in ends] == [ends[0][1]] * 3
    # At token level the end token is an action; otherwise the environment appends it.
    tokens = [state.response for state in states]
    assert tokens == [tokens[0]] * 3
    assert [state.steps for state in states] == [states[0].steps] * 3
    size = len(tokens[0])
    assert tokens[0] in (ids[:size], (*ids[: size - 1], codec.eos_id))


@SOME
@given(parts=responses(), delimiter=DELIMITERS, more=responses())
def test_snapshots_and_json_keep_every_token(codecs, parts, delimiter, more):
    codec = codecs[delimiter]

    def make():
        return ReasonEnv(PROBLEMS, granularity="step", format="tokens", codec=codec, **LIMITS)

    first, second = make(), make()
    first.reset(seed=3)
    ids = ids_of(codec, parts)[:50]
    if ids:
        *_, terminated, truncated, _ = first.step(ids)
        if terminated or truncated:
            first.reset(seed=4)
    restore(second, json.loads(json.dumps(snapshot(first))))
    assert second.state == first.state
    assert second.state.step_ends == first.state.step_ends
    again = ReasonState.from_json(first.state.to_json(), codec)
    assert (again, again.steps, again.state_id) == (
        first.state,
        first.state.steps,
        first.state.state_id,
    )
    follow = ids_of(codec, more) or codec.encode("x")
    (obs, *rest), (other, *others) = first.step(follow), second.step(follow)
    assert np.array_equal(obs, other)
    assert rest == others
    assert snapshot(first) == snapshot(second)


@SOME
@given(parts=responses(), delimiter=DELIMITERS, data=st.data())
def test_a_reset_at_a_step_boundary_keeps_the_tokens_before_it(codecs, parts, delimiter, data):
    codec = codecs[delimiter]
    ids = ids_of(codec, parts)[:55]
    chain = ReasonState(problem=PROBLEM, codec=codec).extend(ids)
    cut = data.draw(st.integers(0, chain.num_steps))
    start = with_response_of(ReasonState(problem=PROBLEM, codec=codec), chain, cut)
    bounds = (0, *chain.step_ends, len(ids))
    assert start.response == ids[: bounds[cut]]
    assert start.steps == chain.steps[:cut]
    env = ReasonEnv(PROBLEMS, format="tokens", codec=codec, granularity="response", **LIMITS)
    env = ResetToState(env, [chain], cut=cut) if cut < chain.num_steps else env
    if cut < chain.num_steps and cut < LIMITS["max_steps"]:
        env.reset(seed=0)
        assert env.unwrapped.state.response == start.response
        env.step(codec.encode("#### 42"))
        assert env.unwrapped.state.response[: len(start.response)] == start.response


@SOME
@given(delimiter=DELIMITERS, steps=st.integers(0, 3), more=responses())
def test_prefixes_of_the_reference_are_exact_and_reveal_nothing_of_the_next_step(
    codecs, delimiter, steps, more
):
    codec = codecs[delimiter]
    state = ReasonState(problem=PROBLEM, codec=codec)
    begun = with_reference_prefix(state, steps)
    mark = codec.step_delimiter
    text = "".join(step.removesuffix(mark) + mark for step in SOLUTION[:steps])
    assert begun.text == text
    for fewer in range(steps):
        part = with_reference_prefix(state, fewer)
        assert begun.response[: len(part.response)] == part.response
        assert with_reference_prefix(part, steps) == begun
    env = PrefixRollin(
        ReasonEnv(PROBLEMS, codec=codec, format="tokens", granularity="response", **LIMITS),
        steps=steps,
    )
    env.reset(seed=0)
    assert env.unwrapped.state.response == begun.response
    env.step(ids_of(codec, more))
    assert env.unwrapped.state.response[: len(begun.response)] == begun.response


@SOME
@given(
    texts=st.lists(st.sampled_from(PIECES), min_size=1, max_size=5),
    kind=st.sampled_from(["answer", "mistakes", "instruction", "text"]),
    template=st.sampled_from(["plain", "chat"]),
    parts=responses(),
)
def test_a_hint_changes_the_prompt_and_no_token_of_the_response(
    codecs, texts, kind, template, parts
):
    codec = codecs["line"]
    prompt = PromptTemplate(kind=template)
    ids = ids_of(codec, parts)
    bare = ReasonState(problem=PROBLEM, codec=codec).extend(ids)
    hinted = bare.with_guidance(Guidance(kind, ("".join(texts),)))
    assert hinted.response == ids
    assert hinted.without_guidance() == bare
    shown = codec.tokenizer.decode(prompt.token_ids(hinted), clean_up_tokenization_spaces=False)
    assert prompt.text(hinted) in shown
    opened = [token for token in prompt.token_ids(hinted) if token in (1, 2)]
    # The system's turn, the user's, and the assistant's, which is open.
    assert opened == ([] if template == "plain" else [1, 2, 1, 2, 1])


def test_a_hint_wrapper_shows_the_answer_and_the_response_begins_empty(codecs):
    env = Hint(ReasonEnv(PROBLEMS, codec=codecs["line"], format="tokens", **LIMITS), kind="answer")
    _, info = env.reset(seed=0)
    assert info["privileged_context"] == "Answer: 42\n"
    assert env.unwrapped.state.response == ()


@settings(deadline=None, max_examples=15)
@given(scripts=st.lists(responses(), min_size=2, max_size=2), delimiter=DELIMITERS)
def test_the_vector_environment_equals_single_ones(codecs, scripts, delimiter):
    codec = codecs[delimiter]
    kwargs = {"granularity": "token", "format": "tokens", "codec": codec, **LIMITS}
    ours = ReasonVectorEnv(2, problems=PROBLEMS, autoreset_mode="NextStep", codec=codec, **LIMITS)
    theirs = gym.vector.SyncVectorEnv(
        [lambda: ReasonEnv(PROBLEMS, **kwargs)] * 2,
        autoreset_mode=gym.vector.AutoresetMode.NEXT_STEP,
    )
    obs, _ = ours.reset(seed=0)
    assert np.array_equal(obs, theirs.reset(seed=0)[0])
    queues = [
        [*ids_of(codec, script, ends=True), *codec.encode("\n#### 42\n\n")] for script in scripts
    ]
    rng = random.Random(0)
    for _ in range(max(map(len, queues))):
        actions = np.array([queue.pop(0) if queue else rng.randrange(49152) for queue in queues])
        said, expected = ours.step(actions), theirs.step(actions)
        for mine, other in zip(said[:4], expected[:4], strict=True):
            assert np.array_equal(mine, other)
        for name in ("num_steps", "num_tokens", "outcome", "success"):
            assert said[4][name].tolist() == expected[4][name].tolist()


def test_a_stack_is_saved_and_rebuilt_with_its_tokens(codecs, smollm2_dir):
    env = reason_env.wrappers.PrefixRollin(
        gym.make(
            "MathReason-v0", problems="chain", size=4, codec=str(smollm2_dir), format="tokens"
        ),
        fraction=1.0,
    )
    env.reset(seed=5)
    again = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    restore(again, snapshot(env))
    assert again.unwrapped.state == env.unwrapped.state
    assert again.unwrapped.state.response == env.unwrapped.state.response != ()
