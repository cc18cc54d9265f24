"""`reason-env methods [NAME]`: the table of methods, or one row with its numbers and its paper.

Everything comes from the registry, the configs and the methods' rows; `docs/methods.md` holds what
`--format markdown` prints.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast, get_args

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from reason_env.agents.cpi import CPI_COLUMNS, CPI_ROW, CPIConfig
from reason_env.agents.methods import (
    COLUMNS,
    UNSAID,
    Columns,
    PaperNumber,
    Row,
    check_names,
    columns_of,
    method_config,
    method_names,
    numbers_of,
    own_numbers,
    row_of,
    sb3_names,
)
from reason_env.agents.train import TrainConfig
from reason_env.cli.flags import HELP_FLAGS, Arguments, leading, out, parsed
from reason_env.errors import ConfigError

Format = Literal["table", "markdown", "json"]
CPI = "cpi"


@dataclass(frozen=True, kw_only=True)
class Methods:
    """Show the table of methods: where episodes begin, what is shown, trained, and how."""

    format: Format = "table"
    """table, markdown (what docs/methods.md holds), or json."""

    def __post_init__(self) -> None:
        check_names(self, {"format": get_args(Format)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One method with everything that is shown of it."""

    columns: Columns
    row: Row
    about: str
    """The docstring of the method's module: formulas and sources."""
    defaults: dict[str, object]
    """Every number of the method."""
    numbers: list[PaperNumber]
    """Those that the paper is known to give or not to give."""
    run_numbers: list[PaperNumber]
    """The same of the run's config."""

    def to_dict(self) -> dict[str, Any]:
        """Convert the method to a JSON-able dict."""
        shown = [asdict(number) for number in (*self.numbers, *self.run_numbers)]
        return {
            **asdict(self.columns),
            "paper": self.row.paper,
            "result": self.row.result,
            "defaults": self.defaults,
            "paper_numbers": shown,
            "differences": list(self.row.differences),
        }


def run(words: Arguments) -> None:
    """Show the table, or the methods that the words before the flags name."""
    if list(words) in HELP_FLAGS:
        parsed(Methods, words, prog="methods [METHOD]")
        return
    names = leading(words)
    options = parsed(Methods, words[len(names) :], prog="methods [METHOD]")
    if names:
        found = [method_named(part) for name in names for part in name.split("+")]
        together = [columns_of(method_config(name)) for name in names if "+" in name]
        _show_methods(found, together, options.format)
        return
    methods, broken = every_method()
    if options.format == "json":
        out.print_json(json.dumps([item.to_dict() for item in methods], default=str))
    elif options.format == "markdown":
        sys.stdout.write(markdown(methods))
    else:
        out.print(_table([item.columns for item in methods]))
    for line in broken:
        out.print(Text(line))


def every_method() -> tuple[list[Method], list[str]]:
    """Describe all methods, and say in a line each which packages fail to load."""
    found: list[Method] = []
    broken: list[str] = []
    for name in (*method_names(), CPI, *sb3_names()):
        try:
            found.append(method_named(name))
        except ConfigError as error:
            broken.append(f"not shown: {error}")
    return found, broken


def method_named(name: str) -> Method:
    """Describe one method.

    Raises:
        UnknownNameError: There is no method of that name.
        ConfigError: Its package fails to load.
    """
    if name == CPI:
        config: Any = CPIConfig()
        defaults = own_numbers(config)
        columns, row, module = CPI_COLUMNS, CPI_ROW, "reason_env.agents.cpi.update"
    else:
        config = method_config(name)
        defaults = own_numbers(config)
        columns, row, module = columns_of(config), row_of(config), type(config).__module__
    return Method(
        columns=columns,
        row=row,
        about=(sys.modules[module].__doc__ or "").strip(),
        defaults=defaults,
        numbers=numbers_of(config, row.numbers),
        run_numbers=numbers_of(TrainConfig(), row.run_numbers),
    )


