"""Sources of problems: generated families, files, Hugging Face data sets and reasoning-gym."""

from reason_env.problems.budget import SolutionBudget, solution_budget
from reason_env.problems.checking import ProblemCheck, check_problems
from reason_env.problems.constants import ConstantProbe, ConstantShare, probe_constants
from reason_env.problems.files import has_split_file, load_file, load_hub
from reason_env.problems.held_out import SPLITS, check_hold_out
from reason_env.problems.mutants import Mutant, mutants
from reason_env.problems.reasoning_gym import load_reasoning_gym
from reason_env.problems.reference import reference_response
from reason_env.problems.sources import has_split, is_generated, load_problems, problem_sources

__all__ = [
    "SPLITS",
    "ConstantProbe",
    "ConstantShare",
    "Mutant",
    "ProblemCheck",
    "SolutionBudget",
    "check_hold_out",
    "check_problems",
    "has_split",
    "has_split_file",
    "is_generated",
    "load_file",
    "load_hub",
    "load_problems",
    "load_reasoning_gym",
    "mutants",
    "probe_constants",
    "problem_sources",
    "reference_response",
    "solution_budget",
]
