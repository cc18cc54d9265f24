"""Minari's own collector around our environments."""

import gc

import gymnasium as gym
import pytest

import reason_env  # noqa: F401 - registers the ids

minari = pytest.importorskip("minari")
pytest.importorskip("jax", reason="Minari collects with jax: make test-peers")

ABOUT = {
    "algorithm_name": "random",
    "author": "us",
    "author_email": "us@example.org",
    "code_permalink": "https://example.org",
    "description": "random tokens",
}


@pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")
def test_minari_collects_our_episodes_and_recovers_our_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    made = gym.make(
        "MathReason-v0", problems="chain", size=20, levels=(1, 1), granularity="token",
        format="tokens", max_tokens=24, max_prompt_tokens=40,
    )  # fmt: skip
    env = minari.DataCollector(made, record_infos=True, data_format="arrow")
    env.action_space.seed(0)
    lengths, questions = [], []
    for seed in range(3):
        obs, info = env.reset(seed=seed)
        questions.append((obs.tolist(), info["problem_id"]))
        over, steps = False, 0
        while not over:
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            over, steps = terminated or truncated, steps + 1
        lengths.append(steps)
    data = env.create_dataset("collected/chain-v0", eval_env=made, **ABOUT)
    env.close()
    del env
    gc.collect()  # of its temporary folders, which it leaves to the collector
    assert data.total_steps == sum(lengths)
    again = data.recover_environment()
    for seed, episode in enumerate(data.iterate_episodes()):
        assert len(episode.actions) == lengths[seed]
        assert episode.observations[0].tolist() == questions[seed][0]
        assert episode.infos["problem_id"][0] == questions[seed][1]
        obs, info = again.reset(seed=seed)
        for index, action in enumerate(episode.actions):
            obs, reward, terminated, truncated, info = again.step(int(action))
            assert obs.tolist() == episode.observations[index + 1].tolist()
            assert reward == episode.rewards[index]
            assert info["outcome"] == episode.infos["outcome"][index + 1]
        assert (terminated, truncated) == (episode.terminations[-1], episode.truncations[-1])
