"""The benchmarks of Stable-Baselines3's agents, in runs of seconds."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from reason_env.problem import Problem
from reason_env.problems import load_problems

pytest.importorskip("sb3_contrib", reason="pip install 'reason-env[sb3]'")

import torch

ROOT = Path(__file__).parents[2]


def benchmark(name):
    """Import a script of benchmarks/, which is not a package."""
    place = ROOT / "benchmarks" / "sb3" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"benchmarks_sb3_{name}", place)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("arm", ["ppo", "sb3-grpo"])
def test_the_steps_are_those_of_the_first_evaluation_at_the_target(arm):
    steps = benchmark("steps_to_target")
    own = steps.ARMS["lock"][arm]
    if arm == "sb3-grpo":
        own = replace(own, settings=own.settings | {"n_steps": 2})
    easy = replace(
        steps.WORLDS["lock"],
        make=lambda: gym.make("CombinationLock-v0", num_steps=2, num_actions=2),
        every=256,
        episodes=20,
        budget=6000,
    )
    found = steps.run(easy, own, 0)
    assert 256 <= found < 6000
    assert found % own.num_envs == 0
    never = replace(easy, target=1.1, budget=600)
    assert steps.run(never, own, 0) == 600


def test_every_arm_of_a_world_has_settings_for_its_algorithm():
    steps = benchmark("steps_to_target")
    assert {name: list(arms) for name, arms in steps.ARMS.items()} == {
        "lock": ["ppo", "sb3-grpo"],
        "cartpole": ["ppo", "sb3-grpo"],
    }
    for arms in steps.ARMS.values():
        for arm in arms.values():
            group = arm.settings.get("group_size", 1)
            assert arm.num_envs % group == 0


@pytest.fixture
def scratch():
    return benchmark("from_scratch")


def test_every_reference_answer_fits_the_form_of_its_family(scratch):
    families = ["chain", "inverse", "unlock", "precedence", "countdown", "equation", "stories"]
    assert list(scratch.FORMS) == families
    for family, form in scratch.FORMS.items():
        for problem in load_problems(family, split="test", levels=(1, 2), size=20):
            line = problem.answer + scratch.END
            for place, character in enumerate(line):
                assert character in form(problem, line[:place]), (family, line, place)


@pytest.mark.parametrize(
    ("family", "written", "allowed"),
    [
        ("chain", "84", "0123456789"),
        ("chain", "842", "\n"),
        ("stories", "", "123456789"),
        ("stories", "70", "0123456789\n"),
        ("equation", r"\frac{", "-123456789"),
        ("equation", r"\frac{-", "123456789"),
        ("equation", r"\frac{-2", "0123456789}"),
        ("equation", r"\frac{-29", "}"),
        ("equation", r"\frac{-29}", "{"),
        ("equation", r"\frac{-29}{", "23456789"),
        ("equation", r"\frac{-29}{2}", "\n"),
        ("countdown", "", "57"),
        ("countdown", "5", "+-*/"),
        ("countdown", "5*", "57"),
        ("countdown", "5*7", "+-"),
        ("countdown", "5*7+", "5"),
        ("countdown", "5*7+5", "\n"),
    ],
)
def test_a_form_allows_what_may_come_next(scratch, family, written, allowed):
    question = "40 from 7 5 5" if family == "countdown" else "unread"
    problem = Problem(problem_id="a/b/0", question=question, answer="0")
    assert scratch.FORMS[family](problem, written) == allowed


def test_masks_and_features_follow_the_state(scratch, monkeypatch):
    monkeypatch.setattr(scratch, "NUM_ENVS", 1)
    envs = scratch.environments("countdown", "test", levels=(1, 1), size=40, is_begun=True)
    problems = {problem.question: problem for problem in envs.envs.env.problems}
    envs.set_options({"problem": problems["40 from 7 5 5"].problem_id})
    envs.reset()
    (state,) = envs.get_attr("state")
    assert (state.text, set(state.sources)) == ("#### ", {"reset"})
    for character in b"5*":
        ids, *_ = envs.step(np.array([character]))
    (mask,) = envs.env_method("action_masks")
    assert bytes(np.flatnonzero(mask).tolist()) == b"57"
    features = scratch.DigitsLeft(envs.observation_space)(torch.from_numpy(ids).float())[0]
    places = {place: count for place, count in enumerate(features.tolist()) if count}
    # The target 40; one 5 and one 7 are left; 5 and *, the symbol after 0..9, + and -, are written.
    assert places == {4: 1, 10 + 0: 1, 20 + 5: 1, 20 + 7: 1, 30 + 5: 1, 30 + 14 + 12: 1}
    assert features.shape == (100,)


@pytest.mark.parametrize(("target", "is_reached"), [(-1.0, True), (1.1, False)])
def test_a_run_from_scratch_ends_at_the_confirmed_target(scratch, monkeypatch, target, is_reached):
    small = {"NUM_ENVS": 8, "STEPS": 384, "EVERY": 96, "EPISODES": 8, "CONFIRMED": 16}
    for name, value in (small | {"TARGET": target}).items():
        monkeypatch.setattr(scratch, name, value)
    monkeypatch.setitem(scratch.SETTINGS, "batch_size", 48)
    found = scratch.run(0)
    assert (found.confirmed is not None) == is_reached
    # Evaluated before the second iteration of 96 steps and later ones; the last one has none.
    assert (found.num_timesteps, len(found.rates)) == ((104, 1) if is_reached else (384, 3))
    assert found.model.ent_coef == pytest.approx(scratch.ENTROPY * (0.75 if is_reached else 0.25))
    assert found.seconds > 0


def test_the_uniform_policy_under_the_masks_is_right_as_often_as_counted(scratch, monkeypatch):
    monkeypatch.setattr(scratch, "NUM_ENVS", 32)
    # 48 expressions of three digits; two or a few more are right in a typical question.
    assert 0.02 < scratch.uniform_success("countdown", 500) < 0.11


def test_the_picture_shows_both_arms(tmp_path):
    pytest.importorskip("matplotlib", reason="pip install 'reason-env[figures]'")
    sealed = benchmark("sealed_start")
    rising = [point / sealed.POINTS for point in range(sealed.POINTS)]
    curves = {label: [rising, rising[::-1]] for label in sealed.ARMS}
    sealed.draw(curves, tmp_path / "found.png")
    assert (tmp_path / "found.png").read_bytes().startswith(b"\x89PNG")
