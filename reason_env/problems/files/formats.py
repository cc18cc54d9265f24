"""Reads a file as a table: JSON Lines, JSON, CSV, TSV and Parquet, also compressed with gzip.

A `.json` or `.jsonl` file holds an object a line, an array of objects, or one object: a problem, a
wrapper whose only list of objects holds the rows (`{"data": [...]}`), rows by their ids
(`{"a1": {...}}`), or columns (`{"question": [...], "answer": [...]}`, also by row as pandas writes
them). A row that is a list of messages becomes a row with the column `messages`. Text is UTF-8,
with or without a byte order mark, or UTF-16 with one. The first line of a CSV file names its
columns.

Messages name a row of lines by its line number from 1 (in CSV, where it begins), every other row by
its index from 0. Blank lines are skipped.
"""

import codecs
import contextlib
import csv
import gzip
import io
import itertools
import json
import zlib
from collections.abc import Generator, Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import IO, Any, cast

from reason_env.errors import ProblemError, shown
from reason_env.problems.files.chat import is_message
from reason_env.problems.files.table import Table, as_list, as_mapping, table_of

_PLAIN_SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".ndjson")
SUFFIXES = (*_PLAIN_SUFFIXES, *(f"{suffix}.gz" for suffix in _PLAIN_SUFFIXES))
"""Endings of the files that are read."""
LISTED = f"{', '.join(_PLAIN_SUFFIXES)}, each also with .gz"
"""Those endings in a message."""
_GZIP = b"\x1f\x8b"
"""The first bytes of a file that gzip compressed, whatever its name."""
MAX_CELL = 2**26
"""Characters of a CSV cell; the csv module's own limit, 131,072, is less than some solutions."""
MAX_LINE = 2**28
"""Bytes of a line; a longer one is no problem, and would fill the memory."""
MOST_UNPACKED = 100
"""Most bytes that one byte of a compressed file may stand for; text has 2 to 30."""
ROOM = 2**26
"""Bytes, and rows of Parquet times 64, that any file may unpack to."""
_PARQUET_ROWS = 64
"""Rows of Parquet that are unpacked at once."""
_DELIMITERS = ",;\t|"


def suffix_of(file: Path) -> str:
    """Give the ending of a file that `SUFFIXES` knows, or "".

    >>> suffix_of(Path("a/train.jsonl.gz")), suffix_of(Path("x.PARQUET")), suffix_of(Path("x.txt"))
    ('.jsonl.gz', '.parquet', '')
    """
    name = file.name.lower()
    return max((suffix for suffix in SUFFIXES if name.endswith(suffix)), key=len, default="")


def stem_of(file: Path) -> str:
    """Give the name of a file without the ending that `SUFFIXES` knows.

    >>> stem_of(Path("a/train.jsonl.gz"))
    'train'
    """
    return file.name[: len(file.name) - len(suffix_of(file))] or file.name


def read_table(file: Path, limit: int | None) -> Table:
    """Read the first `limit` rows of a file, or all.

    Raises:
        ProblemError: The file is damaged, or in another form than its ending says; the message
            names file and row.
    """
    suffix = suffix_of(file)
    try:
        with _opened(file) as data:
            if suffix.startswith(".parquet"):
                return _read_parquet(file, data, limit)
            if suffix.startswith((".csv", ".tsv")):
                return _read_cells(file, data, limit, is_tabs=suffix.startswith(".tsv"))
            return _read_json(file, data, limit)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ProblemError(
            f"{file} must be a readable gzip file, got {error}; compress it again"
        ) from error
    except OSError as error:
        raise ProblemError(
            f"problem file must be readable, got {error}; check its permissions"
        ) from error


@contextlib.contextmanager
def _opened(file: Path) -> Generator[IO[bytes]]:
    """Open a file for its bytes, without compression and, if it is UTF-16, as UTF-8."""
    with file.open("rb") as raw:
        is_zipped = raw.read(2) == _GZIP or file.name.lower().endswith(".gz")
    if is_zipped:
        _check_unpacked(file)
    with gzip.open(file) if is_zipped else file.open("rb") as opened:
        data = cast("IO[bytes]", opened)
        mark = data.read(2)
        data.seek(0)
        if mark not in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            yield data
            return
        try:
            text = data.read().decode("utf-16")
        except UnicodeDecodeError as error:
            raise ProblemError(_not_utf8(str(file), mark)) from error
    yield io.BytesIO(text.encode())


def _check_unpacked(file: Path) -> None:
    """Raise if a gzip file unpacks to so much that it must be meant to fill the memory."""
    most = _most_unpacked(file)
    read = 0
    with gzip.open(file) as data:
        while part := data.read(2**20):
            read += len(part)
            if read > most:
                raise _bomb(file, f"more than {most:,} bytes")


def _most_unpacked(file: Path) -> int:
    return MOST_UNPACKED * file.stat().st_size + ROOM


