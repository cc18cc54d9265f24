import json

import gymnasium as gym
import pytest

from reason_env import Problem, ProblemSet
from reason_env.env import ReasonEnv
from reason_env.errors import ConfigError, StateError
from reason_env.wrappers import Hint, PrefixRollin, RecordEpisodes, ResetToState
from reason_env.wrappers.record_episodes import read_episodes, replay

TOY = ProblemSet(
    "toy",
    (
        Problem(problem_id="toy/train/0", question="?", answer="7", solution=("a", "b")),
        Problem(problem_id="toy/train/1", question="!", answer="8", solution=("c",)),
    ),
)


@pytest.mark.parametrize(
    ("granularity", "form"), [("step", "text"), ("token", "tokens"), ("response", "tokens")]
)
def test_a_recorded_episode_replays(granularity, form, tmp_path):
    path = tmp_path / "runs" / "episodes.jsonl"

    def stack():
        return Hint(PrefixRollin(ReasonEnv(TOY, granularity=granularity, format=form)), trigger=0.5)

    env = RecordEpisodes(stack(), path)
    env.action_space.seed(3)
    env.reset(seed=3)
    for _ in range(40):
        action = env.action_space.sample()
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()
    codec = env.unwrapped.codec
    for answer in ("7", "8"):
        env.reset()
        text = f"√ step\n#### {answer}\n"
        ids = codec.encode(text)
        actions = {"step": ["√ step\n", f"#### {answer}\n"], "token": ids, "response": [ids]}
        for action in actions[granularity]:
            env.step(action)
    rows = read_episodes(path)
    assert len(rows) >= 2
    assert {sum(row["rewards"]) for row in rows} >= {0.0}
    for row in rows:
        replay(stack(), row)


def test_an_altered_record_does_not_replay(tmp_path):
    path = tmp_path / "episodes.jsonl"
    env = RecordEpisodes(ReasonEnv(TOY), path)
    env.reset(seed=0, options={"problem": "toy/train/0"})
    env.step("#### 7\n")
    (row,) = read_episodes(path)
    assert row["rewards"] == [1.0]
    assert row["actions"] == ["#### 7\n"]
    replay(ReasonEnv(TOY), row)
    with pytest.raises(StateError, match=r"must have the recorded rewards \[0\.5\], got \[1\.0\]"):
        replay(ReasonEnv(TOY), row | {"rewards": [0.5]})
    with pytest.raises(StateError, match="must have the recorded rewards"):
        replay(ReasonEnv(TOY), row | {"actions": ["#### 8\n"]})
    with pytest.raises(StateError, match="must have the recorded truncated True, got False"):
        replay(ReasonEnv(TOY), row | {"truncated": True})
    with pytest.raises(StateError, match="must have the recorded final_state"):
        replay(ReasonEnv(TOY), row | {"final_state": row["start"]})


def test_every_third_finished_episode_is_written_the_first_included(tmp_path):
    path = tmp_path / "episodes.jsonl"
    env = RecordEpisodes(ReasonEnv(TOY), path, every=3)
    for number in range(7):
        env.reset(options={"problem": "toy/train/0"})
        env.step("left\n")
        env.reset(options={"problem": "toy/train/0"})
        env.step(f"#### {number}\n")
    answers = [row["final_state"]["verdict"][1] for row in read_episodes(path)]
    assert answers == ["0", "3", "6"]


def test_a_file_that_exists_is_appended_to(tmp_path):
    path = tmp_path / "episodes.jsonl"
    for _ in range(2):
        env = RecordEpisodes(ReasonEnv(TOY), path)
        env.reset(seed=0)
        env.step("#### 7\n")
    assert len(read_episodes(path)) == 2


def test_recorded_episodes_are_starts(tmp_path):
    path = tmp_path / "episodes.jsonl"
    env = RecordEpisodes(ReasonEnv(TOY), path)
    env.reset(options={"problem": "toy/train/0"})
    env.step("own\n#### 9\n")
    env = ResetToState(ReasonEnv(TOY), path, cut=1)
    assert env.reset(options={"problem": "toy/train/0"})[0] == "?\n>own\n"


def test_vector_environments_share_a_file(tmp_path):
    path = tmp_path / "episodes.jsonl"

    def make():
        return RecordEpisodes(ReasonEnv(TOY, granularity="response"), path)

    envs = gym.vector.AsyncVectorEnv([make] * 2)
    try:
        envs.reset(seed=0)
        for _ in range(10):
            envs.step(("#### 7\n", "#### 8\n"))
    finally:
        envs.close()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    # Next-step autoreset: every second step only resets.
    assert len(rows) == 10


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"every": 0}, "every must be at least 1, got 0"),
        ({"path": "/dev/null/x.jsonl"}, "path must be a file that can be written, got '/dev/null"),
    ],
)
def test_a_wrong_setting_is_refused_at_construction(settings, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        RecordEpisodes(ReasonEnv(TOY), **({"path": tmp_path / "a.jsonl"} | settings))
