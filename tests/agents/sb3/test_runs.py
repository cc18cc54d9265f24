"""Runs of Stable-Baselines3's algorithms: files, exact resume, starts, and what is counted."""

from dataclasses import replace
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
import torch

from reason_env.agents.cpi import CPIConfig
from reason_env.agents.engines import EngineConfig, MismatchConfig, SamplingConfig
from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.learning import (
    AdvantageConfig,
    LearnerConfig,
    LossConfig,
    group_advantages,
)
from reason_env.agents.methods import (
    SB3A2CConfig,
    SB3GRPOConfig,
    SB3PPOConfig,
    method_config,
    sb3_names,
)
from reason_env.agents.metrics import metric
from reason_env.agents.policy import LanguageModelPolicy, LoraConfig
from reason_env.agents.runs import (
    CheckpointConfig,
    RunDir,
    latest_checkpoint,
    load_checkpoint,
    model_directory,
)
from reason_env.agents.train import (
    TrainConfig,
    build_session,
    iterate_agent,
    prepare,
    read_record,
    session_of,
    train,
)
from reason_env.env import EnvConfig, RewardConfig
from reason_env.errors import ConfigError, TrainingError, UnknownNameError
from reason_env.wrappers import (
    PrefixRollin,
    RecordEpisodes,
    ResetToState,
    RewardShaping,
    stack_to_json,
)

pytest.importorskip("sb3_contrib", reason="pip install 'reason-env[sb3]'")

from reason_env.agents.sb3.agent import Agent, seeded, update_metrics

NUMBERS = {
    "sb3-ppo": {"num_steps": 12, "num_epochs": 2, "updates_per_epoch": 2, "gae_lambda": 0.9},
    "sb3-maskable-ppo": {"num_steps": 12, "updates_per_epoch": 2, "num_epochs": 1},
    "sb3-a2c": {"num_steps": 12, "entropy_coefficient": 0.01, "discount": 0.9},
    "sb3-grpo": {"group_size": 2, "num_epochs": 2},
}
SHORT = EnvConfig(levels=(1, 1), max_tokens=8, size=6, reward=RewardConfig(truncated=-0.5))
"""Episodes of 8 tokens: in 12 steps one ends with a reward, and the next is open."""


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small(name, **changes):
    """Build the config of a run of a second: the base model on the easiest problems."""
    arguments = {
        "method": replace(method_config(name), **NUMBERS[name]),
        "env": EnvConfig(levels=(1, 1), max_tokens=24, size=6),
        "eval": EvalConfig(num_problems=1, samples=1, k=1, greedy=False),
        "checkpoint": CheckpointConfig(every=1, keep_last=10),
        "learner": LearnerConfig(learning_rate=5e-4, schedule="linear"),
        "iterations": 2,
        "problems_per_iteration": 4,
        "episodes_per_iteration": 3,
    }
    return TrainConfig(**(arguments | changes))


def run_to_end(config, path, **options):
    session = session_of(config)
    with RunDir.create(path, session.config, command=["test"]) as run:
        return session, train(session, run, **options)


class KilledError(Exception):
    pass


def killed_and_resumed(config, path, *, after):
    def on_row(row):
        if row["iteration"] == after:
            raise KilledError

    with pytest.raises(KilledError):
        run_to_end(config, path, on_row=on_row)
    with RunDir.open(path) as run:
        checkpoint = latest_checkpoint(run)
        session = session_of(run.config(TrainConfig), checkpoint=checkpoint)
        run.resume(session.iteration)
        return session, train(session, run)


def prepared(config):
    session = session_of(config)
    prepare(session)
    return session


def same_files(one, other, names):
    return [name for name in names if (one / name).read_bytes() != (other / name).read_bytes()]


@pytest.mark.parametrize("name", sb3_names())
def test_a_killed_run_resumes_to_the_same_bits(tmp_path, name):
    config = small(name, **({} if name == "sb3-grpo" else {"env": SHORT}))
    whole, rows = run_to_end(config, tmp_path / "whole")
    # Killed before the second checkpoint: resumed from the first.
    killed_and_resumed(config, tmp_path / "killed", after=2)
    last = "checkpoints/iteration_000002"
    files = ("metrics.jsonl", "config.json", "episodes/iteration_000002.jsonl")
    state = [f"{last}/{file}" for file in ("state.json", "state.safetensors")]
    weights = f"{last}/model/model.safetensors"
    assert same_files(tmp_path / "whole", tmp_path / "killed", (*files, *state, weights)) == []
    assert [row["iteration"] for row in rows] == [0, 1, 2]
    assert all(metric(key) for row in rows for key in row if key != "iteration")
    assert rows[2]["update/num_updates_total"] == whole.policy.policy_version > 0
    assert rows[0]["eval/pass_at_1"] is not None
    assert rows[2]["eval/pass_at_1"] is not None
    if name != "sb3-grpo":
        # Iteration 2 continues what 1 began, or this would not test it.
        saved = load_checkpoint(tmp_path / "whole/checkpoints/iteration_000001").learner_state
        assert sum(bool(own["token_ids"]) for own in saved["episodes"]) > 0
        assert sum(value.abs().sum() for value in saved["critic"].values()) > 0