def markdown(methods: Sequence[Method]) -> str:
    """Write what docs/methods.md holds: the table, numbers next to the papers', differences."""
    lines = [
        f"| method | {' | '.join(COLUMNS.values())} |",
        "|" + "---|" * (len(COLUMNS) + 1),
    ]
    for item in methods:
        cells = [getattr(item.columns, name) for name in COLUMNS]
        lines.append(f"| `{item.columns.method}` | {' | '.join(map(_escaped, cells))} |")
    lines += [
        "",
        "### Numbers",
        "",
        "| method | field | default | the paper |",
        "|---|---|---|---|",
    ]
    for item in methods:
        shown = [number for number in item.numbers if number.differs or number.is_unsaid]
        for number in (*shown, *(own for own in item.run_numbers if own.differs)):
            default = _escaped(_value(number.default))
            paper = _escaped(_value(number.paper))
            lines.append(f"| `{item.columns.method}` | `{number.field}` | {default} | {paper} |")
    lines += ["", "### Differences from the papers", ""]
    owners: dict[str, str] = {}
    for item in methods:
        own = [text for text in item.row.differences if text not in owners]
        shared = dict.fromkeys(owners[text] for text in item.row.differences if text in owners)
        if own or shared:
            lines.append(f"* `{item.columns.method}`:")
            lines += [f"    * those of `{name}`" for name in shared]
            lines += [f"    * {text}" for text in own]
        owners |= dict.fromkeys(own, item.columns.method)
    return "\n".join(lines) + "\n"


def _show_methods(found: Sequence[Method], together: Sequence[Columns], form: Format) -> None:
    if form == "json":
        out.print_json(json.dumps([item.to_dict() for item in found], default=str))
        return
    if form == "markdown":
        sys.stdout.write(markdown(found))
        return
    for item in found:
        out.print(Text(_one(item)))
    if together:
        out.print(_table(together))


def _one(item: Method) -> str:
    """Write one method as text: its columns, its formulas, its numbers and its paper."""
    columns, row = item.columns, item.row
    lines = [
        columns.method,
        "",
        *(f"  {title:<30} {getattr(columns, name)}" for name, title in COLUMNS.items()),
        *(["", f"  paper: {row.paper}"] if row.paper else []),
        *([f"  result: {row.result}"] if row.result else []),
        "",
        *(f"  {line}".rstrip() for line in item.about.splitlines()),
        "",
        "  numbers (the default; the paper's where it is another, or not given)",
    ]
    by_field = {number.field: number for number in item.numbers}
    for name, default in item.defaults.items():
        lines.append(_number_line(name, default, by_field.get(name)))
    rest = [number for number in item.numbers if number.field not in item.defaults]
    for number in (*rest, *item.run_numbers):
        lines.append(_number_line(number.field, number.default, number))
    if row.differences:
        lines += ["", "  differences from the paper"]
        lines += [f"  - {text}" for text in row.differences]
    lines += ["", f"  reason-env train {columns.method} --problems chain --model base", ""]
    return "\n".join(lines)


def _number_line(name: str, default: object, number: PaperNumber | None) -> str:
    line = f"    {name:<30} {_value(default)}"
    if number is None or not (number.differs or number.is_unsaid):
        return line
    paper = UNSAID if number.is_unsaid else _value(number.paper)
    return f"{line:<56}  paper: {paper}"


def _value(value: object) -> str:
    """Write a number as a person does.

    >>> _value(5e-05), _value(("a", "b")), _value(None), _value("")
    ('5e-05', 'a, b', 'none', 'empty')
    """
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return ", ".join(map(str, cast("tuple[object, ...]", value)))
    return str(value) or "empty"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _table(rows: Sequence[Columns]) -> Table:
    table = Table(box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("method", *COLUMNS.values()):
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(Text(row.method), *(Text(getattr(row, name)) for name in COLUMNS))
    return table
