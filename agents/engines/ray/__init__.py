"""The Ray engine: torch engines in actors of a Ray cluster, behind one engine; and graders."""

from reason_env.agents.engines.ray.actors import (
    check_installed,
    grader_actors,
    sampler_actors,
)
from reason_env.agents.engines.ray.engine import RayEngine
from reason_env.agents.engines.ray.graders import Graders
from reason_env.agents.engines.ray.sampler import SamplerSettings

__all__ = [
    "Graders",
    "RayEngine",
    "SamplerSettings",
    "check_installed",
    "grader_actors",
    "sampler_actors",
]
