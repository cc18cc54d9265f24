"""Comparison of two answers, by their type."""

from reason_env.verify.comparing.compare import compare, reference_answer
from reason_env.verify.comparing.naming import named

__all__ = [
    "compare",
    "named",
    "reference_answer",
]
