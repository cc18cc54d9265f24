"""Options of grading: strict by default, with presets for known data sets and prompts.

By default a response is correct if it gives the same mathematical object as the reference, in the
form of an answer. Whatever a data set accepts beyond that (a bare number for a percentage, a
rounded value) is a field here, so that a changed reward is visible as a changed configuration.

Presets say where the answer stands (`dapo`, `r1`, `boxed`, `mcq`, `text`), what is forgiven
(`math`), or both. `dapo+math` combines presets from left to right.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache, partial
from typing import Any, Literal, cast, get_args, get_type_hints

from reason_env.errors import ConfigError, did_you_mean, shown

Percent = Literal["value", "sign_optional"]
Boxes = Literal["first", "last", "never"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GradeOptions:
    """How grading extracts and compares an answer.

    >>> GradeOptions(percent="sign_optional").relative_tolerance
    0.0
    """

    markers: tuple[str, ...] = ("####", "final answer")
    """Phrases that announce the answer; the first that occurs counts, and its last occurrence. Of a
    tag (`<answer>`), the text up to its closing tag is the answer."""
    boxes: Boxes = "first"
    """`first`: a box counts before every marker. `last`: only if no marker occurs. `never`."""
    choices: bool = False
    """Whether answers are letters of choices: a response may then be a letter alone, and the text
    of the choice may follow it."""
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
        """Check types and ranges; a list of markers becomes a tuple."""
        given: object = self.markers
        if isinstance(given, list):
            object.__setattr__(self, "markers", tuple(cast("list[object]", given)))
        for name, form in _FORMS.items():
            _check(name, getattr(self, name), form)
        if not 0.0 <= self.relative_tolerance < 1.0:
            raise ConfigError(
                f"relative_tolerance must be in [0, 1), got {shown(self.relative_tolerance)}"
            )
        for name in ("reference_digits", "response_digits"):
            if getattr(self, name) < 0:
                raise ConfigError(
                    f"{name} must be at least 0 (0 turns it off), got {getattr(self, name)!r}"
                )


def _check(name: str, value: object, form: Any) -> None:
    """Raise unless a field has a value of its type."""
    if form is bool:
        rule, is_right = "True or False", isinstance(value, bool)
    elif form is int:
        rule, is_right = "a whole number", type(value) is int
    elif form is float:
        rule, is_right = "a number", type(value) in (int, float)
    elif get_args(form) and form != tuple[str, ...]:
        rule, is_right = f"one of {', '.join(get_args(form))}", value in get_args(form)
    else:
        rule = "a tuple of texts that are not empty"
        is_right = isinstance(value, tuple) and all(
            isinstance(text, str) and text.strip() for text in cast("tuple[object, ...]", value)
        )
    if not is_right:
        hint = f"; write ({value!r},)" if name == "markers" and isinstance(value, str) else ""
        raise ConfigError(
            f"{name} of GradeOptions must be {rule}, got {shown(cast('object', value))}{hint}"
        )


_FORMS: dict[str, Any] = get_type_hints(GradeOptions)
"""Field -> its type."""
DEFAULT = GradeOptions()


_CHANGES: Mapping[str, Mapping[str, Any]] = {
    "strict": {},
    "gsm8k": {},
    "math": {"percent": "sign_optional", "constant": "optional"},
    "text": {
        "markers": ("####", "final answer", "answer is"),
        "boxes": "first",
        "conclusion": True,
        "percent": "sign_optional",
    },
    "dapo": {
        "markers": ("answer:", "####", "final answer"),
        "boxes": "last",
        "percent": "sign_optional",
        "constant": "optional",
    },
    "r1": {
        "markers": ("<answer>", "####", "final answer"),
        "boxes": "last",
        "percent": "sign_optional",
        "constant": "optional",
    },
    "boxed": {"markers": (), "boxes": "first"},
    "mcq": {
        "markers": (
            "<answer>",
            "answer:",
            "####",
            "final answer",
            "answer is",
            "choice is",
            "option is",
        ),
        "boxes": "first",
        "choices": True,
    },
}
"""Preset -> the fields it changes. One with markers says where the answer stands.

strict  the default, also gsm8k: a box, then a `####` line, then "final answer"
math    what references of sets like MATH omit: percent signs and `+ C`
text    for prompts that ask for no form: also "answer is" and the last conclusion
dapo    DAPO's prompt: the last `Answer:` line counts before boxes
r1      DeepSeek-R1-Zero's prompt: the last `<answer>` counts before boxes
boxed   prompts that ask for a box: nothing else counts
mcq     multiple choice: letters, in any of these forms
"""


def options_named(names: str) -> GradeOptions:
    """Build the options of a preset, or of several joined by `+`.

    Later presets win; one that is named twice, or forgives what another has no use for, is an
    error. Where two say where the answer stands, the markers of both count, the first
    preset's first, and a box counts first only if it does so in the first.

    >>> options_named("dapo+math") == options_named("math+dapo") == options_named("dapo")
    True
    >>> options_named("boxed+math").markers, options_named("dapo+boxed").boxes
    ((), 'last')

    Raises:
        ConfigError: There is no such preset, or those named contradict each other.
    """
    return _named(names)


@lru_cache(maxsize=64)
def _named(names: str) -> GradeOptions:
    changes: dict[str, Any] = {}
    given = names.split("+")
    for name in given:
        if given.count(name) > 1 and name in _CHANGES:
            raise ConfigError(
                f"grading must name each preset once, got {shown(names)}; write {name} once"
            )
        if name not in _CHANGES:
            raise ConfigError(
                f"grading must be a preset, or several joined by +, got {shown(names)}"
                f"{did_you_mean(name, _CHANGES)}"
            )
        own = dict(_CHANGES[name])
        if "markers" in own and "markers" in changes:
            joined = (*changes["markers"], *own["markers"])
            own |= {"markers": tuple(dict.fromkeys(joined)), "boxes": changes["boxes"]}
        changes |= own
    if "mcq" in given and "math" in given:
        raise ConfigError(
            f"grading must be for choices or for values, got {shown(names)}; a letter has no "
            f"percent sign: write {'+'.join(name for name in given if name != 'math')}"
        )
    return GradeOptions(**changes)


def read_options(given: object) -> GradeOptions:
    """Build options from presets' names or from fields; return options as they are.

    >>> read_options({"boxes": "never"}).boxes, read_options("boxed").markers
    ('never', ())

    Raises:
        ConfigError: There is no such preset or field, or a value is of another type or out of its
            range.
    """
    if isinstance(given, GradeOptions):
        return given
    if isinstance(given, str):
        return options_named(given)
    if not isinstance(given, Mapping):
        raise ConfigError(
            f"grading must be a preset's name, GradeOptions or its fields, got {shown(given)}; "
            "for example 'math'"
        )
    chosen = cast("Mapping[str, Any]", given)
    known = [item.name for item in fields(GradeOptions)]
    for name in chosen:
        if name not in known:
            raise ConfigError(f"GradeOptions has no field {name!r}{did_you_mean(str(name), known)}")
    return GradeOptions(**chosen)


PRESETS: Mapping[str, Callable[[], GradeOptions]] = {
    name: partial(options_named, name) for name in _CHANGES
}
"""Name on the command line -> function that builds the options."""