def test_the_checkpoint_is_a_model_like_any_other(tmp_path):
    config = small("sb3-ppo", env=SHORT, iterations=1)
    session, _ = run_to_end(config, tmp_path / "run")
    place = model_directory(str(tmp_path / "run"))
    record = read_record(place)
    assert (record.method, record.iteration, record.temperature) == ("sb3-ppo", 1, 1.0)
    loaded = LanguageModelPolicy.load(place)
    base = LanguageModelPolicy.load("base").model.state_dict()
    changed = 0
    for name, value in loaded.model.state_dict().items():
        assert torch.equal(value, session.policy.model.state_dict()[name]), name
        changed += not torch.equal(value, base[name])
    assert changed == len(base)


def test_log_probabilities_rewards_and_steps_are_those_of_the_model_and_the_environment():
    session = prepared(small("sb3-ppo", problems_per_iteration=6))
    found, later = session.agent.collect(1), session.agent.collect(2)
    assert (found.num_steps, later.num_steps, found.advantages) == (6 * 12, 6 * 12, None)
    ended = [*found.trajectories, *later.trajectories]
    assert len(ended) > 4
    # No update came between, so the base model scores both.
    contexts = [item.prompt_ids for item in ended]
    wanted = LanguageModelPolicy.load("base").score(
        contexts, [item.sampled_ids for item in ended], SamplingConfig()
    )
    for item, scores in zip(ended, wanted, strict=True):
        # The actor never samples padding, which the model's own distribution holds.
        assert item.behavior_log_probs == pytest.approx(scores, abs=1e-3)
        assert item.episode_return == float(item.outcome == "correct") == float(item.is_success)
        assert item.final_state.response == item.sampled_ids
    still_open = sum(len(own.token_ids) for own in session.agent.episodes.open)
    assert sum(item.num_sampled_tokens for item in ended) + still_open == 2 * 6 * 12
    assert len({item.trajectory_id for item in ended}) == len(ended)


def test_every_problem_begins_once_an_epoch():
    session = prepared(small("sb3-a2c", env=SHORT))
    found = [session.agent.collect(seed) for seed in (1, 2)]
    begun = [item.start for rollout in found for item in rollout.trajectories]
    begun += [own.start for own in session.agent.episodes.open]
    keys = sorted((start.group for start in begun), key=lambda key: int(key.partition(":")[0]))
    assert len(keys) == session.num_drawn > 6
    ids = session.config.drawn(session.problem_ids, 0, len(keys))
    assert keys == [f"{number}:{name}" for number, name in enumerate(ids)]
    assert set(ids[:6]) == set(session.problem_ids)


def test_grpo_compares_the_episodes_of_a_start_and_counts_idle_steps(tmp_path):
    method = replace(
        method_config("sb3-grpo"), group_size=4, advantage=AdvantageConfig(kind="rloo")
    )
    config = small("sb3-grpo", method=method, problems_per_iteration=3)
    _, rows = run_to_end(config, tmp_path / "run")
    episodes = RunDir.open(tmp_path / "run").read_episodes(1)
    assert [row["index"] for row in episodes] == [0, 1, 2]  # as many as the config writes
    session = prepared(config)
    found = session.agent.collect(config.seed_of("sampling", 1))
    assert len(found.trajectories) == 12
    for first in (0, 4, 8):
        own = found.trajectories[first : first + 4]
        assert len({item.start.group for item in own}) == 1
        returns = [item.episode_return for item in own]
        assert found.advantages[first : first + 4] == pytest.approx(
            group_advantages(returns, method.advantage)
        )
    assert any(found.advantages)
    assert [row["advantage"] for row in episodes] == pytest.approx(found.advantages[:3])
    tokens = [item.num_sampled_tokens for item in found.trajectories]
    assert found.num_steps == 12 * max(tokens) == rows[1]["rollout/sampled_tokens"]
    assert rows[1]["rollout/discarded_tokens"] == 12 * max(tokens) - sum(tokens)
    assert rows[1]["rollout/idle_steps_fraction"] == pytest.approx(
        1 - sum(tokens) / (12 * max(tokens))
    )
    assert rows[1]["update/tokens"] == sum(tokens)
    total = rows[1]["rollout/sampled_tokens"] + rows[2]["rollout/sampled_tokens"]
    assert rows[2]["rollout/sampled_tokens_total"] == total


