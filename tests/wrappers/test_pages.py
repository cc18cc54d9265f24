import ast
import dataclasses
import doctest
import inspect
import re
from pathlib import Path
from typing import get_args

import pytest

from reason_env import wrappers
from reason_env.env import WRAPPERS as ENTRY_POINTS
from reason_env.wrappers.hint import Kind
from reason_env.wrappers.reset_to_state import CutName
from reason_env.wrappers.schedules import Schedule

WRAPPERS = {
    name: getattr(wrappers, name) for name in ENTRY_POINTS if not name.startswith("Tabular")
}
PAGES = sorted((Path(__file__).parents[2] / "docs" / "wrappers").glob("*.md"))


def snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)[1:]


def test_every_wrapper_has_its_page_and_the_index_names_it():
    names = {page.stem for page in PAGES}
    index = next(page for page in PAGES if page.stem == "README").read_text(encoding="utf-8")
    for wrapper in WRAPPERS:
        assert snake(wrapper) in names
        assert f"{snake(wrapper)}.md" in index


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_examples_of_a_page_run(page):
    found = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert found.attempted > 0
    assert found.failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_of_a_page_leads_to_a_file(page):
    text = page.read_text(encoding="utf-8")
    for target in text.split("](")[1:]:
        assert (page.parent / target.split(")")[0]).exists()


def text_of(wrapper: str) -> str:
    page = next(page for page in PAGES if page.stem == snake(wrapper))
    return page.read_text(encoding="utf-8")


def table(text: str, first: str) -> list[list[str]]:
    """Returns the cells of the table whose first heading is `first`, without its heading."""
    rows = text.partition(f"\n| {first} |")[2].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_page_has_every_option_with_its_default_in_order(wrapper):
    given = list(inspect.signature(WRAPPERS[wrapper]).parameters.values())[1:]
    wanted = [(option.name, option.default) for option in given]
    cells = [(row[0].strip("`"), row[1].strip("`")) for row in table(text_of(wrapper), "option")]
    required = {"required": inspect.Parameter.empty}
    assert [
        (name, required[value] if value in required else ast.literal_eval(value))
        for name, value in cells
    ] == wanted


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_page_describes_the_spaces_and_the_start_of_episodes(wrapper):
    head = text_of(wrapper).split("```python")[0]
    assert "* **Spaces**: unchanged." in head
    assert "* **What it changes**: " in head
    # A picture: rows of the same marks.
    assert re.search(r"\|#{5,}|\^[.-]{5,}|#{5,} *\|", text_of(wrapper))


def test_a_page_has_every_kind_of_cut_of_hint_and_of_schedule():
    cuts = [row[0] for row in table(text_of("ResetToState"), "cut")]
    assert [cut.strip('`"') for cut in cuts if '"' in cut] == list(get_args(CutName))
    kinds = [row[0].strip('`"') for row in table(text_of("Hint"), "kind")]
    assert sorted(kinds) == sorted(get_args(Kind))
    rows = {row[0].strip("`"): row[1] for row in table(text_of("PrefixRollin"), "schedule")}
    wanted = {
        schedule().kind: ", ".join(
            f"`{field.name}={field.default}`"
            for field in dataclasses.fields(schedule)
            if field.name != "kind"
        )
        for schedule in get_args(Schedule)
    }
    assert rows == wanted
