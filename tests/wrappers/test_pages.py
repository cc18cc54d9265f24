import doctest
from pathlib import Path

import pytest

from reason_env.wrappers.stack import WRAPPERS

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
def test_what_a_page_links_to_is_there(page):
    text = page.read_text(encoding="utf-8")
    for target in text.split("](")[1:]:
        assert (page.parent / target.split(")")[0]).exists()
