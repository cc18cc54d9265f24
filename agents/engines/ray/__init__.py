"""The Ray engine: torch engines in actors of a Ray cluster, behind one engine."""

from reason_env.agents.engines.ray.actors import RayActors, check_installed
from reason_env.agents.engines.ray.engine import RayEngine
from reason_env.agents.engines.ray.sampler import SamplerSettings

__all__ = ["RayActors", "RayEngine", "SamplerSettings", "check_installed"]
