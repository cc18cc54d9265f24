import json
import sys

import gymnasium as gym
import pytest

from reason_env.env import ReasonEnv
from reason_env.errors import ConfigError, StateError
from reason_env.problem import Problem, ProblemSet
from reason_env.wrappers import RecordEpisodes, read_episodes, replay, to_minari
from reason_env.wrappers.hint import Hint
from reason_env.wrappers.prefix_rollin import PrefixRollin
from reason_env.wrappers.reset_to_state import ResetToState

ABOUT = {
    "algorithm_name": "by hand",
    "author": "us",
    "author_email": "us@example.org",
    "code_permalink": "https://example.org",
    "description": "two episodes",
}


def tokens_env():
    return gym.make(
        "MathReason-v0", problems="chain", split="test", size=4, levels=(1, 1), granularity="token",
        format="tokens", max_tokens=24, max_prompt_tokens=40,
    )  # fmt: skip


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


def test_every_third_finished_episode_is_written_beginning_with_the_first(tmp_path):
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


def test_minari_reads_what_was_recorded(tmp_path, monkeypatch):
    minari = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    path = tmp_path / "episodes.jsonl"
    env = RecordEpisodes(tokens_env(), path)
    for problem, answer in (("chain/test/0", "#### 5\n"), ("chain/test/1", "#### 77")):
        env.reset(options={"problem": problem})
        for token in env.unwrapped.codec.encode(answer):
            env.step(token)
    env.step(257)
    rows = read_episodes(path)
    made = to_minari(path, tokens_env(), "ours/chain-v0", about=ABOUT)
    read = minari.load_dataset("ours/chain-v0")
    assert (made.total_episodes, read.total_episodes, read.total_steps) == (2, 2, 15)
    for row, episode in zip(rows, read.iterate_episodes(), strict=True):
        assert episode.actions.tolist() == row["actions"]
        assert episode.rewards.tolist() == row["rewards"]
        assert episode.terminations.tolist() == [False] * (len(row["actions"]) - 1) + [True]
        assert not episode.truncations.any()
        env = read.recover_environment()
        obs, _ = env.reset(options={"state": row["start"]})
        assert (episode.observations[0] == obs).all()
        for index, action in enumerate(episode.actions):
            obs = env.step(int(action))[0]
            assert (episode.observations[index + 1] == obs).all()


def test_episodes_that_minari_cannot_hold_are_refused(tmp_path, monkeypatch):
    pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    path = tmp_path / "episodes.jsonl"
    env = RecordEpisodes(tokens_env(), path)
    with pytest.raises(StateError, match="must hold at least one episode, got none"):
        to_minari(path, tokens_env(), "ours/chain-v0", about=ABOUT)
    env.reset(options={"problem": "chain/test/0"})
    env.step(257)
    with pytest.raises(ConfigError, match="actions must be single ids for Minari, got UnicodeText"):
        to_minari(path, ReasonEnv(TOY), "ours/chain-v0", about=ABOUT)
    path.write_text(path.read_text().replace('"rewards":[0.0]', '"rewards":[0.5]'))
    with pytest.raises(StateError, match=r"must have the recorded rewards \[0\.5\], got \[0\.0\]"):
        to_minari(path, tokens_env(), "ours/chain-v0", about=ABOUT)


def test_without_minari_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(ConfigError, match=r"pip install 'reason-env\[minari\]'"):
        to_minari(tmp_path / "a.jsonl", ReasonEnv(TOY), "ours/chain-v0")


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
