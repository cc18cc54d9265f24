# pyright: basic, reportMissingTypeStubs=false, reportMissingImports=false
# reasoning-gym has no complete types, and may not be installed.
"""Generates entries and scores answers with reasoning-gym, in separate processes; runs no answer.

No other module imports reasoning-gym. An entry holds objects that JSON cannot, so processes
exchange a short description (set, level, options, seed, index, and a hash of the question) from
which they generate the entry again. Five of its sets iterate over Python sets of strings while they
draw; therefore these processes run with PYTHONHASHSEED=0, which gives the same entry each time.

The scorers of four of its sets call `eval` on the answer, and those of five `sympy.parse_expr`,
which evaluates too: an answer such as `__import__("os").system(...)` would run. Here `eval` accepts
only literals and `parse_expr` only arithmetic, and an audit hook in the process that scores refuses
everything else.
"""

import ast
import hashlib
import json
import math
import operator
import os
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from importlib import import_module
from typing import Any

from reason_env.verdict import Outcome

BLOCK = 1000
"""Entries of one dataset object; small, because some sets draw all of them at once."""

EVALUATES = (
    "reasoning_gym.algorithmic.binary_matrix",
    "reasoning_gym.algorithmic.number_sorting",
    "reasoning_gym.algorithmic.spiral_matrix",
    "reasoning_gym.algorithmic.string_insertion",
    "reasoning_gym.games.n_queens",
)
"""Modules whose scorer calls `eval` on the answer (number_sorting: on the reference answer)."""
COMPUTES = "reasoning_gym.arithmetic.bitwise_arithmetic"
"""The module whose scorer calls `eval` on the question."""
_INTEGERS = re.compile(r"(?:0x[0-9a-fA-F]++|[0-9]++|<<|>>|[-+*&|^~()\s])*+")

_ARITHMETIC = re.compile(
    r"(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++|(?:a?(?:sin|cos|tan)h?|sec|csc|cot|exp|log|ln|sqrt|Abs|pi|nan|oo"
    r"|[A-Za-z][0-9]*+)(?![A-Za-z0-9_])|[-+*/^(),\s])*+"
)
"""Numbers, one-letter names and usual functions; no attribute, index, string or keyword."""
_UNARY: dict[type[ast.unaryop], Callable[[int], int]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Invert: operator.invert,
}
_BINARY: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
}
_FORBIDDEN = (
    "subprocess.", "socket.", "shutil.", "pty.", "ctypes.", "os.system", "os.exec", "os.fork",
    "os.posix_spawn", "os.spawn", "os.kill", "os.remove", "os.rename", "os.rmdir", "os.mkdir",
    "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown", "os.putenv",
)  # fmt: skip
"""Prefixes of audit events that no scorer needs to cause."""


class UnreadableAnswerError(ValueError):
    """The scorer would evaluate an answer that holds more than arithmetic."""


class _Child:
    """State of this process: whether it scores an answer, and whether it parses arithmetic now."""

    is_scoring = False
    is_reading = False


def warm_up() -> None:
    """Import reasoning-gym, and replace the functions that evaluate answers."""
    import sympy
    from sympy.parsing import sympy_parser

    # Before the import, because its modules import the name.
    guarded = _guarded(sympy_parser.parse_expr)
    sympy.parse_expr = sympy_parser.parse_expr = guarded
    import_module("reasoning_gym")
    for name in EVALUATES:
        import_module(name).__dict__["eval"] = ast.literal_eval
    import_module(COMPUTES).__dict__["eval"] = _computed
    # Sympy imports parts of itself when it first simplifies.
    sympy.simplify(sympy.diff(guarded("x**2*sin(x)/2 + exp(x)")))


@lru_cache(maxsize=256)
def entry_of(description: str) -> tuple[Any, dict[str, Any]]:
    """Generate the entry of a description again; return its dataset and the entry.

    Raises:
        LookupError: This version of reasoning-gym generates another entry.
    """
    data = json.loads(description)
    source = _dataset(
        data["set"],
        data["level"],
        json.dumps(data["options"]),
        data["seed"],
        data["index"] // BLOCK,
    )
    entry = source[data["index"] % BLOCK]
    if question_hash(entry["question"]) != data["question"]:
        raise LookupError("another version of reasoning-gym made this entry")
    return source, entry


def score(answer: str, description: str) -> dict[str, Any]:
    """Score an answer; for a process that ends afterwards, because the audit hook stays.

    A ValueError of the scorer means that it cannot read the answer, which is then incorrect: some
    scorers raise it where others give their lowest score. Other errors are failures of the scorer.
    """
    source, entry = entry_of(description)
    _Child.is_scoring = True
    sys.addaudithook(_audited)
    try:
        value = float(source.score_answer(answer, entry))
    except ValueError as error:
        reason = f"reasoning-gym cannot read it ({type(error).__name__})"
        return {"outcome": Outcome.INCORRECT, "reason": reason}
    if not 0.0 <= value <= 1.0 or math.isnan(value):
        return {"outcome": Outcome.ERROR, "reason": f"reasoning-gym scores {value!r}"}
    outcome = Outcome.CORRECT if value == 1.0 else Outcome.INCORRECT
    return {"outcome": outcome, "reason": f"reasoning-gym scores {value:.4g}", "score": value}


