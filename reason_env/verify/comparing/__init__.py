"""Whether two answers are equal, kind by kind."""

from reason_env.verify.comparing.compare import compare, reference_answer
from reason_env.verify.comparing.naming import named

__all__ = [
    "compare",
    "named",
    "reference_answer",
]