def test_the_budget_counts_environment_steps(tmp_path):
    config = small("sb3-a2c", max_generated_tokens=60, iterations=9)
    _, rows = run_to_end(config, tmp_path / "run")
    # 4 episodes of 12 steps an iteration: 48 steps are below the budget, 96 are not.
    assert [row.get("rollout/sampled_tokens_total") for row in rows] == [None, 48, 96]


def test_the_rate_follows_the_schedule_and_updates_are_counted(tmp_path):
    _, rows = run_to_end(small("sb3-ppo", env=SHORT, iterations=3), tmp_path / "run")
    # linear, from 5e-4 to a tenth: 1 - 0.9 * share with shares 0, 1/3, 2/3 before an iteration
    wanted = [5e-4, 5e-4 * 0.7, 5e-4 * 0.4]
    assert [row["update/learning_rate"] for row in rows[1:]] == pytest.approx(wanted)
    assert [row["update/num_updates"] for row in rows[1:]] == [4, 4, 4]  # 2 epochs of 2 updates
    assert [row["update/num_updates_total"] for row in rows[1:]] == [4, 8, 12]


@pytest.mark.parametrize("name", ["sb3-ppo", "sb3-a2c", "sb3-grpo"])
def test_the_gradient_norm_is_that_before_clipping(monkeypatch, name):
    method = replace(method_config(name), **NUMBERS[name])
    learner = LearnerConfig(max_grad_norm=0.01)
    env = {} if name == "sb3-grpo" else {"env": SHORT}
    session = prepared(small(name, method=method, learner=learner, **env))
    clip, norms = torch.nn.utils.clip_grad_norm_, []

    def noted(*arguments):
        norms.append(float(clip(*arguments)))

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", noted)
    metrics = iterate_agent(session).metrics
    assert len(norms) == metrics["update/num_updates"] > 0
    assert metrics["update/grad_norm"] == pytest.approx(np.mean(norms), rel=1e-5)
    assert metrics["update/grad_norm"] > 0.02


def test_what_an_algorithm_logs_becomes_metrics():
    class Model:
        vf_coef, ent_coef, n_envs = 0.5, 0.25, 3
        rollout_buffer = SimpleNamespace(pos=7, advantages=np.array([[1.0, -3.0], [0.0, 2.0]]))

    logged = {
        "train/learning_rate": 0.1,
        "train/policy_gradient_loss": -2.0,
        "train/value_loss": 0.8,
        "train/entropy_loss": -1.2,
        "train/explained_variance": np.float32(0.75),
        "train/approx_kl": 0.03,
        "train/clip_fraction": 0.125,
    }
    assert update_metrics(logged, Model) == {
        "update/learning_rate": 0.1,
        "update/tokens": 21,
        "loss/policy": -2.0,
        "loss/value": 0.4,
        "loss/entropy": pytest.approx(-0.3),
        "loss/total": pytest.approx(-2.0 + 0.4 - 0.3),
        "update/entropy": 1.2,
        "update/explained_variance": 0.75,
        "advantage/mean_abs": 1.5,
        "update/kl_old_policy": 0.03,
        "update/clip_fraction": 0.125,
    }
    equal = {"train/explained_variance": np.float32("nan")}
    assert update_metrics(logged | equal, Model)["update/explained_variance"] is None


def test_random_weights_follow_the_seed_and_begin_another_policy():
    method = replace(method_config("sb3-ppo"), weights="random", num_steps=8)
    config = small("sb3-ppo", method=method)
    one, same, other = (
        session_of(replace(config, seed=seed)).policy.model.state_dict() for seed in (1, 1, 2)
    )
    name = "model.layers.0.mlp.up_proj.weight"
    base = LanguageModelPolicy.load("base").model.state_dict()
    assert torch.equal(one[name], same[name])
    assert not torch.equal(one[name], other[name])
    assert not torch.equal(one[name], base[name])


