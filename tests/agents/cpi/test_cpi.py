"""The conservative update: its decisions, the weights and optimizer after it, and resumed runs."""

import os
import signal

import numpy as np
import pytest
import torch

from reason_env.agents.cpi import CPIConfig
from reason_env.agents.cpi import measure as cpi_measure
from reason_env.agents.cpi.config import DistillConfig
from reason_env.agents.cpi.estimators import RestartAdvantages
from reason_env.agents.cpi.measure import AdvantageEstimate, AdvantageEstimator
from reason_env.agents.cpi.mixture import Distiller, copy_weights, interpolate
from reason_env.agents.cpi.update import decide, initial_fraction, scale_advantages
from reason_env.agents.engines import SamplingConfig
from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.learning import LearnerConfig
from reason_env.agents.methods import build_method, method_config
from reason_env.agents.metrics import metric
from reason_env.agents.rollout import TrainingSample
from reason_env.agents.runs import CheckpointConfig, RunDir, config_json, latest_checkpoint
from reason_env.agents.statistics import Interval
from reason_env.agents.tabular.exact import TabularMDP, mixture_horizon_gain
from reason_env.agents.tabular.exact import horizon as finite
from reason_env.agents.tabular.exact.bounds import random_reset_gain
from reason_env.agents.train import TrainConfig, build_session, iterate, prepare, train
from reason_env.env import EnvConfig
from reason_env.env.reward import RewardConfig
from reason_env.errors import ConfigError, TrainingError

QUICK = {"num_restarts": 2, "samples": 1, "realised_problems": 2, "realised_samples": 1}


def small(method="grpo", cpi=None, **changes):
    """Build the config of a run of seconds: the base model on the easiest problems."""
    arguments = {
        "method": method_config(method),
        "env": EnvConfig(levels=(2, 3), max_tokens=64),
        "eval": EvalConfig(num_problems=2, samples=2, k=2, greedy=False),
        "checkpoint": CheckpointConfig(every=1, keep_last=10),
        "learner": LearnerConfig(learning_rate=3e-4, updates_per_iteration=2),
        "iterations": 2,
        "problems_per_iteration": 2,
        "episodes_per_iteration": 1,
        "cpi": None if cpi is None else CPIConfig(**(QUICK | cpi)),
    }
    return TrainConfig(**(arguments | changes))


def weights(session):
    return copy_weights(session.policy.model)


def equal(one, two):
    return all(torch.equal(value, two[name]) for name, value in one.items())


def optimizer_tensors(session):
    states = session.learner.state_dict()["optimizer"]["state"]
    return {(n, key): value for n, state in states.items() for key, value in state.items()}


def measured(monkeypatch, low, estimate):
    found = AdvantageEstimate(
        interval=Interval(estimate, low, 2 * estimate - low),
        num_restarts=3,
        restart_weight=0.0,
        num_tokens=7,
    )
    monkeypatch.setattr(AdvantageEstimator, "advantage", lambda self, old, new, **options: found)


@pytest.mark.parametrize(
    ("accept", "low", "estimate", "is_accepted", "step_size"),
    [
        ("confident", 0.1, 0.2, True, 0.1 / (2 * 2.0 * 5)),
        ("confident", 0.0, 0.2, False, 0.0),
        ("positive", -0.1, 0.2, True, 0.2 / (2 * 2.0 * 5)),
        ("positive", -0.1, 0.0, False, 0.0),
        ("always", -0.3, -0.2, True, 1.0),
        ("always", 0.1, 0.2, True, 1.0),
    ],
)
def test_the_accept_rule_decides_acceptance_and_sets_the_step_size(
    accept, low, estimate, is_accepted, step_size
):
    config = CPIConfig(accept=accept, estimator="step", max_return=2.0)
    found = decide(Interval(estimate, low, 0.5), config, 5)
    assert found.is_accepted is is_accepted
    assert found.step_size == pytest.approx(step_size)


def test_the_bound_is_the_theorem_s_with_the_lower_limit():
    # H 3, alpha 0.5, tau 0.4, R 2: 0.5 * (3 * 0.4 - 2 * 2 * (0 + 0.5 + 0.75))
    config = CPIConfig(estimator="step", step_size=0.5, max_return=2.0)
    assert decide(Interval(0.6, 0.4, 0.8), config, 3).bound == pytest.approx(-1.9)
    # Whole responses: alpha A
    assert decide(Interval(0.6, 0.4, 0.8), CPIConfig(step_size=0.5), 1).bound == pytest.approx(0.2)
    without = CPIConfig(estimator="step", step_size=0.5, roll_in=False)
    assert decide(Interval(0.6, 0.4, 0.8), without, 3).bound is None


