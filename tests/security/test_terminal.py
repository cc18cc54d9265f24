"""Nothing that a policy or a file writes reaches the terminal as more than text."""

import io
import json
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from reason_env.cli.flags import VisibleConsole
from reason_env.errors import visible

HOSTILE = (
    "\x1b[2J\x1b]0;title\x07\x1b]52;c;aGk=\x07"  # clears the screen, sets title and clipboard
    "\x9b31m\x00\x08\x7f\r"  # C1's own escape, NUL, backspace, delete, return
    "\u202eesrever\u2066\u200f\u200b\ufeff\U000e0041"  # direction, invisible letters, tags
    "[bold]<b>&amp;"
)
ROW = {"question": f"1+1 {HOSTILE}", "answer": "2", "solution": f"1+1=2{HOSTILE}"}
KEPT = {"\n", "\t", "\u200c", "\u200d"}


def is_harmless(text):
    return not [
        letter
        for letter in text
        if unicodedata.category(letter) in ("Cc", "Zl", "Zp") and letter not in KEPT
    ] and not set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f") & set(text)


@given(st.text())
@example(HOSTILE)
def test_visible_text_holds_no_control_and_loses_no_other_letter(text):
    shown = visible(text)
    assert is_harmless(shown)
    assert visible(shown) == shown
    for letter in text:
        assert letter in shown or letter.encode("unicode_escape").decode() in shown


def test_plain_text_of_many_scripts_is_shown_as_it_is():
    text = (
        "x\u00b2 \u2264 3,\tna\u00efve \u05e9\u05dc\u05d5\u05dd \u4e00 \U0001f469\u200d\U0001f52c\n"
    )
    assert visible(text) == text


def test_text_and_cells_are_escaped_and_styles_are_kept():
    file = io.StringIO()
    console = VisibleConsole(file=file, force_terminal=True, width=200, color_system="standard")
    console.print(Text("x\x1b[2Jy\u202ez", style="red"))
    assert file.getvalue() == "\x1b[31mx\\x1b[2Jy\\u202ez\x1b[0m\n"
    table = Table()
    table.add_column("a")
    table.add_row(Text("x\x1b[2J" * 3))
    console.print(table)
    assert "\x1b[2J" not in file.getvalue()


def test_problems_are_shown_and_checked_with_escapes(command, tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(ROW) + "\n")
    status, text, error = command("problems", "show", str(file))
    assert status == 0
    assert is_harmless(text + error)
    assert "1+1 \\x1b[2J\\x1b]0;title" in text
    assert "\\u202eesrever" in text
    file.write_text(json.dumps(ROW | {"answer": f"\x1b[2J{HOSTILE}"}) + "\n")
    for words in (("problems", "check", str(file)), ("problems", "show", str(file))):
        _, text, error = command(*words)
        assert is_harmless(text + error), words


def test_an_episode_is_played_with_escapes(command, tmp_path, monkeypatch):
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(ROW) + "\n")
    typed = iter([f"a step {HOSTILE.replace(chr(13), '')}", "#### 2"])
    monkeypatch.setattr("builtins.input", lambda _: next(typed))
    status, text, error = command("play", "--problems", str(file))
    assert status == 0, error
    assert is_harmless(text + error)
    assert "1+1 \\x1b[2J" in text


def test_a_name_on_the_command_line_or_in_a_file_cannot_reach_the_terminal(refused, tmp_path):
    line = refused("train", "grpo", "--problems", f"no{HOSTILE.replace(chr(0), '')}.jsonl")
    assert is_harmless(line)
    file = tmp_path / "spec.json"
    file.write_text(json.dumps({"id": HOSTILE}))
    assert is_harmless(refused("train", "grpo", "--env", str(file)))


def test_responses_are_graded_with_escapes(command, tmp_path):
    file = tmp_path / "graded.jsonl"
    rows = [
        {"response": f"\\boxed{{{HOSTILE}}}", "answer": "2"},
        {"response": "#### 2", "answer": "2"},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    status, text, error = command("grade", str(file))
    assert status == 0, error
    assert is_harmless(text + error)


@pytest.mark.parametrize("text", ["x" * 10**6, "1 " * 500_000, "(" * 10**6, "\x1b" * 10**6])
def test_a_million_letters_are_shown(command, tmp_path, text):
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"question": text, "answer": "2"}) + "\n")
    status, shown, error = command("problems", "show", str(file))
    assert status == 0, error
    assert is_harmless(shown)
    assert len(shown) >= 10**6