def _bomb(file: Path, unpacked: str) -> ProblemError:
    return ProblemError(
        f"{file} must unpack to at most {MOST_UNPACKED} times its size, got {unpacked} of "
        f"{file.stat().st_size:,}; unpack it yourself if you trust it"
    )


def _lines(data: IO[bytes]) -> Generator[bytes]:
    """Read lines up to `MAX_LINE` bytes.

    Raises:
        ProblemError: One is longer.
    """
    while line := data.readline(MAX_LINE + 1):
        if len(line) > MAX_LINE:
            raise ProblemError(
                f"a line of a problem file must have at most {MAX_LINE:,} bytes, got more, which "
                f"begin with {shown(line[:60])}; write one problem a line"
            )
        yield line


def _not_utf8(where: str, data: bytes) -> str:
    return f"{where} must be text in UTF-8, got {shown(data, 60)}; save the file again as UTF-8"


def _read_json(file: Path, data: IO[bytes], limit: int | None) -> Table:
    lines = _lines(data)
    before = _up_to_text(lines)
    first = before[-1] if before else b""
    value = _value(first)
    if isinstance(value, dict) or not first.strip():
        table = _read_lines(file, itertools.chain(before, lines), limit)
        # With a limit of 1, another line shows that the first is a problem and no wrapper.
        is_one = len(table.rows) == 1 and not any(line.strip() for line in lines)
        return _unwrapped(file, table, limit) if is_one else table
    rest = data.read()
    if isinstance(value, list) and rest.strip():
        split = rest.splitlines(keepends=True)
        return _read_lines(file, itertools.chain(before, split), limit)
    return _read_whole(file, first, rest, limit)


def _up_to_text(lines: Iterable[bytes]) -> list[bytes]:
    """Read the lines up to the first that has text."""
    read: list[bytes] = []
    for line in lines:
        read.append(line)
        if line.decode("utf-8-sig", "replace").strip():
            break
    return read