def test_the_finite_horizon_bound_holds_on_random_mdps():
    rng = np.random.default_rng(0)
    for _ in range(300):
        num_states, num_actions, horizon = (
            rng.integers(2, 5),
            rng.integers(2, 4),
            rng.integers(1, 7),
        )
        reward = rng.random((num_states, num_actions)) / horizon
        mdp = TabularMDP(
            transition_SAS=rng.dirichlet(np.ones(num_states) * 0.3, (num_states, num_actions)),
            reward_SA=reward,
            start_S=rng.dirichlet(np.ones(num_states)),
            horizon=int(horizon),
        )
        old, new = (rng.dirichlet(np.ones(num_actions) * 0.3, num_states) for _ in "ab")
        exact = finite.evaluate(mdp, old)
        mean = finite.policy_advantage(exact, new)
        eps = float(np.abs((new * exact.advantage_HSA).sum(-1)).max())
        alpha = float(rng.random())
        gain = finite.evaluate(mdp, (1 - alpha) * old + alpha * new).performance - exact.performance
        bound = mixture_horizon_gain(
            step_size=alpha, policy_advantage=mean, max_advantage=eps, horizon=int(horizon)
        )
        assert gain >= bound - 1e-12
        if horizon == 1:
            assert gain == pytest.approx(bound)
        if mean > 0:
            step = mean / (2 * horizon)
            at_step = mixture_horizon_gain(
                step_size=step, policy_advantage=mean, max_advantage=1.0, horizon=int(horizon)
            )
            # The formula's own step keeps what the shorter bound promises.
            assert at_step >= random_reset_gain(policy_advantage=mean, max_return=1.0) - 1e-12


def of_role(role, advantage=0.5):
    return TrainingSample(
        context_ids=(5,),
        token_ids=(6,),
        action_mask=(True,),
        behavior_log_probs=(-0.5,),
        advantage=advantage,
        role=role,
        group="0:toy",
    )


def test_beta_rescales_advantages_by_start_and_leaves_likelihood_terms_unchanged():
    method = build_method(method_config("expo"))
    samples = [of_role("base"), of_role("reset", -1.0), of_role("reset"), of_role("top_up", 2.0)]
    samples += [of_role("reset"), of_role("explanation", 0.04)]
    assert initial_fraction(samples, method) == pytest.approx(0.4)
    found = [one.advantage for one in scale_advantages(samples, method, 0.1)]
    # 0.1 / 0.4 on D, 0.9 / 0.6 on mu
    assert found == pytest.approx([0.125, -1.5, 0.75, 0.5, 0.75, 0.04])
    # A sample with an advantage for each token is scaled token by token.
    of_tokens = [of_role(one.role, (one.advantage,)) for one in samples]
    found = [one.advantages for one in scale_advantages(of_tokens, method, 0.1)]
    assert found[1:3] == [(pytest.approx(-1.5),), (pytest.approx(0.75),)]
    assert scale_advantages(samples, method, None) == samples
    assert scale_advantages(samples[:1], method, 0.1) == samples[:1]
    assert initial_fraction([of_role("explanation")], method) == 1.0
    # Alone, these methods train episodes that begin at the problem under roles of their own.
    for name, role in (("opsd", "taught"), ("vineppo", "stepwise"), ("vppo", "stepwise")):
        own = build_method(method_config(name))
        assert initial_fraction([of_role(role)], own) == 1.0


def test_an_always_accepted_step_of_one_equals_the_method_s_plain_update():
    plain, tested = (
        build_session(small()),
        build_session(small(cpi={"step_size": 1.0, "accept": "always", "realised_problems": 0})),
    )
    for _ in range(2):
        iterate(plain)
        row = iterate(tested).metrics
        assert (row["cpi/accepted"], row["cpi/alpha"]) == (1, 1.0)
        assert equal(weights(plain), weights(tested))
    assert equal(optimizer_tensors(plain), optimizer_tensors(tested))
    assert plain.policy.policy_version == tested.policy.policy_version > 0
    spent = tested.sampled_tokens_total - plain.sampled_tokens_total
    assert spent > 0


def test_an_always_accepted_candidate_is_kept_whatever_its_advantage(monkeypatch):
    plain = build_session(small())
    session = build_session(small(cpi={"accept": "always", "realised_problems": 0}))
    measured(monkeypatch, -0.5, -0.25)
    before = weights(session)
    iterate(plain)
    row = iterate(session).metrics
    assert (row["cpi/accepted"], row["cpi/alpha"], row["cpi/advantage"]) == (1, 1.0, -0.25)
    assert equal(weights(session), weights(plain))
    assert not equal(weights(session), before)
    assert session.policy.policy_version == 2


