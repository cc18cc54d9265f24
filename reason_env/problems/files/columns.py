r"""Chooses the columns of a table that hold the fields of problems, by name or by request.

Names are found in any case, without spaces and underscores. Text before a question (`body`,
`context`) and the choices after it (`choices`, `options`, columns A, B, C, ...) are joined to it.
A request is an expression (`reason_env.problems.files.expressions`).
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields

from reason_env.errors import ConfigError, ProblemError, did_you_mean, shown
from reason_env.problem import Problem
from reason_env.problems.files.cells import is_level, is_solution
from reason_env.problems.files.choices import LETTERS
from reason_env.problems.files.expressions import CHOICES, Column, choice_letter, column
from reason_env.problems.files.gsm8k import is_gsm8k_answer
from reason_env.problems.files.table import Table, as_mapping, single

FIELDS: tuple[str, ...] = tuple(field.name for field in fields(Problem))
"""Problem fields to which a column can be mapped."""
FOUND_NAMES: Mapping[str, tuple[str, ...]] = {
    "question": (
        "question", "extra_info.question", "problem", "extra_info.problem", "prompt", "query",
        "sQuestion", "question.stem", "messages", "conversations",
    ),
    "answer": (
        "answer", "final_answer", "reward_model.ground_truth", "ground_truth",
        "verification_info.ground_truth", "expected_answer", "answerKey", "answer_number",
        "lSolutions", "messages.1.ground_truth.value", "solution", "solutions",
    ),
    "solution": ("solution", "extra_info.solution", "extra_info.answer"),
    "level": ("level",),
    "source": ("source",),
    "problem_id": ("problem_id",),
}  # fmt: skip
"""Field -> names of its column that are found without being asked for, the first that exists and
holds a value in some row."""
OTHER_NAMES: dict[str, tuple[str, ...]] = {
    "question": ("input", "instruction", "text"),
    "answer": (
        "final", "target", "label", "gold", "ideal", "result", "reference", "correct",
        "correct_answer", "correct_option", "gt_answer", "cop",
    ),
}  # fmt: skip
"""Names that data sets use for the two fields every problem needs, and for other things too: one is
found only where no other of them exists."""
SUGGESTED: dict[str, tuple[str, ...]] = {"question": ("text", "q"), "answer": ("answers", "a")}
"""Names that a message suggests."""
RESPONSES = ("response", "output", "completion", "generated_solution", "solution", "solutions")
"""Names of texts that state an answer."""
SOLUTIONS = ("solution", "solutions")
"""Plain names of columns that hold solutions in some data sets, and answers in others."""
MAX_SEARCHED = 200
"""Rows that are searched for what a message suggests."""
BEFORE = ("body", "context", "passage")
"""Columns with text that belongs before the question."""
_WRONG = re.compile(r"(?:incorrect|wrong)answers?\d*|distractors?\d*")
"""Plain names of columns with wrong answers."""
_BOX = re.compile(r"\$*\s*\\boxed\s*\{[^\n]{1,80}\}\s*\$*\.?")
"""A text that is nothing but a box."""
_ANSWER = re.compile(r"(?!.*(?:boxed|[a-z]{3,} [a-z]{2,} [a-z]{2,}))[^\n]{1,64}", re.IGNORECASE)
"""A short text without three words in a row: an answer in a column `solution`."""


def chosen_columns(table: Table, mapped: Mapping[str, str]) -> dict[str, Column]:
    """Choose the column of each field: those that are asked for, and others by their names.

    Raises:
        ProblemError: A column does not exist, or there is none for the question or the answer.
        ConfigError: A field does not exist.
    """
    for field, expression in mapped.items():
        if field not in FIELDS:
            turned = field in table.paths and expression in FIELDS
            hint = f"; write the problem's field first: {{{expression!r}: {field!r}}}"
            raise ConfigError(
                f"columns must map problem fields ({', '.join(FIELDS)}) to columns of {table.name} "
                f"({table.listed}), got field {shown(field)}"
                f"{hint if turned else did_you_mean(field, FIELDS)}"
            )
    chosen = found_columns(table)
    chosen |= {field: column(name, table, field) for field, name in mapped.items()}
    used, solution = columns_of(chosen).get("answer"), columns_of(chosen).get("solution")
    if "solution" not in mapped and used is not None and used == solution:
        chosen.pop("solution")
    missing = [field for field in ("question", "answer") if field not in chosen]
    if missing:
        raise ProblemError(
            f"{table.name} must have a column {' and a column '.join(map(repr, missing))}, got "
            f"columns {table.listed}; {_advice(missing, table)}"
        )
    return chosen


def columns_of(columns: Mapping[str, Column]) -> dict[str, str]:
    """Give the expression of each field's column."""
    return {field: one.expression for field, one in columns.items()}


