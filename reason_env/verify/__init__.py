"""Grading: is the final answer of a response the reference answer?

The two sides are not symmetric: the response comes from a policy and is data, whatever it holds;
the reference comes from a problem set. Sympy and math-verify are loaded by worker processes only.
"""

from reason_env.verify.extraction import extract_answer
from reason_env.verify.files import GradedFile, GradedRow, by_math_verify, grade_file
from reason_env.verify.grading import grade, grade_many, is_gradable
from reason_env.verify.options import PRESETS, GradeOptions

__all__ = [
    "PRESETS",
    "GradeOptions",
    "GradedFile",
    "GradedRow",
    "by_math_verify",
    "extract_answer",
    "grade",
    "grade_file",
    "grade_many",
    "is_gradable",
]