def _value(text: bytes) -> object:
    """Parse JSON; None if it is none."""
    try:
        return json.loads(text.decode("utf-8-sig"), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None


def _read_whole(file: Path, first: bytes, rest: bytes, limit: int | None) -> Table:
    """Read a file that is one JSON value over several lines, or an array on one."""
    try:
        value: object = json.loads((first + rest).decode("utf-8-sig"), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise ProblemError(_not_utf8(str(file), first + rest)) from error
    except (ValueError, RecursionError) as error:
        if suffix_of(file).startswith((".jsonl", ".ndjson")):
            _line(first, f"{file} line 1")
        raise ProblemError(
            f"{file} must be one JSON object per line, an array of objects or one object, in "
            f"UTF-8, got {shown(first.strip())} at its beginning; {error}"
        ) from error
    items = as_list(value)
    items = [value] if items is None else items
    places = [f"row {index}" for index in range(len(items))]
    rows = [_row(item, f"{file} {at}") for item, at in zip(items, places, strict=True)]
    return _unwrapped(file, _table(file, rows[:limit], places[:limit]), limit)


def _unwrapped(file: Path, table: Table, limit: int | None) -> Table:
    """Take the rows out of an only object that holds them in a list, by id or as columns."""
    if len(table.rows) != 1:
        return table
    rows = _rows_of(file, table.rows[0])
    if rows == [table.rows[0]]:
        return table
    return _table(file, rows[:limit], [f"row {index}" for index in range(len(rows))][:limit])


def _rows_of(file: Path, held: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    wrapped = {key: value for key, value in held.items() if _is_rows(value)}
    if len(wrapped) > 1:
        raise ProblemError(
            f"{file} must hold one list of rows, got {', '.join(wrapped)}; write each to its own "
            "file"
        )
    if wrapped:
        return next(iter(wrapped.values()))
    objects = [item for item in map(as_mapping, held.values()) if item is not None]
    columns: Mapping[str, Any] = held
    if len(objects) == len(held) >= 1:
        indices = list(objects[0])
        if indices and all(index.isdigit() for index in indices):
            # As pandas writes a frame: each column maps row numbers to cells.
            columns = {name: list(cells.values()) for name, cells in held.items()}
        elif set(held).isdisjoint(_CELLS):
            return list(objects)
    lists = [items for items in map(as_list, columns.values()) if items is not None]
    is_frame = len(lists) == len(held) >= 2 and len({len(cells) for cells in lists}) == 1
    if not is_frame or any(cells and as_mapping(cells[0]) is not None for cells in lists):
        return [held]
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*lists, strict=True)]


_CELLS = ("prompt", "messages", "reward_model", "extra_info", "question", "answer")
"""Columns that hold objects in a row."""


def _is_rows(value: object) -> bool:
    """Whether a value is a list of objects that are no messages of a chat."""
    items = as_list(value) or []
    objects = [cast("dict[str, object]", item) for item in items if isinstance(item, dict)]
    return bool(objects) and len(objects) == len(items) and not is_message(objects[0])


def _read_lines(file: Path, lines: Iterable[bytes], limit: int | None) -> Table:
    rows: list[dict[str, Any]] = []
    places: list[str] = []
    for number, line in enumerate(lines, start=1):
        if line.decode("utf-8-sig", "replace").strip():
            rows.append(_line(line, f"{file} line {number}"))
            places.append(f"line {number}")
        if len(rows) == limit:
            break
    return _table(file, rows, places)


def _line(line: bytes, where: str) -> dict[str, Any]:
    try:
        row: object = json.loads(line.decode("utf-8-sig"), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise ProblemError(_not_utf8(f"{where}:", line)) from error
    except (ValueError, RecursionError) as error:
        raise ProblemError(
            f"{where}: must be one JSON object in UTF-8, got {shown(line)}; {error}"
        ) from error
    return _row(row, where)


def _row(row: object, where: str) -> dict[str, Any]:
    if isinstance(row, dict):
        return cast("dict[str, Any]", row)
    items = as_list(row)
    if items and is_message(items[0]):
        return {"messages": items}
    raise ProblemError(
        f"{where}: must be one JSON object, got {shown(row)}; write each problem as {{...}}"
    )


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _read_cells(file: Path, data: IO[bytes], limit: int | None, *, is_tabs: bool) -> Table:
    text = io.TextIOWrapper(data, encoding="utf-8-sig", newline="")
    before = csv.field_size_limit(MAX_CELL)
    try:
        begin = text.readline(MAX_CELL)
        while begin and not begin.strip():
            begin = text.readline(MAX_CELL)
        delimiter = "\t" if is_tabs else max(_DELIMITERS, key=begin.count)
        text.seek(0)
        cells = csv.reader(text, delimiter=delimiter, strict=True)
        return _table(file, *_records(file, cells, limit))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ProblemError(
            f"{file} must be CSV in UTF-8, got {error}; save it again as UTF-8, with quotes around "
            "cells that hold quotes, commas or line breaks"
        ) from error
    finally:
        csv.field_size_limit(before)
        text.detach()


def _records(file: Path, cells: Any, limit: int | None) -> tuple[list[dict[str, Any]], list[str]]:
    """Read rows and places from a csv reader."""
    header: list[str] = []
    rows: list[dict[str, Any]] = []
    places: list[str] = []
    begin = 1
    for record in cells:
        line, begin = begin, cells.line_num + 1
        if not any(cell.strip() for cell in record):
            continue
        if not header:
            header = [name.strip() for name in record]
            twice = sorted({name for name in header if header.count(name) > 1})
            if twice:
                raise ProblemError(
                    f"{file} line {line}: names of columns must be unique, got {twice[0]!r} twice; "
                    "a CSV file begins with a line of names"
                )
            continue
        if len(record) != len(header):
            raise ProblemError(
                f"{file} line {line}: must have {len(header)} cells as the first line has, got "
                f"{len(record)}; put quotes around cells that hold commas"
            )
        rows.append(dict(zip(header, record, strict=True)))
        places.append(f"line {line}")
        if len(rows) == limit:
            break
    return rows, places


def _read_parquet(file: Path, data: IO[bytes], limit: int | None) -> Table:
    try:
        # Imported by name as Any, because the library has no types.
        pyarrow: Any = import_module("pyarrow")
        parquet: Any = import_module("pyarrow.parquet")
    except ImportError as error:
        raise ProblemError(
            f"{file} must have pyarrow to be read, got {error}; "
            "install the extra: pip install 'reason-env[data]'"
        ) from error
    rows: list[dict[str, Any]] = []
    columns: tuple[str, ...]
    try:
        # pyarrow seeks, which is slow in a compressed stream.
        source = io.BytesIO(data.read()) if isinstance(data, gzip.GzipFile) else data
        with parquet.ParquetFile(source) as table:
            columns = tuple(table.schema_arrow.names)
            most, unpacked = _most_unpacked(file), 0
            if table.metadata.num_rows > most // _PARQUET_ROWS:
                raise _bomb(file, f"{table.metadata.num_rows:,} rows")
            for batch in table.iter_batches(batch_size=_PARQUET_ROWS):
                added: list[dict[str, Any]] = batch.to_pylist()
                # Cells may share one text in the file, and are copies of it here.
                unpacked += batch.nbytes + sum(
                    len(cell) for row in added for cell in row.values() if isinstance(cell, str)
                )
                if unpacked > most:
                    raise _bomb(file, f"more than {most:,} bytes")
                rows += added
                if limit is not None and len(rows) >= limit:
                    break
    except (pyarrow.ArrowException, OSError) as error:
        raise ProblemError(
            f"{file} must be a readable Parquet file, got {shown(str(error))}; write it again"
        ) from error
    rows = rows[:limit]
    return _table(file, rows, [f"row {index}" for index in range(len(rows))], columns)


def _table(
    file: Path,
    rows: Sequence[Mapping[str, Any]],
    places: list[str],
    columns: tuple[str, ...] | None = None,
) -> Table:
    if columns is None:
        columns = tuple(dict.fromkeys(column for row in rows for column in row))
    return table_of(rows, name=str(file), source=file.name, columns=columns, places=places)