@pytest.mark.parametrize("stage", ["update", "advantage", "distillation"])
def test_an_error_leaves_weights_optimizer_and_versions_of_before_the_iteration(monkeypatch, stage):
    session = build_session(small(cpi={"step_size": 0.5, "realised_problems": 0}))
    measured(monkeypatch, 0.1, 0.2)
    iterate(session)  # an accepted candidate, so that the optimizer has a state
    before, moments = (
        weights(session),
        {k: v.clone() for k, v in optimizer_tensors(session).items()},
    )
    version, updates = session.policy.policy_version, session.learner.num_updates
    assert (version, updates) == (2, 2)
    failing, calls = TrainingError("made for a test"), []

    def fail(*args, **kwargs):
        raise failing

    if stage == "update":
        clip = session.learner._clip_gradient

        def fail_in_second_update():
            calls.append(equal(weights(session), before))
            return fail() if len(calls) == 2 else clip()

        monkeypatch.setattr(session.learner, "_clip_gradient", fail_in_second_update)
    elif stage == "advantage":
        monkeypatch.setattr(AdvantageEstimator, "advantage", fail)
    else:
        monkeypatch.setattr(Distiller, "_optimise", fail)
    with pytest.raises(TrainingError, match="made for a test"):
        iterate(session)
    # The first optimizer step of the candidate had changed the weights.
    assert calls == ([True, False] if stage == "update" else [])
    assert equal(weights(session), before)
    assert equal(moments, optimizer_tensors(session))
    assert (session.policy.policy_version, session.learner.num_updates) == (version, updates)


def test_a_rejected_candidate_is_measured_on_fresh_draws_if_asked(monkeypatch):
    session = build_session(
        small(cpi=QUICK | {"rejected_problems": 3, "realised_problems": 0, "step_size": 1.0})
    )
    asked = []

    def realised(self, old, new, **options):
        changed = any((old[name] != new[name]).any() for name in old)
        asked.append((options["num_problems"], options["beta"], changed))
        return FOUND, FOUND

    monkeypatch.setattr(AdvantageEstimator, "realised_gain", realised)
    measured(monkeypatch, -0.2, 0.2)
    before = weights(session)
    row = iterate(session).metrics
    assert (row["cpi/accepted"], asked) == (0, [(3, 1.0, True)])
    assert row["cpi/rejected"] == FOUND.interval.estimate
    assert row["cpi/rejected_low"] == FOUND.interval.low
    assert row["cpi/tokens_rejected"] == FOUND.num_tokens
    assert equal(weights(session), before)
    # One that is accepted is not.
    measured(monkeypatch, 0.1, 0.2)
    row = iterate(session).metrics
    assert (row["cpi/accepted"], row.get("cpi/rejected"), len(asked)) == (1, None, 1)


@pytest.mark.parametrize(
    ("cpi", "low"),
    [({}, 0.0), ({"step_size": 0.0, "accept": "always"}, -0.1), ({"step_size": 1.0}, -0.5)],
)
def test_a_rejected_candidate_restores_weights_optimizer_and_versions(monkeypatch, cpi, low):
    session = build_session(small(cpi=cpi))
    monkeypatch.setattr(AdvantageEstimator, "realised_gain", None)
    measured(monkeypatch, 0.1, 0.2)
    monkeypatch.setattr(
        AdvantageEstimator, "realised_gain", lambda self, old, new, **options: (FOUND, FOUND)
    )
    session.conservative.config = CPIConfig(step_size=1.0, **QUICK)
    iterate(session)
    session.conservative.config = CPIConfig(**(QUICK | cpi))
    monkeypatch.setattr(AdvantageEstimator, "realised_gain", None)
    measured(monkeypatch, low, 0.2)
    before, moments = (
        weights(session),
        {k: v.clone() for k, v in optimizer_tensors(session).items()},
    )
    version, updates = session.policy.policy_version, session.learner.num_updates
    assert moments
    row = iterate(session).metrics
    assert row["update/num_updates"] > 0
    assert equal(weights(session), before)
    assert equal(moments, optimizer_tensors(session))
    assert (session.policy.policy_version, session.learner.num_updates) == (version, updates)
    assert row["cpi/alpha"] == 0.0
    assert row["cpi/accepted"] == (cpi.get("accept") == "always")
    assert (row["cpi/realised"], row["cpi/realised_high"], row["cpi/tokens_realised"]) == (0, 0, 0)
    assert row["cpi/kl_mixture"] is None