def test_a_resumed_run_from_random_weights_keeps_what_it_learned(tmp_path):
    method = replace(method_config("sb3-a2c"), weights="random", num_steps=10)
    config = small("sb3-a2c", method=method, env=SHORT)
    run_to_end(config, tmp_path / "whole")
    killed_and_resumed(config, tmp_path / "killed", after=2)
    files = ("metrics.jsonl", "checkpoints/iteration_000002/model/model.safetensors")
    assert same_files(tmp_path / "whole", tmp_path / "killed", files) == []
    places = [tmp_path / f"whole/checkpoints/iteration_00000{number}" for number in (1, 2)]
    first, second = (place / "model/model.safetensors" for place in places)
    assert first.read_bytes() != second.read_bytes()


def test_the_optimizer_has_the_learner_s_numbers():
    learner = LearnerConfig(betas=(0.8, 0.95), weight_decay=0.02, max_grad_norm=None)
    for name in ("sb3-a2c", "sb3-maskable-ppo"):
        model = session_of(small(name, learner=learner)).agent.model
        (group,) = model.policy.optimizer.param_groups
        assert type(model.policy.optimizer) is torch.optim.AdamW
        assert (group["betas"], group["weight_decay"]) == ((0.8, 0.95), 0.02)
        assert group["lr"] == 2e-4  # the default for the model's size
        assert model.max_grad_norm == float("inf")


def test_every_number_reaches_the_algorithm():
    method = SB3PPOConfig(
        num_steps=6,
        discount=0.97,
        gae_lambda=0.8,
        entropy_coefficient=0.02,
        value_coefficient=0.4,
        num_epochs=3,
        updates_per_epoch=4,
        clip_range=0.15,
    )
    model = session_of(small("sb3-ppo", method=method)).agent.model
    assert (model.n_steps, model.n_envs, model.gamma, model.gae_lambda) == (6, 4, 0.97, 0.8)
    assert (model.ent_coef, model.vf_coef, model.max_grad_norm) == (0.02, 0.4, 1.0)
    assert (model.n_epochs, model.batch_size, model.clip_range(1.0)) == (3, 6, 0.15)
    loss = LossConfig(clip_high=0.3, importance_weight_cap=None)
    method = SB3GRPOConfig(group_size=4, updates_per_epoch=2, num_epochs=3, discount=0.9, loss=loss)
    model = session_of(small("sb3-grpo", method=method)).agent.model
    assert (model.n_envs, model.group_size, model.batch_size, model.n_epochs) == (16, 4, 8, 3)
    assert (model.n_steps, model.gamma, model.loss.clip_high) == (24, 0.9, 0.3)


@pytest.mark.parametrize(("num_steps", "is_new"), [(8, True), (12, False)])
def test_a_restored_agent_sees_the_same_observations(num_steps, is_new):
    method = replace(method_config("sb3-a2c"), num_steps=num_steps)
    config = small("sb3-a2c", env=SHORT, method=method)
    agent, other = (prepared(config).agent for _ in range(2))
    agent.collect(1)
    other.load_state_dict(agent.state_dict())
    for name in ("_last_obs", "_last_episode_starts"):
        np.testing.assert_array_equal(getattr(other.model, name), getattr(agent.model, name))
    assert other.model._last_episode_starts.tolist() == [is_new] * 4  # episodes of 8 tokens
    assert other.model.num_timesteps == agent.model.num_timesteps == 4 * num_steps


def test_an_iteration_has_seeds_of_its_own(monkeypatch):
    session = prepared(small("sb3-a2c", env=SHORT))
    seeds, collect, update = [], Agent.collect, Agent.update

    def collected(agent, seed):
        seeds.append(seed)
        return collect(agent, seed)

    def updated(agent, seed, run_share):
        seeds.append(seed)
        return update(agent, seed, run_share)

    monkeypatch.setattr(Agent, "collect", collected)
    monkeypatch.setattr(Agent, "update", updated)
    iterate_agent(session)
    iterate_agent(session)
    streams = [(name, number) for number in (1, 2) for name in ("sampling", "updates")]
    assert seeds == [session.config.seed_of(*own) for own in streams]


def test_global_generators_have_a_seed_inside_and_their_own_state_after():
    def drawn(seed):
        with seeded(seed, torch.device("cpu")):
            return torch.rand(1).item(), np.random.rand()

    torch.manual_seed(0)
    first, wanted = drawn(7), torch.rand(1).item()
    np.random.rand()
    assert drawn(7) == first
    assert all(own != other for own, other in zip(drawn(8), first, strict=True))
    torch.manual_seed(0)
    assert torch.rand(1).item() == wanted


