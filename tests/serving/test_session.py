import json
from pathlib import Path

import gymnasium as gym
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reason_env
from reason_env import ByteCodec, Problem, ProblemSet
from reason_env.env import EnvConfig
from reason_env.errors import ReasonEnvError
from reason_env.problems import load_problems
from reason_env.serving import Session, Sessions
from reason_env.wrappers import Hint, PrefixRollin, RecordEpisodes, ResetToState

CHAIN = EnvConfig(problems="chain", split="test", size=20)
FORMS = [("step", "text"), ("step", "tokens"), ("token", "tokens"), ("response", "text")]


def sessions(config=CHAIN, granularity="step", form="text"):
    return Sessions(config, ByteCodec(), granularity=granularity, format=form)


def stacked():
    """A stack whose wrappers draw at random and remember."""
    env = gym.make("MathReason-v0", problems="chain", split="test", size=20)
    stack = ResetToState(Hint(PrefixRollin(env, fraction=(0.0, 0.5)), "mistakes"), keep="failures")
    return EnvConfig(stack=stack.spec.to_json())


def actions_of(session, text):
    """The same response as actions of a form."""
    layout = session.inner.layout
    ids = [*session.inner.codec.encode(text)]
    if layout.format == "text":
        return text.splitlines(keepends=True) if layout.granularity == "step" else [text]
    if layout.granularity == "token":
        return [[one] for one in ids]
    return [[*line.encode()] for line in text.splitlines(keepends=True)]


@pytest.mark.parametrize(("granularity", "form"), FORMS)
def test_a_session_gives_what_the_environment_gives(granularity, form):
    session = sessions(CHAIN, granularity, form)()
    env = CHAIN.make(ByteCodec(), granularity=granularity, format=form)
    message = session.reset({"seed": 11})
    obs, info = env.reset(seed=11)
    problem = env.unwrapped.state.problem
    text = "".join(problem.solution) + f"#### {problem.answer}\n"
    for action in actions_of(session, text):
        assert message["info"] == info
        shown = message["text"] if form == "text" else message["token_ids"]
        if form == "text":
            assert shown == obs
        else:
            state = env.unwrapped.state
            assert shown == [*env.unwrapped.prompt.token_ids(state), *state.response]
            assert shown == obs[: len(shown)].tolist()
        own = action[0] if granularity == "token" else action
        obs, reward, terminated, truncated, info = env.step(own)
        message = session.step(action)
        flags = (message["reward"], message["terminated"], message["truncated"])
        assert flags == (reward, terminated, truncated)
        json.dumps(message, allow_nan=False)
    assert message["terminated"]
    assert message["info"]["success"]
    assert session.state()["step_count"] == len(actions_of(session, text)) > 0
    session.reset({})
    assert session.state()["step_count"] == 0


def test_a_session_that_begins_with_a_snapshot_continues_exactly():
    make = sessions(stacked())
    first, second = make(), make()
    first.reset({"seed": 5})
    for _ in range(4):
        first.step("wrong\n#### 1\n")
        first.reset({})
    first.step("x\n")
    saved = first.state()
    seen = second.reset({"snapshot": saved["snapshot"], "episode_id": "fork"})
    assert seen["text"] == first.inner.observation()
    assert seen["info"]["num_steps"] == first.inner.state.num_steps
    assert second.state()["episode_id"] == "fork"
    for action in ("y\n", "#### 7\n"):
        assert first.step(action) == second.step(action)
    assert first.state()["snapshot"] == second.state()["snapshot"]
    texts = []
    for message in ({}, {}, {"seed": 3}, {}):
        texts.append(first.reset(message)["text"])
        assert texts[-1] == second.reset(message)["text"]
    assert len(set(texts)) > 1


def test_a_snapshot_of_a_finished_episode_is_finished():
    make = sessions()
    first, second = make(), make()
    first.reset({"problem": "chain/test/3"})
    first.step("#### 1\n")
    seen = second.reset({"snapshot": first.state()["snapshot"]})
    assert (seen["terminated"], seen["truncated"], seen["reward"]) == (True, False, None)
    with pytest.raises(ReasonEnvError, match="is over must not be stepped"):
        second.step("more\n")