FOUND = AdvantageEstimate(
    interval=Interval(0.25, 0.125, 0.5), num_restarts=2, restart_weight=0.0, num_tokens=11
)


def test_interpolation_at_one_half_averages_old_and_candidate_weights(monkeypatch):
    plain = build_session(small())
    session = build_session(
        small(cpi={"step_size": 0.5, "mixture": "interpolate", "realised_problems": 0})
    )
    measured(monkeypatch, 0.1, 0.2)
    before = weights(session)
    row = iterate(session).metrics
    iterate(plain)
    half = interpolate(before, weights(plain), 0.5)
    assert equal(weights(session), half)
    assert not equal(half, before)
    assert row["cpi/bound"] == pytest.approx(0.05)
    assert "cpi/realised" not in row


def test_an_iteration_without_gradient_has_no_candidate_and_measures_nothing():
    session = build_session(small(cpi={"accept": "always"}, zero_advantages=True))
    before = weights(session)
    row = iterate(session).metrics
    assert equal(weights(session), before)
    assert (row["cpi/accepted"], row["cpi/tokens_advantage"]) == (0, 0)
    assert row["rollout/sampled_tokens_total"] == row["cpi/tokens_candidate"]


@pytest.mark.parametrize(("method", "iterations"), [("srpo+lte", 1), ("expo", 2)])
def test_every_method_s_starts_serve_as_restarts_and_all_tokens_are_counted(method, iterations):
    cpi = {"step_size": 1.0, "accept": "always", "realised_restarts": True, "estimator": "step"}
    session = build_session(small(method, cpi, env=EnvConfig(levels=(3, 4), max_tokens=64)))
    prepare(session)
    rows = [iterate(session).metrics for _ in range(iterations)]
    assert all(metric(name) for row in rows for name in row)
    total = sum(row["cpi/tokens_candidate"] + row["cpi/tokens_advantage"] for row in rows)
    assert rows[-1]["rollout/sampled_tokens_total"] == total
    assert all(row["cpi/tokens_realised"] > 0 for row in rows)
    assert [row["cpi/tokens_candidate"] for row in rows] == [
        row["rollout/sampled_tokens"] for row in rows
    ]
    for row in rows:
        assert row["cpi/num_restarts"] >= 2
        assert -1 <= row["cpi/advantage_low"] <= row["cpi/advantage_high"] <= 1
        assert row["cpi/bound"] < 0
        assert row["cpi/realised_low"] <= row["cpi/realised"] <= row["cpi/realised_high"]


class KilledError(Exception):
    pass


def run_to_end(config, path, **options):
    session = build_session(config)
    with RunDir.create(path, config, command=["test"]) as run:
        return session, train(session, run, **options)


def resumed(path):
    with RunDir.open(path) as run:
        session = build_session(run.config(TrainConfig), checkpoint=latest_checkpoint(run))
        run.resume(session.iteration)
        return session, train(session, run)


