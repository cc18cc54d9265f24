"""The map of the softmax twin: hundreds of abstract problems, trained in minutes.

Lengths, counts and places of the critical steps, base success and noise vary; the numbers that
should decide are exact. `reason_env.agents.tabular.worlds.skill` says what a world is, and what is
left out.

    python -m benchmarks.boundary --twin      # writes published/twin.jsonl
"""

import itertools
from typing import Any

import numpy as np

from reason_env.agents.probe.boundary import BASE
from reason_env.agents.tabular.worlds.skill import METHODS, World, trained

SEEDS = 5


def worlds() -> list[World]:
    """List the worlds: lengths, counts and places of critical steps, difficulty and noise."""
    found: list[World] = []
    for steps, count, where in itertools.product(
        (4, 8, 16), (1, 2, 4, 6), ("spread", "early", "late")
    ):
        if count > steps // 2:
            continue
        begin, end = {"spread": (0, steps), "early": (0, steps // 2), "late": (steps // 2, steps)}[
            where
        ]
        places = (
            np.linspace(begin, end - 1, count).round().astype(int)
            if count > 1
            else [(begin + end - 1) // 2]
        )
        for base, free in itertools.product((0.003, 0.03, 0.1, 0.3, 0.55), (0.05, 1.0)):
            found.append(
                World(
                    steps=steps,
                    critical=tuple(int(place) for place in places),
                    right=base ** (1 / count),
                    free=free,
                )
            )
    return found


def twin_row(world: World, seeds: int = SEEDS) -> dict[str, Any]:
    """Return a world's numbers and the mean difference of each method to GRPO."""
    final = {
        method: np.array([trained(world, method, seed) for seed in range(seeds)])
        for method in METHODS
    }
    return {
        "steps": world.steps,
        "critical": list(world.critical),
        "free": world.free,
        "figures": {
            BASE: round(world.base, 4),
            "localisation/clean": round(world.clean, 4),
            "localisation/over_start": round(world.over_start, 4),
            "guided/prompt_0.25_gain": round(world.guided_gain, 4),
        },
        "noise": round(world.noise, 4),
        "grpo": round(float(final["grpo"].mean()), 4),
        "differences": {
            method: round(float((final[method] - final["grpo"]).mean()), 4)
            for method in METHODS[1:]
        },
        "errors": {
            method: round(float((final[method] - final["grpo"]).std(ddof=1) / seeds**0.5), 4)
            for method in METHODS[1:]
        },
    }
