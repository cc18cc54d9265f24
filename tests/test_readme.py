import doctest
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = ROOT / "docs"
WITH_EXAMPLES = {
    "compare.md", "cpi.md", "data.md", "environment.md", "families.md", "index.md", "losses.md",
    "methods.md", "models.md", "probe.md", "results.md", "sb3.md", "speed.md", "templates.md",
    "verifier.md",
}  # fmt: skip


def test_the_python_of_readme_runs():
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})


def test_both_commands_come_before_any_other():
    first = re.findall(r"```\n(.*?)```", README, re.DOTALL)[0]
    assert [line.split("#")[0].strip() for line in first.splitlines()] == ["make demo", "make test"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "\ndemo:" in makefile
    assert "\ntest:" in makefile


def test_every_page_with_examples_is_in_the_list_of_executed_pages():
    found = {page.name for page in DOCS.glob("*.md") if ">>> " in page.read_text(encoding="utf-8")}
    assert found == WITH_EXAMPLES


@pytest.mark.parametrize("page", sorted(WITH_EXAMPLES))
def test_the_examples_of_a_page_run(page):
    found = doctest.testfile(str(DOCS / page), module_relative=False, encoding="utf-8")
    assert found.attempted > 0
    assert found.failed == 0


def test_the_script_of_the_theory_page_runs():
    blocks = re.findall(
        r"```python\n(.*?)```", (DOCS / "theory.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert len(blocks) == 2
    exec(compile("\n".join(blocks), "theory.md", "exec"), {})