def test_a_run_killed_by_the_system_resumes_to_the_same_bits(tmp_path):
    cpi = {"step_size": 0.5, "accept": "always", "distill": DistillConfig(updates=2, rows=2)}
    config = small("grpo", cpi, iterations=2)
    whole, rows = run_to_end(config, tmp_path / "whole")
    child = os.fork()
    if child == 0:

        def kill(row):
            if row["iteration"] == 2:
                os.kill(os.getpid(), signal.SIGKILL)

        run_to_end(config, tmp_path / "killed", on_row=kill)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL
    again, _ = resumed(tmp_path / "killed")
    assert again.iteration == 2
    assert equal(weights(whole), weights(again))
    for name in ("metrics.jsonl", "config.json", "episodes/iteration_000002.jsonl"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()
    fitted = [row for row in rows[1:] if row["cpi/kl_mixture"] is not None]
    assert fitted
    assert all(0 <= row["cpi/kl_mixture"] <= row["cpi/kl_interpolated"] for row in fitted)


def test_the_config_survives_json_and_names_the_run():
    config = small("srpo", {"step_size": 0.25, "distill": DistillConfig(rows=3)})
    assert config_json.load(TrainConfig, config_json.dump(config)) == config
    assert config.name == "cpi"
    assert small("srpo").name == "srpo"


def measure(config):
    session = build_session(config)
    own = weights(session)
    return session.conservative.estimator.advantage(
        own, own, problem_ids=session.problem_ids, beta=1.0, seed=0
    )


def test_returns_above_the_maximum_and_episodes_beyond_the_horizon_are_refused():
    env = EnvConfig(levels=(2, 3), max_tokens=64, reward=RewardConfig(correct=3.0))
    paid = small(cpi={"num_restarts": 12, "samples": 2}, env=env)
    with pytest.raises(ConfigError, match=r"returns must lie in 0\.\.1\.0.*got 3\.0; set max_ret"):
        measure(paid)
    right = small(cpi={"num_restarts": 12, "samples": 2, "max_return": 3.0}, env=env)
    same = measure(right)
    # A policy against itself, with equal random streams: no difference in any episode.
    assert same.interval == Interval(0.0, 0.0, 0.0)
    assert (same.num_restarts, same.restart_weight) == (12, 0.0)
    long = small(cpi={"estimator": "step", "horizon": 1})
    with pytest.raises(ConfigError, match="horizon must be at least the steps of every episode"):
        measure(long)


def test_step_advantages_are_divided_by_the_horizon_and_averaged_over_graded_restarts(monkeypatch):
    found = RestartAdvantages(values=(0.5, 0.0, None), num_tokens=11, returns=(1.0,), max_steps=5)
    monkeypatch.setattr(cpi_measure, "step_advantages", lambda *_, **options: found)
    one = measure(small(cpi={"estimator": "step", "horizon": 5, "num_restarts": 3}))
    # (0.5 / 5 + 0 / 5) / 2
    assert one.interval.estimate == pytest.approx(0.05)
    assert (one.num_restarts, one.num_tokens) == (2, 11)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_restarts": 1}, "num_restarts must be at least 2, got 1"),
        ({"samples": 0}, "samples must be at least 1, got 0"),
        ({"samples": 1, "estimator": "response_weighted"}, "samples must be at least 2, got 1"),
        ({"realised_problems": 1}, r"realised_problems must be 0 \(off\) or at least 2"),
        ({"realised_samples": 0}, "realised_samples must be at least 1"),
        ({"confidence": 1.0}, r"confidence must lie between 0 and 1, got 1\.0"),
        ({"step_size": 1.1}, r"step_size must lie in 0\.\.1, got 1\.1"),
        ({"beta": -0.1}, r"beta must lie in 0\.\.1, got -0\.1"),
        ({"horizon": 0}, "horizon must be at least 1, got 0"),
        ({"max_return": 0.0}, "max_return must be above 0 and finite"),
        ({"estimator": "step", "roll_in": False}, "step_size must be given without roll_in"),
        ({"estimator": "steps"}, "estimator must be one of .* did you mean 'step'"),
    ],
)
def test_numbers_out_of_range_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        CPIConfig(**changes)


def test_bad_distillation_settings_and_truncated_sampling_are_refused():
    with pytest.raises(ConfigError, match="distill rows must be at least 1"):
        DistillConfig(rows=0)
    with pytest.raises(ConfigError, match="distill learning_rate must be above 0"):
        DistillConfig(learning_rate=0.0)
    with pytest.raises(ConfigError, match=r"untruncated sampling, got top_p 0\.9 and top_k 0"):
        build_session(
            small(
                cpi={"estimator": "response_weighted", "samples": 2},
                sampling=SamplingConfig(top_p=0.9),
            )
        )


def test_the_restart_flag_chooses_the_method_whose_starts_cpi_uses(monkeypatch, tmp_path):
    from reason_env.cli import train as command
    from reason_env.errors import UnknownNameError

    made = []
    monkeypatch.setattr(
        command, "_new_run", lambda config, path, words, devices: made.append(config)
    )
    command.run(["cpi", "--restart", "srpo", "--cpi.step-size", "1", "--num-reset", "3"])
    command.run(["cpi", "--cpi.estimator", "step", "--seed", "4"])
    assert (made[0].method.kind, made[0].method.num_reset, made[0].cpi.step_size) == (
        "srpo",
        3,
        1.0,
    )
    assert (made[1].method.kind, made[1].cpi, made[1].seed) == (
        "grpo",
        CPIConfig(estimator="step"),
        4,
    )
    with pytest.raises(UnknownNameError, match="no method 'rpo'"):
        command.run(["cpi", "--restart=rpo"])
    config = small()
    with RunDir.create(tmp_path / "run", config, command=["test"]):
        pass
    with pytest.raises(ConfigError, match="must name a run of 'cpi', got one of 'grpo'"):
        command.run(["cpi", "--resume", str(tmp_path / "run")])