def found_columns(table: Table) -> dict[str, Column]:
    """Find the columns of all fields by their names; a field without one is left out."""
    names = {_plain(path): path for path in reversed(table.paths)}
    found: dict[str, str] = {}
    for field in FOUND_NAMES:
        expression = _found(field, found, table, names)
        if expression:
            found[field] = expression
    if "question" in found:
        found["question"] = _with_context(found["question"], table, names)
    return {field: column(expression, table, field) for field, expression in found.items()}


def _found(field: str, found: Mapping[str, str], table: Table, names: Mapping[str, str]) -> str:
    """Find the expression of one field; "" for none."""
    known = [field] * (field in table.columns)
    known += [names[_plain(name)] for name in FOUND_NAMES[field] if _plain(name) in names]
    known = [path for path in known if not _is_taken(field, path, found, table)]
    if field == "answer" and any(_plain(path) not in SOLUTIONS for path in known):
        known = [path for path in known if _plain(path) not in SOLUTIONS]
    held = next((path for path in known if _holds(path, table)), "")
    if field == "question" and held:
        # verl's extra_info.question is missing in the rows of some sets, the prompt is not.
        held = next(
            (path for path in known if all(_values(path, table)) and _holds(path, table)), held
        )
    if held:
        # A column of nothing but boxes holds answers, and no solutions.
        is_boxes = field == "answer" and _plain(held) in SOLUTIONS and _is_boxes(held, table)
        return f"boxed({held})" if is_boxes else held
    objects = {name for name in map(_plain, FOUND_NAMES[field]) if _has_parts(name, names)}
    others = () if objects else OTHER_NAMES.get(field, ())
    single = [names[_plain(name)] for name in others if _plain(name) in names]
    single = [path for path in dict.fromkeys(single) if _holds(path, table)]
    if len(single) == 1:
        return single[0]
    return next((path for path in known if _plain(path) not in objects), "")


def _holds(path: str, table: Table) -> bool:
    """Whether a column holds a text, a number or a list in some row, and no object in any."""
    values = list(_values(path, table))
    is_object = any(as_mapping(value) is not None for value in values)
    return not is_object and any(value is not None and value not in ("", []) for value in values)


def _has_parts(name: str, names: Mapping[str, str]) -> bool:
    return any(path.startswith(f"{name}.") for path in names) and not _is_chat_name(name, names)


def _is_chat_name(name: str, names: Mapping[str, str]) -> bool:
    return f"{name}.0.content" in names or f"{name}.0.value" in names


def _plain(name: str) -> str:
    """A name without case, spaces and underscores.

    >>> _plain("Final Answer"), _plain("reward_model.Ground_Truth")
    ('finalanswer', 'rewardmodel.groundtruth')
    """
    return re.sub(r"[\s_-]", "", name.lower())


def _is_taken(field: str, path: str, found: Mapping[str, str], table: Table) -> bool:
    """Whether a column of a fitting name holds something else after all."""
    if field == "solution":
        # MATH's solution is a solution; that of DAPO's processed set is the answer.
        answer = found.get("answer", "")
        return (
            answer in (path, f"boxed({path})")
            or not any(map(is_solution, _values(path, table)))
            or (bool(answer) and _are_equal(path, answer, table))
            or (path.lower() == "extra_info.answer" and not _has_solutions(path, table))
        )
    if field == "level":
        return not all(map(is_level, _values(path, table)))
    if field != "answer" or _plain(path) not in SOLUTIONS:
        return False
    return not _has_answers(path, table) and not _is_boxes(path, table)


def _are_equal(path: str, other: str, table: Table) -> bool:
    """Whether two columns hold the same texts or numbers in every row."""
    pairs = zip(_values(path, table), _values(other, table), strict=True)
    return all(str(first).strip() == str(second).strip() for first, second in pairs)


def _has_solutions(path: str, table: Table) -> bool:
    return all(map(is_gsm8k_answer, _values(path, table)))


