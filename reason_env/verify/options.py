"""Options of grading: strict by default, with presets for known data sets.

By default a response is correct if it gives the same mathematical object as the reference, in the
form of an answer. Whatever a data set accepts beyond that (a bare number for a percentage, a
rounded value) is a field here, so that a changed reward is visible as a changed configuration.
"""

from dataclasses import dataclass
from typing import Literal

from reason_env.errors import ConfigError, shown

Percent = Literal["value", "sign_optional"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GradeOptions:
    """How grading extracts and compares an answer.

    >>> GradeOptions(percent="sign_optional").relative_tolerance
    0.0
    """

    markers: tuple[str, ...] = ("####", "final answer")
    """Phrases that announce the answer if there is no box; the first that occurs counts."""
    conclusion: bool = False
    """Whether the last sentence with "therefore", "thus" or the like may give the answer."""
    percent: Percent = "value"
    """`value`: 50% equals only 0.5. `sign_optional`: 50 is also correct for 50%."""
    relative_tolerance: float = 0.0
    """Largest |difference| / |reference| at which two numbers count as equal."""
    reference_digits: int = 3
    """A decimal reference of at least this many significant digits accepts an exact response that
    rounds to it (27/59 for 0.458); 0 turns this off. It never accepts a rounded response."""
    response_digits: int = 12
    """A decimal response of at least this many significant digits is correct for an exact reference
    that rounds to it (0.0833333333333 for 1/12); 0 turns this off."""
    ordered: bool = False
    """Whether the order of a bare list `1, 2, 3` matters; that of tuples always does."""
    units: Literal["optional", "required"] = "optional"
    """`optional`: a response may omit the unit, but not give a wrong one. `required`: it may not
    omit it."""
    constant: Literal["required", "optional"] = "required"
    """Whether the response must have the `+ C` that the reference has."""
    forms: Literal["given", "any"] = "given"
    """`given`: a response must not leave work to do, such as 17*23 for 391. `any`: an equal value
    is correct."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0.0 <= self.relative_tolerance < 1.0:
            raise ConfigError(
                f"relative_tolerance must be in [0, 1), got {shown(self.relative_tolerance)}"
            )
        for name in ("reference_digits", "response_digits"):
            if getattr(self, name) < 0:
                raise ConfigError(
                    f"{name} must be at least 0 (0 turns it off), got {getattr(self, name)!r}"
                )


DEFAULT = GradeOptions()


def gsm8k() -> GradeOptions:
    """Options for GSM8K, whose answers are integers after `####`: the default.

    >>> gsm8k() == GradeOptions()
    True
    """
    return DEFAULT


def competition() -> GradeOptions:
    """Options for sets like MATH, whose references often omit the percent sign."""
    return GradeOptions(percent="sign_optional", constant="optional")


def benchmark_text() -> GradeOptions:
    """Options for responses to prompts that do not ask for a box or a marker."""
    return GradeOptions(
        markers=("####", "final answer", "answer is"), conclusion=True, percent="sign_optional"
    )


def dapo() -> GradeOptions:
    """Options for DAPO's prompt, which asks for a last line `Answer: ...`."""
    return GradeOptions(
        markers=("answer:", "####", "final answer"), percent="sign_optional", constant="optional"
    )


def r1() -> GradeOptions:
    """Options for DeepSeek-R1-Zero's prompt, which asks for the answer after `<answer>`."""
    return GradeOptions(
        markers=("<answer>", "####", "final answer"), percent="sign_optional", constant="optional"
    )


PRESETS = {
    "strict": gsm8k,
    "gsm8k": gsm8k,
    "math": competition,
    "text": benchmark_text,
    "dapo": dapo,
    "r1": r1,
}
"""Name on the command line -> function that builds the options."""
