"""What a grader may forgive: one frozen value, strict by default, with presets for known data sets.

The default answers "is this the same mathematical object, given as an answer?". Everything a data
set forgives beyond that (a bare number for a percentage, a rounded value) is a named field here, so
that a changed reward is a changed configuration and never a changed regular expression.
"""

from dataclasses import dataclass
from typing import Literal

from reason_env.errors import ConfigError, shown

Percent = Literal["value", "sign_optional"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GradeOptions:
    """How an answer is looked for and compared.

    >>> GradeOptions(percent="sign_optional").relative_tolerance
    0.0
    """

    markers: tuple[str, ...] = ("####", "final answer")
    """Phrases that announce the answer where no box does; the first that occurs is used."""
    conclusion: bool = False
    """Also accept the last sentence that concludes ("therefore", "thus"), without a marker."""
    percent: Percent = "value"
    """`value`: 50% is 0.5 and nothing else. `sign_optional`: a bare 50 also answers 50%."""
    relative_tolerance: float = 0.0
    """Largest |difference| / |reference| between two numbers that still counts as equal."""
    reference_digits: int = 3
    """A decimal reference of this many significant digits stands for every exact form that rounds
    to it (0.458 for 27/59); 0 is off. A decimal response is never rounded by this rule."""
    response_digits: int = 12
    """A decimal response of this many significant digits answers the exact value that rounds to it
    (0.0833333333333 for 1/12); 0 is off."""
    ordered: bool = False
    """Compare a bare list (1, 2, 3) in order; tuples in parentheses always are."""
    units: Literal["optional", "required"] = "optional"
    """`optional`: a missing unit is forgiven, a wrong one never. `required`: no unit is wrong."""
    constant: Literal["required", "optional"] = "required"
    """Whether the response must have the `+ C` that the reference has."""
    forms: Literal["given", "any"] = "given"
    """`given`: a response gives the answer; 17*23 for 391 is wrong. `any`: equal value is
    enough."""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        if not 0.0 <= self.relative_tolerance < 1.0:
            raise ConfigError(
                f"relative_tolerance must be in [0, 1), got {shown(self.relative_tolerance)}"
            )
        for name in ("reference_digits", "response_digits"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must be 0 (off) or more, got {getattr(self, name)!r}")


DEFAULT = GradeOptions()


def gsm8k() -> GradeOptions:
    """Returns the options for GSM8K: integers after `####`, nothing forgiven.

    >>> gsm8k() == GradeOptions()
    True
    """
    return DEFAULT


def competition() -> GradeOptions:
    """Returns the options for MATH-like sets, whose references often leave out the percent sign."""
    return GradeOptions(percent="sign_optional", constant="optional")


def benchmark_text() -> GradeOptions:
    """Returns the options for texts of models that were never told where to put the answer."""
    return GradeOptions(
        markers=("####", "final answer", "answer is"), conclusion=True, percent="sign_optional"
    )


PRESETS = {"strict": gsm8k, "gsm8k": gsm8k, "math": competition, "text": benchmark_text}
"""Name on the command line -> the function that makes the options."""