def _has_answers(path: str, table: Table) -> bool:
    """Whether every value is short enough for an answer."""
    return all(
        isinstance(value, int | float)
        or (isinstance(value, str) and _ANSWER.fullmatch(value.strip()) is not None)
        for value in map(single, _values(path, table))
    )


def _is_boxes(path: str, table: Table) -> bool:
    """Whether every value is a box and nothing else."""
    values = map(single, _values(path, table))
    return all(isinstance(value, str) and _BOX.fullmatch(value.strip()) for value in values)


def _with_context(question: str, table: Table, names: Mapping[str, str]) -> str:
    """Join what belongs before the question, and its choices."""
    before = [names[name] for name in BEFORE if name in names and names[name] != question]
    choices = choices_column(table)
    after = [choices] if choices else []
    after = after or lettered_columns(table)
    before = [path for path in before if _holds(path, table)]
    return "+".join((*before, question, *after))


def choices_column(table: Table) -> str:
    """Give the column with the choices of each question; "" for none."""
    names = {_plain(path): path for path in reversed(table.paths)}
    found = (names[name] for name in CHOICES if name in names)
    return next((path for path in found if any(_values(path, table))), "")


def lettered_columns(table: Table) -> list[str]:
    """Give the columns A, B, C, ... or `option_a`, ... with one choice each; [] for none."""
    found = {choice_letter(name): name for name in reversed(table.columns) if choice_letter(name)}
    letters = list(LETTERS[: len(found)])
    return (
        [found[letter] for letter in letters] if sorted(found) == letters and len(found) > 1 else []
    )


def _values(path: str, table: Table) -> Iterator[object]:
    read = column(path, table, "").read
    return (read(row) for row in table.rows)


def wrong_columns(table: Table) -> list[str]:
    """Give the columns with wrong answers, beside a column with the right one."""
    return sorted(name for name in table.columns if _WRONG.fullmatch(_plain(name)))


def _advice(missing: Sequence[str], table: Table) -> str:
    """Say how to name the columns of the fields that are missing."""
    boxes = _boxes_column(table) if "answer" in missing else ""
    likely = {field: _likely_column(field, table.paths) for field in missing}
    if boxes:
        likely["answer"] = repr(f"boxed({boxes})")
    written = ", ".join(f"{field!r}: {name}" for field, name in likely.items())
    if boxes:
        return f"take it out of the solutions with columns={{{written}}}"
    is_cells = table.source.lower().removesuffix(".gz").endswith((".csv", ".tsv"))
    header = "the first line of a CSV file must name its columns; " if is_cells else ""
    return f"{header}map {'one' if len(missing) == 1 else 'them'} with columns={{{written}}}"


def _boxes_column(table: Table) -> str:
    """Give the column of which some text holds a box, preferably a solution; "" for none."""
    rows = table.rows[:MAX_SEARCHED]
    paths = sorted(table.paths, key=lambda path: _plain(path) not in SOLUTIONS)
    for path in paths:
        read = column(path, table, "answer").read
        values = [single(read(row)) for row in rows]
        is_question = _plain(path) in map(_plain, FOUND_NAMES["question"])
        if not is_question and any(
            isinstance(value, str) and "\\boxed" in value for value in values
        ):
            return path
    return ""


def _likely_column(field: str, columns: Sequence[str]) -> str:
    """Give the column that most likely holds a field, quoted, or NAME.

    >>> _likely_column("question", ["solution", "answer"])
    'NAME'
    >>> _likely_column("question", ["Input", "answer"]), _likely_column("answer", ["anwser"])
    ("'Input'", "'anwser'")
    >>> _likely_column("answer", ["answer", "answer.value"]), _likely_column("answer", ["response"])
    ("'answer.value'", "'stated(response)'")
    """
    names = (field, *OTHER_NAMES[field], *SUGGESTED[field])
    plain = {_plain(name) for name in names}
    parts = [path for path in columns if _plain(path.partition(".")[0]) in plain and "." in path]
    known = parts or [path for path in columns if _plain(path) in plain]
    near = known or difflib.get_close_matches(field, columns, n=1, cutoff=0.8)
    if near:
        return repr(near[0])
    texts = [path for path in columns if _plain(path) in map(_plain, RESPONSES)]
    return repr(f"stated({texts[0]})") if texts and field == "answer" else "NAME"
