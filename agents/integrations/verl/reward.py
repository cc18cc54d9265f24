"""The reward function for verl's own agent loops: this project's grader."""

import json
from collections.abc import Mapping
from typing import Any

from reason_env.problem import Problem
from reason_env.verify import grade, read_options


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: Mapping[str, Any]
) -> dict[str, float]:
    """Grade a response, with the arguments of verl's reward managers.

    verl averages scores and cannot leave one out, so a response whose grader failed has score 0;
    the mean of `undecided` says how many of the 0 are such.

    Args:
        data_source: Name of the problems; not used.
        solution_str: The response.
        ground_truth: The reference answer; the problem in `extra_info` says more.
        extra_info: As `reason-env export verl` writes it.
    """
    del data_source, ground_truth
    problem = Problem.from_dict(json.loads(extra_info["state"])["problem"])
    verdict = grade(
        solution_str, problem.reference, read_options(json.loads(extra_info["grading"]))
    )
    correct = float(verdict.is_correct)
    return {"score": correct, "acc": correct, "undecided": float(not verdict.is_graded)}
