"""Where the map is written: the constants of the probe, and the tables of the page.

    python -m benchmarks.boundary --published --write    # both, from the published rows

Each file has two marks between which the text is replaced; tests keep both equal to the published
rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from benchmarks.boundary.points import Point
from benchmarks.boundary.rule import Boundary
from benchmarks.boundary.sweep import ROOM
from benchmarks.boundary.table import tables
from reason_env.agents.probe.boundary import AXES, BASE, Cell, Threshold
from reason_env.agents.runs import write_text
from reason_env.errors import ConfigError

PROBE = ROOM.parents[1] / "agents" / "probe" / "boundary.py"
PAGE = ROOM.parents[1] / "docs" / "boundary.md"
MARKS = {
    PROBE: ("# The published map: begin\n", "# The published map: end\n"),
    PAGE: ("<!-- The published tables: begin -->\n", "<!-- The published tables: end -->\n"),
}
"""File -> the lines before and after what is written."""
CELLS = '"""Method -> its cells."""'
THRESHOLDS = (
    '"""Method -> the thresholds that decide; a method without one has none that is shown."""'
)


def write(points: Sequence[Point], found: Sequence[Boundary]) -> None:
    """Write the constants of the probe and the tables of the page."""
    _write(PROBE, f"{source(points, found)}\n")
    _write(PAGE, f"\n{tables(points, found)}\n\n")


def replaced(text: str, begin: str, end: str, new: str) -> str:
    """Replace what is between two marks.

    >>> replaced("a<1 2>b", "<", ">", "3")
    'a<3>b'

    Raises:
        ConfigError: A mark is missing, or there twice.
    """
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ConfigError(f"a file must have {begin!r} and {end!r} once each; put them in")
    before, _, rest = text.partition(begin)
    return f"{before}{begin}{new}{end}{rest.partition(end)[2]}"


def cells_of(points: Sequence[Point]) -> dict[str, tuple[Cell, ...]]:
    """Return method -> its cells whose number was measurable, by base success."""
    found: dict[str, list[Cell]] = {}
    for point in points:
        axis = point.value(AXES[point.method])
        base = point.value(BASE)
        if axis is not None and base is not None:
            cell = Cell(point.cell, round(base, 3), round(axis, 3), round(point.difference, 3))
            found.setdefault(point.method, []).append(cell)
    return {
        method: tuple(sorted(found[method], key=lambda cell: (cell.base, cell.name)))
        for method in AXES
        if method in found
    }


def thresholds_of(found: Sequence[Boundary]) -> dict[str, tuple[Threshold, ...]]:
    """Return method -> the thresholds that decide."""
    deciding: dict[str, list[Threshold]] = {}
    for own in found:
        if own.decides:
            numbers = (own.threshold, own.low, own.high, own.below.estimate, own.above.estimate)
            threshold = Threshold(own.figure, *(round(number, 3) for number in numbers))
            deciding.setdefault(own.method, []).append(threshold)
    return {method: tuple(own) for method, own in deciding.items()}


def source(points: Sequence[Point], found: Sequence[Boundary]) -> str:
    """Write both constants as Python."""
    return "\n".join(
        [
            *_mapping("CELLS: Mapping[str, tuple[Cell, ...]]", cells_of(points)),
            CELLS,
            *_mapping("THRESHOLDS: Mapping[str, tuple[Threshold, ...]]", thresholds_of(found)),
            THRESHOLDS,
        ]
    )


def _mapping(name: str, values: Mapping[str, tuple[Cell | Threshold, ...]]) -> list[str]:
    if not values:
        return [f"{name} = MappingProxyType({{}})"]
    lines = [f"{name} = MappingProxyType(", "    {"]
    for method, own in values.items():
        lines += [f'        "{method}": (', *(f"            {_call(one)}," for one in own)]
        lines.append("        ),")
    return [*lines, "    }", ")"]


def _call(value: Cell | Threshold) -> str:
    """Write the call that makes a value, with positional arguments."""
    parts = [getattr(value, own.name) for own in fields(value)]
    shown = ", ".join(f'"{part}"' if isinstance(part, str) else repr(part) for part in parts)
    return f"{type(value).__name__}({shown})"


def _write(file: Path, text: str) -> None:
    write_text(file, replaced(file.read_text(encoding="utf-8"), *MARKS[file], text))
