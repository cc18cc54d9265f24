"""The files of designs, pilots and published rows, and when a design was committed.

    designs/CLAIM_NUMBER.json       a design; the highest number is the current one
    pilots/CLAIM_NUMBER.jsonl       the rows that decided it
    published/CLAIM_NUMBER.jsonl    the design's rows, one line a run, in the order of seeds; seeds
                                    that are not run yet are missing
    published/CLAIM_gates.json      what the gates of the claim's plan measured

A design is older than its runs if the commit that gave its file the present content was made before
the first of them began. The date is the author's, which a rebase keeps.
"""

import json
import shutil
import subprocess
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from benchmarks.claims.design import Design, read_design
from benchmarks.claims.gates import Precondition
from benchmarks.claims.rows import Row, check_rows, in_order, read_rows, whole_seeds, write_rows
from reason_env.agents.runs import config_json, write_text
from reason_env.errors import ConfigError

ROOM = Path(__file__).parent
DESIGNS, PILOTS, PUBLISHED = (ROOM / name for name in ("designs", "pilots", "published"))


def numbers(claim: str) -> list[int]:
    """List the numbers of a claim's designs, in order."""
    found = [file.stem.rpartition("_") for file in DESIGNS.glob("*.json")]
    return sorted(int(number) for name, _, number in found if name == claim)


def design_file(claim: str, number: int) -> Path:
    """Return the file of a design."""
    return DESIGNS / f"{claim}_{number}.json"


def current(claim: str) -> tuple[int, Design] | None:
    """Read the current design of a claim; None if it has none."""
    known = numbers(claim)
    return (known[-1], read_design(design_file(claim, known[-1]))) if known else None


def add_design(design: Design, pilot: Sequence[Row]) -> Path:
    """Write a design with the next number, and the rows of its pilot; return its file."""
    number = max(numbers(design.claim), default=0) + 1
    file = design_file(design.claim, number)
    for folder in (DESIGNS, PILOTS):
        folder.mkdir(exist_ok=True)
    write_rows(PILOTS / f"{design.claim}_{number}.jsonl", in_order(pilot))
    write_text(file, config_json.dump(design) + "\n")
    return file


def published(claim: str, number: int) -> list[Row]:
    """Read the published rows of a design; none if there are none."""
    return read_rows(PUBLISHED / f"{claim}_{number}.jsonl")


def published_gates(claim: str) -> Precondition | None:
    """Read what the gates of a claim's plan measured; None if that is not published."""
    file = PUBLISHED / f"{claim}_gates.json"
    if not file.is_file():
        return None
    return Precondition.from_dict(json.loads(file.read_text(encoding="utf-8")))


def publish_gates(claim: str, found: Precondition) -> None:
    """Write what the gates measured."""
    PUBLISHED.mkdir(exist_ok=True)
    text = json.dumps(found.to_dict(), indent=2) + "\n"
    write_text(PUBLISHED / f"{claim}_gates.json", text)


def publish(design: Design, number: int, found: Sequence[Row]) -> None:
    """Write the rows of a design's whole seeds.

    Raises:
        ConfigError: They are not those of the design, or the design is not older than they are.
    """
    seeds = whole_seeds(design, found)
    whole = [row for row in found if row["seed"] in seeds]
    if whole:
        check_rows(design, whole)
        check_older(design_file(design.claim, number), [row["started"] for row in whole])
        PUBLISHED.mkdir(exist_ok=True)
        write_rows(PUBLISHED / f"{design.claim}_{number}.jsonl", in_order(whole))


def committed_at(file: Path) -> datetime | None:
    """Find when the present content of a file was committed; None if it is not committed."""
    if _git(file, "status", "--porcelain", "--", file.name) != "":
        return None
    date = _git(file, "log", "-1", "--format=%aI", "--", file.name)
    return datetime.fromisoformat(date) if date else None


def has_history() -> bool:
    """Whether git and the whole history of this repository are here."""
    return (
        shutil.which("git") is not None
        and _git(Path(__file__), "ls-files", "--error-unmatch", Path(__file__).name) is not None
        and _git(Path(__file__), "rev-parse", "--is-shallow-repository") == "false"
    )


def check_older(file: Path, started: Sequence[str]) -> None:
    """Check that a design was committed before its measurements and runs began.

    Args:
        file: Of the design.
        started: When each began, ISO 8601.

    Raises:
        ConfigError: It was not.
    """
    committed = committed_at(file)
    first = min(map(datetime.fromisoformat, started), default=None)
    if committed is None or (first is not None and committed >= first):
        remedy = (
            "commit it, then run"
            if committed is None
            else "no run that is older counts, nor one that an older design shares: choose other "
            "seeds, and commit the design before they run"
        )
        raise ConfigError(
            f"a design must be committed before its runs, got '{file.name}' "
            f"{'uncommitted' if committed is None else f'of {committed.isoformat()}'} and a run of "
            f"{first.isoformat() if first else 'now'}; {remedy}"
        )


def _git(file: Path, *words: str) -> str | None:
    done = subprocess.run(
        ["git", *words], cwd=file.parent, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else None
