"""The benchmarks of Stable-Baselines3's agents, in runs of seconds."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import pytest

pytest.importorskip("sb3_contrib", reason="pip install 'reason-env[sb3]'")

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


def test_the_picture_shows_both_arms(tmp_path):
    pytest.importorskip("matplotlib", reason="pip install 'reason-env[figures]'")
    sealed = benchmark("sealed_start")
    rising = [point / sealed.POINTS for point in range(sealed.POINTS)]
    curves = {label: [rising, rising[::-1]] for label in sealed.ARMS}
    sealed.draw(curves, tmp_path / "found.png")
    assert (tmp_path / "found.png").read_bytes().startswith(b"\x89PNG")