def question_hash(question: str) -> str:
    """Hash a question, which may hold surrogates, to 16 hex digits."""
    return hashlib.sha256(question.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def generate(request: dict[str, Any]) -> dict[str, Any]:
    """Generate rows (question, answer, level, entry) of different questions.

    Args:
        request: set, levels (None, or low and high), options, seed, share (list of the quarters of
            all questions to draw from, 0..3), size.

    Returns:
        `rows` and `num_unsound`, or one key that names what is wrong with the request.
    """
    from reasoning_gym.factory import CURRICULA, DATASETS

    name, levels, size = request["set"], request["levels"], request["size"]
    if name not in DATASETS:
        return {"unknown": sorted(DATASETS)}
    highest = _highest_level(name) if name in CURRICULA else 0
    if levels is not None and not 1 <= levels[0] <= levels[1] <= highest:
        return {"highest": highest}
    rows: dict[str, dict[str, Any]] = {}
    num_unsound = 0
    choices = [None] if levels is None else list(range(levels[0], levels[1] + 1))
    for index in range(20 * size + 200):
        level = choices[len(rows) % len(choices)]
        source = _dataset(
            name, level, json.dumps(request["options"]), request["seed"], index // BLOCK
        )
        entry = source[index % BLOCK]
        question, answer = entry["question"], entry["answer"]
        if not isinstance(answer, str) or not answer.strip():
            return {"answer": repr(answer)}
        digest = question_hash(question)
        if int(digest, 16) % 4 not in request["share"] or question in rows:
            continue
        if source.score_answer(answer.strip(), entry) != 1.0:
            num_unsound += 1
            continue
        description = {
            "set": name,
            "level": level,
            "options": request["options"],
            "seed": request["seed"],
            "index": index,
            "question": digest,
        }
        rows[question] = {
            "question": question,
            "answer": answer,
            "level": level or 0,
            "entry": json.dumps(description, sort_keys=True, separators=(",", ":")),
        }
        if len(rows) == size:
            break
    return {"rows": list(rows.values()), "num_unsound": num_unsound}


@lru_cache(maxsize=64)
def _dataset(name: str, level: int | None, options: str, seed: int, block: int) -> Any:
    from reasoning_gym.factory import DATASETS, create_curriculum, create_dataset

    given = json.loads(options) | {"seed": seed + block * BLOCK, "size": BLOCK}
    if level is None:
        return create_dataset(name, **given)
    curriculum = create_curriculum(name)
    curriculum.set_global_level(level - 1)
    # generate_configuration lets the curriculum override the options; apply them again.
    config = replace(curriculum.generate_configuration(given), **given)
    config.validate()
    return DATASETS[name][0](config=config)


def _highest_level(name: str) -> int:
    from reasoning_gym.factory import create_curriculum

    return max(len(attribute.levels) for attribute in create_curriculum(name).attributes.values())


def _guarded(parser: Callable[..., Any]) -> Callable[..., Any]:
    def parse_arithmetic(text: Any, *args: Any, **kwargs: Any) -> Any:
        if not _Child.is_scoring:
            return parser(text, *args, **kwargs)
        if not isinstance(text, str) or not _ARITHMETIC.fullmatch(text):
            raise UnreadableAnswerError("an answer must hold arithmetic only to be evaluated")
        _Child.is_reading = True
        try:
            return parser(text, *args, **kwargs)
        finally:
            _Child.is_reading = False

    return parse_arithmetic


def _computed(text: str) -> int:
    """Evaluate integers and their operators; refuse everything else."""
    if not _INTEGERS.fullmatch(text):
        raise UnreadableAnswerError("a question must hold integer arithmetic only")
    return _integer(ast.parse(text.strip(), mode="eval").body)


def _integer(node: ast.expr) -> int:
    match node:
        case ast.Constant(value=int(value)):
            return value
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
            return _UNARY[type(op)](_integer(operand))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _BINARY[type(op)](_integer(left), _integer(right))
        case _:
            raise UnreadableAnswerError("a question must hold integer arithmetic only")


def _audited(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "exec":
        is_text = getattr(arguments[0], "co_filename", "") == "<string>"
        if is_text and not _Child.is_reading:
            raise UnreadableAnswerError("an answer must not be executed")
    elif event.startswith(_FORBIDDEN) or (event == "open" and _writes(arguments)):
        raise UnreadableAnswerError(f"a scorer must not cause {event}")


def _writes(arguments: tuple[Any, ...]) -> bool:
    mode, flags = arguments[1], arguments[2]
    if isinstance(mode, str):
        return bool(set(mode) & set("wax+"))
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def main() -> None:
    """Run one request to `generate` from standard input."""
    replies = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    request = json.loads(sys.stdin.read())
    try:
        warm_up()
    except ModuleNotFoundError as error:
        reply: dict[str, Any] = {"missing": error.name}
    else:
        try:
            reply = generate(request)
        except (ArithmeticError, AssertionError, LookupError, TypeError, ValueError) as error:
            # What its configurations and generators raise for options that they refuse.
            reply = {"refused": f"{type(error).__name__}: {error}"}
    with os.fdopen(replies, "w", encoding="ascii") as out:
        json.dump(reply, out)


if __name__ == "__main__":
    main()
