import doctest
import re
import sys
from pathlib import Path

import pytest

from reason_env.agents.methods import registry

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = ROOT / "docs"
WITH_EXAMPLES = {
    "compare.md", "cpi.md", "data.md", "environment.md", "families.md", "index.md", "losses.md",
    "methods.md", "models.md", "new_method.md", "probe.md", "results.md", "sb3.md", "speed.md",
    "templates.md", "verifier.md",
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


def files_of(page):
    """The files that a page shows: blocks that begin with a file's name."""
    return re.findall(r"```python\n# (\w+)\.py\n(.*?)```", page, re.DOTALL)


@pytest.fixture
def with_files(tmp_path, monkeypatch):
    """Makes the files of a page modules, for one test; what they register is gone after it."""
    monkeypatch.setattr(registry, "_REGISTERED", dict(registry._REGISTERED))
    monkeypatch.syspath_prepend(tmp_path)
    names = []

    def write(page):
        for name, text in files_of((DOCS / page).read_text(encoding="utf-8")):
            (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
            names.append(name)

    yield write
    for name in names:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("page", sorted(WITH_EXAMPLES))
def test_the_examples_of_a_page_run(page, with_files):
    with_files(page)
    found = doctest.testfile(str(DOCS / page), module_relative=False, encoding="utf-8")
    assert found.attempted > 0
    assert found.failed == 0


def test_the_method_of_the_tutorial_has_fewer_than_60_lines():
    ((name, text),) = files_of((DOCS / "new_method.md").read_text(encoding="utf-8"))
    assert name == "fading"
    assert 40 < len(text.splitlines()) < 60


def test_the_script_of_the_theory_page_runs():
    blocks = re.findall(
        r"```python\n(.*?)```", (DOCS / "theory.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert len(blocks) == 2
    exec(compile("\n".join(blocks), "theory.md", "exec"), {})
