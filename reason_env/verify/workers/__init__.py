"""Worker processes for sympy and other code that may hang or crash."""

from reason_env.verify.workers.pool import shared_pool
from reason_env.verify.workers.process import FIXED

__all__ = ["FIXED", "shared_pool"]
