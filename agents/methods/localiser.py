r"""Who names the first wrong step of a failed chain, and how a reply that names one is read.

    self     the policy is asked, shown the numbered steps; its reply is not trained
    checker  the problem family's step checker
    random   a uniform draw (a control; only where a method offers it)

Source: the localisation of SRPO, arXiv 2605.25507, and its released code
(github.com/Ankur-Samanta/SRPO, commit 67f4a26). The question's words are the template's.
"""

import re
from collections.abc import Sequence
from typing import Literal, Protocol

from reason_env.agents.methods.pipeline import BASE
from reason_env.agents.methods.protocol import check_names
from reason_env.agents.rollout import Group, Start, Trajectory
from reason_env.errors import ConfigError
from reason_env.problem import StepChecker
from reason_env.state import ReasonState, last_cut, localisation_guidance

Localiser = Literal["self", "checker", "random"]
_BOX = "\\boxed{"
_STEP = re.compile(r"[Ss]tep\s+(\d+)")
MAX_DIGITS = 6
"""Longer numbers are no step, as in the release, in which Python refuses to convert them."""


class LocaliserNumbers(Protocol):
    """The fields of a method's config that a localisation reads."""

    @property
    def localiser(self) -> str: ...
    @property
    def localiser_temperature(self) -> float: ...
    @property
    def max_localiser_tokens(self) -> int: ...
    @property
    def question(self) -> str | None: ...


def check_localiser(config: LocaliserNumbers, known: Sequence[str]) -> None:
    """Check the fields of a config.

    Raises:
        ConfigError: The localiser is none of the known ones, or a number is out of range.
    """
    check_names(config, {"localiser": known})
    if not config.localiser_temperature >= 0:
        raise ConfigError(
            f"localiser_temperature must be at least 0, got {config.localiser_temperature!r}"
        )
    if config.max_localiser_tokens < 1:
        raise ConfigError(
            f"max_localiser_tokens must be at least 1, got {config.max_localiser_tokens!r}"
        )


def check_step_checker(config: LocaliserNumbers, checker: StepChecker | None) -> None:
    """Check that the localiser "checker" has one.

    Raises:
        ConfigError: The problems have no step checker.
    """
    if config.localiser == "checker" and checker is None:
        raise ConfigError(
            "localiser 'checker' must have problems with a step checker, got none; use a "
            "built-in family, or localiser 'self'"
        )


def failed_chains(group: Group) -> list[Trajectory]:
    """List the wrong episodes from a problem that have a step."""
    return [
        item
        for item in group.graded
        if item.start.role == BASE and not item.is_success and item.final_state.num_steps
    ]


def chain_key(item: Trajectory, role: str) -> str:
    """Name the group of a role that belongs to a chain, such as the reply about it."""
    return f"{item.start.group}/{role}/{item.trajectory_id}"


def localisation_start(
    source: Trajectory, config: LocaliserNumbers, *, asking: ReasonState, group: str, role: str
) -> Start:
    """Ask the policy for the first wrong step of a chain.

    Args:
        source: The failed chain.
        config: Words, temperature and length.
        asking: The empty response under the prompt that asks, before the numbered steps are added.
        group: Key of the reply's group.
        role: Of the reply.
    """
    state = asking.with_guidance(localisation_guidance(source.final_state.steps, config.question))
    return Start(
        state=state,
        num_samples=1,
        learn_from=state,
        group=group,
        role=role,
        draw=source.start.draw,
        is_auxiliary=True,
        temperature=config.localiser_temperature,
        max_new_tokens=config.max_localiser_tokens,
    )


def steps_before_error(
    chain: ReasonState,
    config: LocaliserNumbers,
    checker: StepChecker | None,
    reply: Group | None,
) -> int:
    """Count the steps of a failed chain before the first one that is called wrong.

    Args:
        chain: It has a step.
        config: Names the localiser, "self" or "checker".
        checker: Of the problems; read by "checker" alone.
        reply: The policy's; None if it was not asked, and then the first step is wrong.
    """
    if config.localiser == "checker":
        assert checker is not None, "checked at construction"
        return min(checked_step(chain, checker) - 1, last_cut(chain))
    return 0 if reply is None else replied_step(chain, reply) - 1


def replied_step(chain: ReasonState, reply: Group) -> int:
    """Return the 1-based step that a reply names in a chain; 1 if it names none."""
    return named_step(reply.trajectories[0].reply, chain.num_steps)


def checked_step(chain: ReasonState, checker: StepChecker) -> int:
    """Return the first wrong step by the checker, from 1; the last step if it finds none wrong."""
    wrong = checker(chain.problem, chain.steps)
    return chain.num_steps if wrong is None else wrong


def named_step(reply: str, num_steps: int) -> int:
    r"""Return the 1-based step that a reply names; 1 if it names none of the chain's steps.

    The last box decides if it holds a step of the chain or 0 ("no error", read as 1); else the last
    "Step N" does, if N is a step of the chain. Neither is searched for an earlier valid one, and a
    number out of range is not clipped: clipped to the last step, the reset would keep the error.

    Source: `_parse_error_step` of the released code, and the limits that its caller applies.

    >>> named_step(r"Step 2 is fine. \boxed{3}", 5), named_step(r"\boxed{9}", 5)
    (3, 1)
    >>> named_step(r"Step 3. \boxed{9}", 5), named_step(r"\boxed{2} ... \boxed{none}", 5)
    (3, 1)
    """
    return step_in_reply(reply, num_steps) or 1


def step_in_reply(reply: str, num_steps: int) -> int | None:
    r"""Return the step that a reply names, as `named_step` reads it; None if it names none.

    >>> step_in_reply(r"\boxed{1}", 5), step_in_reply(r"\boxed{0}", 5), step_in_reply("Step 9", 5)
    (1, None, None)
    """
    # Not the extraction rule of answers: a reply may quote the chain's own `####` line, and it is
    # read to its end although the environment's response ends with the first answer.
    boxed = _integer(_last_box(reply))
    if boxed == 0:
        return None
    if boxed is not None and 1 <= boxed <= num_steps:
        return boxed
    mentioned = _STEP.findall(reply)
    step = _integer(mentioned[-1]) if mentioned else None
    return step if step is not None and 1 <= step <= num_steps else None


def _last_box(text: str) -> str:
    r"""Return what the last `\boxed{` holds, with balanced braces; "" if there is none."""
    begin = text.rfind(_BOX)
    depth = 1 if begin >= 0 else 0
    inside = text[begin + len(_BOX) :]
    for at, character in enumerate(inside if depth else ""):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            return inside[:at].strip()
    return ""


def _integer(text: str) -> int | None:
    """Read a decimal integer with an optional sign; None if the text is none."""
    return int(text) if re.fullmatch(rf"[+-]?\d{{1,{MAX_DIGITS}}}", text) else None
