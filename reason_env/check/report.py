"""What a check says: passed, failed or not made, and why. `made` runs one and writes it down."""

from collections.abc import Callable
from dataclasses import dataclass

from reason_env.errors import ReasonEnvError, shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What one check found."""

    name: str
    passed: bool | None
    """None if it could not be made."""
    detail: str = ""
    """What failed first, or why nothing was done; empty if passed."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """All checks of one environment."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether no check failed; skipped ones do not count."""
        return all(check.passed is not False for check in self.checks)

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        """(name, "ok", "FAILED" or "skipped", detail) of each, for a table."""
        words = {True: "ok", False: "FAILED", None: "skipped"}
        return [(check.name, words[check.passed], check.detail) for check in self.checks]


class FailedCheckError(Exception):
    """A check found something; the message says what."""


def made(name: str, run: Callable[[], str | None]) -> Check:
    """Runs a check: it returns why it was skipped, or None; it raises where it found something."""
    try:
        skipped = run()
    except (FailedCheckError, AssertionError, ReasonEnvError) as error:
        return Check(name=name, passed=False, detail=shown(str(error))[1:-1])
    return Check(name=name, passed=None if skipped else True, detail=skipped or "")


def need(holds: bool, message: str) -> None:
    """Raises what `made` writes down, unless it holds."""
    if not holds:
        raise FailedCheckError(message)