def test_every_draw_of_a_start_has_a_seed_of_its_own():
    env = stack(lambda env: PrefixRollin(env, steps=(0, 2)), size=1, levels=(3, 3))
    session = prepared(small("sb3-a2c", env=env))
    starts = [own.start.state for _ in range(8) for own in session.agent._next_group()]
    assert {len(state.steps) for state in starts} == {0, 1, 2}


def test_the_end_of_an_episode_is_known_to_the_wrappers_before_the_next_start():
    env = stack(lambda env: ResetToState(env, keep="failures", cut=1), size=1, levels=(1, 1))
    session = prepared(small("sb3-a2c", env=env, problems_per_iteration=2))
    episodes = session.agent.episodes
    found = [own for group in (1, 2) for own in session.agent._next_group()]
    episodes.begin(found)
    episodes.reset()
    failure = b"A:0+0 x=0\nB:0+0 x=0\n#### 000\n"
    for token in failure:
        episodes.note([-1.0, -2.0])
        _, _, dones, _ = episodes.step(np.array([token, 65]))
    assert dones.tolist() == [True, False]
    first, second = episodes.get_attr("state")
    assert (first.text, second.text) == ("A:0+0 x=0\n", "A" * len(failure))
    ((index, item),) = episodes.take()
    assert (index, item.outcome, item.behavior_log_probs) == (
        0,
        "incorrect",
        (-1.0,) * len(failure),
    )
    assert episodes.open[1].log_probs == [-2.0] * len(failure)


def stack(wrap, **changes):
    arguments = {"problems": "chain", "levels": (2, 2), "size": 4, "max_tokens": 30}
    return EnvConfig(stack=stack_to_json(wrap(gym.make("MathReason-v0", **(arguments | changes)))))


@pytest.mark.parametrize("name", ["sb3-ppo", "sb3-grpo"])
def test_wrappers_act_and_what_they_remember_is_resumed(tmp_path, name):
    def wrap(env, folder):
        env = ResetToState(PrefixRollin(env, schedule={"kind": "linear", "episodes": 20}))
        return RecordEpisodes(RewardShaping(env, token_penalty=0.01), folder / "episodes.jsonl")

    for kind in ("whole", "killed"):
        (tmp_path / f"{kind}_files").mkdir()
    config = small(name, env=stack(lambda env: wrap(env, tmp_path / "whole_files")))
    _, rows = run_to_end(config, tmp_path / "whole")
    config = small(name, env=stack(lambda env: wrap(env, tmp_path / "killed_files")))
    killed_and_resumed(config, tmp_path / "killed", after=2)
    files = ("metrics.jsonl", "checkpoints/iteration_000002/model/model.safetensors")
    assert same_files(tmp_path / "whole", tmp_path / "killed", files) == []
    recorded = [
        (tmp_path / f"{kind}_files/episodes.jsonl").read_bytes() for kind in ("whole", "killed")
    ]
    assert recorded[0] == recorded[1]
    num_episodes = sum(row["rollout/num_trajectories"] for row in rows[1:])
    assert recorded[0].count(b"\n") == num_episodes > 0
    run = RunDir.open(tmp_path / "whole")
    written = [*run.read_episodes(1), *run.read_episodes(2)]
    assert any(row["start_tokens"] > 0 for row in written)
    # 1 for success, less 0.01 for each token that the policy wrote
    for row in written:
        wanted = (row["outcome"] == "correct") - 0.01 * row["sampled_tokens"]
        assert row["return"] == pytest.approx(wanted)


def test_the_stack_s_return_is_the_reward_of_the_last_token():
    env = stack(lambda env: RewardShaping(env, token_penalty=0.01), max_tokens=10)
    session = prepared(small("sb3-a2c", env=env))
    found = session.agent.collect(1)
    rewards = session.agent.model.rollout_buffer.rewards
    returns = sorted(item.episode_return for item in found.trajectories)
    # Truncated after 10 tokens in each of 4 environments; the value there is still 0.
    assert returns == pytest.approx([-0.1] * 4)
    assert sorted(rewards[rewards != 0].tolist()) == pytest.approx(returns)


def test_weights_that_are_not_finite_end_the_run_before_its_checkpoint(tmp_path):
    session = session_of(small("sb3-a2c", env=SHORT))
    session.agent.model.policy.value_net.weight.data.fill_(float("nan"))
    with (
        RunDir.create(tmp_path / "run", session.config, command=["test"]) as run,
        pytest.raises(TrainingError, match=r"weights must be finite after an update, got 4\d tens"),
    ):
        train(session, run)
    assert latest_checkpoint(run) is None
    assert [row["iteration"] for row in run.read_metrics()] == [0]


