import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "notebooks"
NOTEBOOKS = sorted(page for page in FOLDER.glob("*.md") if page.stem != "README")
CELL = re.compile(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", re.DOTALL)
END = "-- end of the cell --"
HEADER = """---
jupyter:
  jupytext:
    text_representation:
      extension: .md
      format_name: markdown
      format_version: '1.3'
  kernelspec:
    display_name: Python 3
    language: python
    name: python3
---

# """


def test_the_index_names_every_notebook():
    named = re.findall(r"\]\((\w+\.md)\)", (FOLDER / "README.md").read_text(encoding="utf-8"))
    assert sorted(named) == [page.name for page in NOTEBOOKS]
    assert len(named) == 7


@pytest.mark.parametrize("page", NOTEBOOKS, ids=lambda page: page.stem)
def test_a_notebook_has_the_header_from_which_jupytext_takes_format_and_kernel(page):
    assert page.read_text(encoding="utf-8").startswith(HEADER)


@pytest.mark.parametrize("page", NOTEBOOKS, ids=lambda page: page.stem)
def test_a_notebook_prints_what_it_shows(page, tmp_path):
    cells = CELL.findall(page.read_text(encoding="utf-8"))
    assert any("assert " in code for code, _ in cells)
    script = tmp_path / f"{page.stem}.py"
    script.write_text("".join(f'{code}\nprint("{END}")\n' for code, _ in cells), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split(f"{END}\n") == [*(shown for _, shown in cells), ""]
