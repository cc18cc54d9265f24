"""How fast this machine samples and learns with a model, against its own limit."""

from reason_env.agents.bench.bench import BenchReport, Speed, bench

__all__ = ["BenchReport", "Speed", "bench"]