class Cut(gym.ActionWrapper):
    """Drops the end of every response."""

    def action(self, action):
        return action[:3]


def test_a_stack_that_changes_responses_is_refused():
    session = prepared(small("sb3-ppo", env=SHORT))
    session.agent.episodes._run_env = Cut(session.env)
    with pytest.raises(ConfigError, match="must leave a response as it is, got the outcome"):
        session.agent.collect(1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learner": LearnerConfig(epochs=2)}, "learner.epochs must be 1 with sb3-ppo, got 2; gi"),
        ({"learner": LearnerConfig(warmup_updates=3)}, "warmup_updates must be 0 with sb3-ppo"),
        ({"sampling": SamplingConfig(top_k=5)}, "sampling.top_k must be 0 with sb3-ppo, got 5"),
        ({"lora": LoraConfig(rank=4)}, "lora.rank must be 0 with sb3-ppo, got 4; train all"),
        ({"precision": "bf16-mixed"}, "precision must be 'float32' with sb3-ppo, got 'bf16-mix"),
        ({"zero_advantages": True}, "zero_advantages must be False with sb3-ppo, got True"),
        *(
            ({"engine": EngineConfig(mismatch=MismatchConfig(**{name: value}))},
             f"engine.mismatch.{name} must be {wanted} with sb3-ppo, got {value!r}; leave it out")
            for name, value, wanted in (("sequences", 0, 8), ("limit", 0.1, 0.05),
                                        ("alarm", "stop", "'warn'"))
        ),
        ({"cpi": CPIConfig()}, "cpi must be None with sb3-ppo, got CPIConfig"),
        ({"problems_per_iteration": 3, "method": SB3PPOConfig(num_steps=5, updates_per_epoch=4)},
         r"updates_per_epoch must divide the 15 samples .* parts of at least 2, got 4; .* take 3$"),
        ({"problems_per_iteration": 1, "method": SB3PPOConfig(num_steps=4, updates_per_epoch=4)},
         r"updates_per_epoch must divide the 4 samples .* got 4; .* take 2$"),
        ({"problems_per_iteration": 3, "method": SB3PPOConfig(num_steps=5, updates_per_epoch=15)},
         r"updates_per_epoch must divide the 15 samples .* got 15; .* take 5$"),
        ({"problems_per_iteration": 1, "method": SB3PPOConfig(num_steps=1, updates_per_epoch=1)},
         "an iteration of sb3-ppo must have at least 2 samples, got 1; raise num_steps or"),
    ],
)  # fmt: skip
def test_settings_that_the_algorithm_does_not_read_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        small("sb3-ppo", **changes)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SB3PPOConfig(weights="rndom"), "weights must be one of pretrained, random, got"),
        (lambda: SB3A2CConfig(discount=0.0), "discount must be above 0 and at most 1, got 0.0"),
        (lambda: SB3A2CConfig(gae_lambda=1.5), "gae_lambda must be at least 0 and at most 1"),
        (lambda: SB3A2CConfig(num_steps=0), "num_steps must be at least 1 and finite, got 0"),
        (lambda: SB3PPOConfig(clip_range=float("nan")), "clip_range must be above 0 and finite"),
        (lambda: SB3GRPOConfig(group_size=1), "group_size must be at least 2"),
        (lambda: SB3GRPOConfig(loss=LossConfig(kl_coefficient=0.1)), "must have kl_coefficient 0"),
        (lambda: method_config("sb3-ppo+lte"), r"sb3-ppo must be used alone, got sb3-ppo\+lte; an"),
        (lambda: build_session(small("sb3-a2c")), "must be one of language models here, got 'sb3"),
        (lambda: session_of(small("sb3-ppo", device="cuda:99")), "device must exist on this mach"),
        (lambda: session_of(small("sb3-a2c", env=EnvConfig(
            reward=RewardConfig(undecided="left_out")))), "must be no_reward with sb3-a2c, got"),
    ],
)  # fmt: skip
def test_numbers_and_names_that_make_no_run_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_a_mistyped_algorithm_has_its_right_name_in_the_message():
    with pytest.raises(UnknownNameError, match="no method 'sb3-poo'; did you mean 'sb3-ppo'"):
        method_config("sb3-poo")