def test_a_state_moves_to_another_session_and_keeps_who_wrote_what():
    make = sessions()
    first, second = make(), make()
    first.reset({"problem": "chain/test/4", "prefix": "a\n", "hint": "answer"})
    first.step("b\n")
    sent = json.loads(json.dumps(first.state()["reason_state"]))
    assert sent["sources"] == [["reset", 2], ["policy", 2]]
    for state in (sent, json.dumps(first.inner.state.to_dict()), first.inner.state.to_dict()):
        second.reset({"state": state})
        assert second.inner.state == first.inner.state
    second.reset({"state": sent, "prefix": "c\n", "hint": {"kind": "text", "pieces": ["think"]}})
    state = second.inner.state
    assert state.text == "a\nb\nc\n"
    assert state.sources == ("reset",) * 2 + ("policy",) * 2 + ("reset",) * 2
    assert [piece.kind for piece in state.guidance] == ["answer", "text"]


def test_neither_a_state_nor_a_snapshot_holds_the_reference():
    problem = Problem(
        problem_id="own/test/0", question="?", answer="73912", solution=("so 73000", "then 912")
    )
    env = gym.make("MathReason-v0", problems=ProblemSet("own", (problem,)))
    session = Session(env)
    session.reset({"problem": "own/test/0", "prefix": "let me see\n"})
    sent = session.state()
    for text in (sent["snapshot"], json.dumps(sent["reason_state"])):
        assert "own/test/0" in text
        assert "73912" not in text
        assert "73000" not in text
    assert session.reset({"state": sent["reason_state"]})["text"].endswith("let me see\n")
    assert session.inner.state.problem == problem


