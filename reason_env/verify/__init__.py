"""Grading: decides whether the final answer of a response equals the reference answer.

The two sides are not symmetric: a response comes from a policy and may hold anything; a reference
comes from a problem set. Only worker processes load sympy and math-verify.
"""

from reason_env.verify.extraction import extract_answer
from reason_env.verify.grade_file import GradedFile, GradedRow, by_math_verify, grade_file
from reason_env.verify.grading import (
    GradesJobs,
    GradingJob,
    clear_cache,
    decide,
    grade,
    grade_jobs,
    grade_many,
    is_gradable,
)
from reason_env.verify.options import PRESETS, GradeOptions, read_options
from reason_env.verify.scorers import countdown_reference, reaches
from reason_env.verify.workers import FIXED

__all__ = [
    "FIXED",
    "PRESETS",
    "GradeOptions",
    "GradedFile",
    "GradedRow",
    "GradesJobs",
    "GradingJob",
    "by_math_verify",
    "clear_cache",
    "countdown_reference",
    "decide",
    "extract_answer",
    "grade",
    "grade_file",
    "grade_jobs",
    "grade_many",
    "is_gradable",
    "reaches",
    "read_options",
]
