import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_of_a_page_leads_to_a_file(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    files = [target.partition("#")[0] for target in targets if "://" not in target]
    assert [name for name in files if name and not (page.parent / name).exists()] == []


def test_the_site_is_built_with_the_extra_docs():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = extras["project"]["optional-dependencies"]["docs"]
    installed = re.search(
        r"pip install --quiet --constraint constraints.txt (mkdocs.*)",
        (ROOT / "Makefile").read_text(encoding="utf-8"),
    )
    assert installed is not None
    names = [re.split(r"[><=]", requirement)[0] for requirement in wanted]
    assert installed[1].replace("'", "").split() == names
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").lower()
    assert [name for name in names if f"\n{name.partition('[')[0]}==" not in pins] == []