def test_a_prefix_a_part_of_the_reference_and_a_hint_move_the_start():
    session = sessions()()
    problem = load_problems("chain", split="test", size=20).by_id("chain/test/6")
    seen = session.reset({"problem": "chain/test/6", "reference_steps": 2})
    assert session.inner.state.steps == tuple(f"{step}\n" for step in problem.solution[:2])
    assert set(session.inner.state.sources) == {"reference"}
    assert seen["info"]["num_steps"] == 2
    hint = {"problem": "chain/test/6", "reference_steps": 1, "hint": "next_step"}
    assert session.reset(hint)["info"]["privileged_context"].strip() == problem.solution[1]
    seen = session.reset({"problem": "chain/test/6", "hint": "answer"})
    assert problem.answer in seen["info"]["privileged_context"]
    half = {"kind": "partial_solution", "strength": 0.5}
    session.reset({"problem": "chain/test/6", "hint": half})
    (piece,) = session.inner.state.guidance
    assert len(piece.pieces) == -(-len(problem.solution) // 2)
    session.reset({"seed": 2, "hint": {"kind": "mistakes", "pieces": ["1", "2"]}})
    assert session.inner.state.guidance[0].pieces == ("1", "2")


def test_a_problem_is_named_by_its_id_or_by_its_place():
    session = sessions()()
    first = session.reset({"problem": "chain/test/7"})
    assert session.reset({"split": "test", "index": 7}) == first
    assert session.reset({"index": 7}) == first


def test_sessions_share_the_problems_and_nothing_else():
    make = sessions(stacked())
    first, second = make(), make()
    assert first.inner.problems is second.inner.problems is make.problems
    for session in (first, second):
        session.reset({"seed": 1})
    before = second.state()
    first.step("#### 1\n")
    first.reset({"seed": 2})
    assert second.state() == before
    ids = {make().reset({})["info"]["problem_id"] for _ in range(12)}
    assert len(ids) > 1


BAD = [
    ({"problm": "x"}, "no argument 'problm'; did you mean 'problem'"),
    ({"seed": -1}, "seed must be a whole number in 0"),
    ({"seed": True}, "seed must be"),
    ({"seed": 2**63}, "seed must be"),
    ({"episode_id": 5}, "episode_id must be a text of at most 255"),
    ({"episode_id": "x" * 256}, "episode_id must be a text of at most 255"),
    ({"problem": ["chain/test/0"]}, "problem must be an id"),
    ({"problem": "chain/test/99"}, "no problem 'chain/test/99' among 20"),
    ({"split": "train", "index": 0}, "no split 'train' here; choose 'test'"),
    ({"split": "test"}, "split must come with an index"),
    ({"index": 0, "problem": "chain/test/0"}, "split must come with an index, and without"),
    ({"index": 20}, r"no problem at index 20; choose one in 0\.\.19"),
    ({"index": -1}, "no problem at index -1"),
    ({"index": True}, "no problem at index True"),
    ({"state": 3}, "state must be an object or its JSON text"),
    ({"state": "{}"}, "a state must be a dict"),
    ({"state": {"problem": "chain/test/99"}}, "no problem 'chain/test/99'"),
    ({"snapshot": "{}"}, "snapshot must be the text that snapshot"),
    ({"snapshot": {}}, "snapshot must be the text that snapshot"),
    ({"snapshot": "{}", "seed": 1}, "a snapshot must come alone, got seed too"),
    ({"prefix": [1]}, "prefix must be a text"),
    ({"prefix": "x" * 257}, "state must be open"),
    ({"problem": "chain/test/0", "reference_steps": 99}, "reference_steps must be a whole number"),
    ({"problem": "chain/test/0", "reference_steps": True}, "reference_steps must be"),
    ({"hint": "anser"}, "a hint must be one of answer, partial_solution, next_step"),
    ({"hint": {"kind": "answer", "strengh": 1}}, "a hint must be a kind, or an object of"),
    ({"hint": {"kind": "answer", "strength": 2}}, "strength must lie in"),
    ({"hint": {"kind": "text", "pieces": "x"}}, "guidance pieces must be a list"),
    ({"hint": {"kind": "nothing", "pieces": ["x"]}}, "guidance kind must be one of"),
    ({"hint": {"kind": "next_step", "pieces": ["x"]}}, "a hint must be one of"),
    ({"hint": {"kind": "answer", "pieces": ["x"], "strength": 0.5}}, "a hint must be one of"),
    ({"hint": ["answer"]}, "a hint must be a kind"),
    ({"hint": {"kind": "text", "pieces": ["x" * 2000]}}, "must have at most 1024 tokens"),
]


@pytest.mark.parametrize(("message", "words"), BAD, ids=lambda value: json.dumps(value)[:40])
def test_a_wrong_reset_is_refused_in_one_line_and_the_episode_goes_on(message, words):
    session = sessions()()
    session.reset({"seed": 4})
    session.step("x\n")
    before = session.state()
    with pytest.raises(ReasonEnvError, match=words) as found:
        session.reset(message)
    assert "\n" not in str(found.value)
    after = session.state()
    assert after["reason_state"] == before["reason_state"]
    assert after["step_count"] == 1
    assert session.step("y\n")["text"].endswith("x\ny\n")


def test_a_refused_state_does_not_show_the_reference_of_its_problem():
    session = sessions()()
    session.reset({"problem": "chain/test/1"})
    problem, state = session.inner.state.problem, session.state()["reason_state"]
    with pytest.raises(ReasonEnvError, match="a state must be a dict") as found:
        session.reset({"state": state | {"response": None}})
    assert "chain/test/1" in str(found.value)
    assert problem.solution[0] not in str(found.value)
    assert problem.question.split()[0] not in str(found.value)


def test_a_problem_and_a_state_contradict_each_other():
    session = sessions()()
    session.reset({"problem": "chain/test/1"})
    state = session.state()["reason_state"]
    with pytest.raises(ReasonEnvError, match="a problem or a state, got both"):
        session.reset({"problem": "chain/test/1", "state": state})


def test_a_snapshot_from_before_the_first_reset_is_no_episode():
    make = sessions()
    session = make()
    session.reset({"seed": 1})
    with pytest.raises(ReasonEnvError, match="from before the first reset"):
        session.reset({"snapshot": reason_env.snapshot(make().env)})
    with pytest.raises(ReasonEnvError, match="must begin by reset"):
        session.step("x\n")


def test_a_session_begins_by_reset():
    session = sessions()()
    assert session.state() == {
        "episode_id": None, "step_count": 0, "reason_state": None, "snapshot": None,
    }  # fmt: skip
    with pytest.raises(ReasonEnvError, match="an episode must begin by reset, got step"):
        session.step("x\n")


@pytest.mark.parametrize(
    ("form", "action", "words"),
    [
        (("step", "text"), [1], "an action must be a text"),
        (("step", "tokens"), "x", "an action must be a list of token ids"),
        (("step", "tokens"), [1, True], "an action must be a list of token ids"),
        (("step", "tokens"), [-1], "ids must lie in"),
        (("step", "tokens"), [258], "ids must lie in"),
        (("token", "tokens"), [65, 66], "an action must be a single id, got 2"),
    ],
)
def test_a_wrong_action_is_refused_and_the_episode_goes_on(form, action, words):
    session = sessions(CHAIN, *form)()
    session.reset({"seed": 4})
    before = session.state()
    with pytest.raises(ReasonEnvError, match=words):
        session.step(action)
    assert session.state() == before


def test_a_prefix_of_ids_is_taken_where_the_format_is_tokens():
    session = sessions(CHAIN, "step", "tokens")()
    session.reset({"seed": 4, "prefix": [65, 10]})
    assert session.inner.state.text == "A\n"
    with pytest.raises(ReasonEnvError, match="prefix must be a list of token ids"):
        session.reset({"seed": 4, "prefix": "A\n"})


@given(action=st.text(max_size=20))
def test_any_text_is_an_action(action):
    session = test_any_text_is_an_action.session
    session.reset({"seed": 0})
    message = session.step(action)
    json.dumps(message, allow_nan=False)
    assert message["reward"] in (0.0, 1.0)


test_any_text_is_an_action.session = sessions()()


def test_a_task_names_a_problem_of_the_split():
    make = sessions()
    assert make.task("test", 3) == {"id": "chain/test/3", "index": 3, "level": 7}
    assert [task["index"] for task in make.tasks("test", 18, None)] == [18, 19]
    with pytest.raises(ReasonEnvError, match="no split 'train' here"):
        make.task("train", 0)
    with pytest.raises(ReasonEnvError, match="no problem at index 20"):
        make.task("test", 20)


def test_a_wrapper_that_writes_files_is_not_served(tmp_path):
    env = gym.make("MathReason-v0", problems="chain", split="test", size=20)
    stack = RecordEpisodes(env, str(Path(tmp_path) / "episodes.jsonl"))
    with pytest.raises(ReasonEnvError, match="no wrapper that writes a file, got RecordEpisodes"):
        sessions(EnvConfig(stack=stack.spec.to_json()))


def test_a_wrapper_that_changes_observations_is_not_served():
    env = gym.make("MathReason-v0", problems="chain", size=3, format="tokens", granularity="token")
    stack = gym.wrappers.DtypeObservation(env, "float32")
    with pytest.raises(ReasonEnvError, match="must have observations of MathReason-v0"):
        sessions(EnvConfig(stack=stack.spec.to_json()), "token", "tokens")


def test_a_wrapper_that_cannot_be_saved_is_not_served():
    env = gym.make("MathReason-v0", problems="chain", split="test", size=20)
    stack = gym.wrappers.NormalizeReward(env)
    with pytest.raises(ReasonEnvError, match="must support snapshots, got NormalizeReward"):
        sessions(EnvConfig(stack=stack.spec.to_json()))


def test_a_spec_of_foreign_code_is_not_served():
    spec = json.loads(stacked().stack)
    spec["additional_wrappers"][0]["entry_point"] = "os:system"
    with pytest.raises(ReasonEnvError, match="a spec's wrappers must be ours or Gymnasium's"):
        sessions(EnvConfig(stack=json.dumps(spec)))
