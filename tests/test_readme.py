import doctest
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_of_readme_runs():
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})


def tree_lines():
    """Yields (folder, names of files and folders) of each line of the tree."""
    tree = README.split("## The tree")[1]
    folder = ""
    for line in re.findall(r"```\n(.*?)```", tree, re.DOTALL)[0].splitlines():
        if re.match(r"\S", line):
            folder = line.split()[0]
        yield folder, re.findall(r"\b[\w/]+\.py\b|\b\w+/", line)


def test_the_tree_of_readme_names_what_exists():
    for folder, names in tree_lines():
        parents = [ROOT, *(ROOT / folder / own for own in (".", "problems", "engines", "methods"))]
        for name in names:
            assert any((parent / name).exists() for parent in parents), (folder, name)


def test_every_file_of_the_packages_has_its_place_in_the_tree():
    named = {f"{folder}{name}" for folder, names in tree_lines() for name in names}
    for folder in ("reason_env", "agents", "wrappers"):
        for path in sorted((ROOT / folder).glob("*.py")):
            if path.name != "__init__.py":
                assert f"{folder}/{path.name}" in named, path


def test_both_commands_stand_before_anything_else():
    first = re.findall(r"```\n(.*?)```", README, re.DOTALL)[0]
    assert [line.split("#")[0].strip() for line in first.splitlines()] == ["make demo", "make test"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "\ndemo:" in makefile
    assert "\ntest:" in makefile


def test_the_examples_of_the_documentation_run():
    pages = sorted((ROOT / "docs").glob("*.md"))
    assert pages
    for page in pages:
        result = doctest.testfile(str(page), module_relative=False)
        assert result.failed == 0, page.name
