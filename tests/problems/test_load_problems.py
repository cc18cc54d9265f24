import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from reason_env.errors import ConfigError, ProblemError, UnknownNameError
from reason_env.problems import load_problems, problem_sources
from reason_env.problems.files.reader import load_file

ROWS = [{"question": f"{n}+1=?", "answer": n + 1, "level": n} for n in range(1, 6)]


def write(path: Path, rows: list[dict[str, object]] = ROWS) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("family", ["chain", "inverse"])
def test_a_family_takes_split_size_levels_and_seed(family: str) -> None:
    problems = load_problems(family, split="test", size=3, levels=(4, 4), seed=1)
    assert len(problems) == 3
    assert {problem.level for problem in problems} == {4}
    assert all(problem.problem_id.startswith(f"{family}/test/") for problem in problems)
    again = load_problems(family, split="test", size=3, levels=(4, 4), seed=1)
    other = load_problems(family, split="test", size=3, levels=(4, 4), seed=2)
    assert problems.content_hash == again.content_hash != other.content_hash


def test_a_path_alone_after_file_and_as_an_argument_are_the_same(tmp_path: Path) -> None:
    path = write(tmp_path / "sums.jsonl")
    expected = load_file(path).content_hash
    assert load_problems(str(path)).content_hash == expected
    assert load_problems(f"file:{path}").content_hash == expected
    assert load_problems("file", path).content_hash == expected


def test_a_path_in_the_working_directory_needs_no_slash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sums").mkdir()
    write(tmp_path / "sums" / "test.jsonl")
    monkeypatch.chdir(tmp_path)
    assert load_problems("sums", split="test")[0].problem_id == "sums/test/0"


def test_gsm8k_takes_its_path_after_the_colon_or_as_an_argument(tmp_path: Path) -> None:
    path = write(tmp_path / "train.jsonl", [{"question": "1+1=?", "answer": "1+1=2\n#### 2"}])
    for problems in (load_problems(f"gsm8k:{path}"), load_problems("gsm8k", tmp_path)):
        assert problems[0].problem_id == "gsm8k/train/0"
        assert problems[0].solution == ("1+1=2",)


def test_columns_reach_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", [{"q": "1+1=?", "a": 2}])
    assert load_problems(str(path), columns={"question": "q", "answer": "a"})[0].answer == "2"


def test_size_keeps_the_first_problems_after_the_levels(tmp_path: Path) -> None:
    path = str(write(tmp_path / "x.jsonl"))
    assert [p.level for p in load_problems(path, size=2)] == [1, 2]
    assert [p.level for p in load_problems(path, levels=(2, 4))] == [2, 3, 4]
    kept = load_problems(path, levels=(2, 4), size=2)
    assert [p.level for p in kept] == [2, 3]
    assert [p.problem_id for p in kept] == ["x/train/1", "x/train/2"]


def test_levels_of_a_file_without_levels_are_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", [{"question": "q", "answer": "1"}])
    with pytest.raises(
        ProblemError, match="must have levels to be filtered by them, got none in 1"
    ):
        load_problems(str(path), levels=(1, 2))


def test_levels_without_rows_are_refused_with_the_levels_that_exist(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl")
    with pytest.raises(ProblemError, match=r"got \(7, 9\) where the rows have 1 to 5; widen them"):
        load_problems(str(path), levels=(7, 9))


@pytest.mark.parametrize("levels", [(3, 2), (-1, 2)])
def test_levels_out_of_order_are_refused(levels: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match=r"levels must be .low, high. with 0 <= low <= high, got"):
        load_problems("chain", levels=levels)


def test_a_size_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="size must be at least 1, got 0"):
        load_problems("chain", size=0)


@pytest.mark.parametrize("name", ["file:{}", "gsm8k:{}"])
def test_a_seed_for_a_file_is_refused(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "x.jsonl")
    with pytest.raises(ConfigError, match=r"seed must be 0 for .*:PATH, got 3; only generated"):
        load_problems(name.format(path), seed=3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("chian", "no problem source 'chian'; for a file give its path; did you mean 'chain'"),
        ("gsm9k:data", "no problem source 'gsm9k:data'; .*did you mean 'gsm8k'"),
        ("zzz", "for a file give its path; choose one of chain, countdown, equation, file, "),
        ("", "no problem source ''"),
    ],
)  # fmt: skip
def test_a_wrong_name_gets_the_near_match(name: str, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        load_problems(name)


@pytest.mark.parametrize(
    "name", ["no/such/dir", "none.jsonl", "gsm8k:none.jsonl", "file:none.parquet"]
)
def test_a_missing_file_gives_one_line_with_the_remedy(name: str) -> None:
    with pytest.raises(
        ProblemError, match=r"^problem file must exist, got .*check the path"
    ) as caught:
        load_problems(name)
    assert "\n" not in str(caught.value)


def test_a_family_takes_no_argument() -> None:
    with pytest.raises(ConfigError, match=r"'chain' must have no argument, got 'x.jsonl'; leave"):
        load_problems("chain:x.jsonl")
    with pytest.raises(ConfigError, match=r"'inverse' must have no argument, got 'x.jsonl'; leave"):
        load_problems("inverse", "x.jsonl")


def test_a_family_takes_no_columns() -> None:
    with pytest.raises(
        ConfigError, match=r"columns must be None for the family 'chain', got {'ques"
    ):
        load_problems("chain", columns={"question": "q"})


@pytest.mark.parametrize(("name", "path"), [("gsm8k", None), ("file:", None), ("hub:a", "b")])
def test_a_source_that_reads_files_needs_exactly_one_argument(name: str, path: str | None) -> None:
    with pytest.raises(ConfigError, match=r"must have one argument, got .*; write "):
        load_problems(name, path)


def test_every_source_is_described_in_one_line() -> None:
    sources = problem_sources()
    families = (
        "chain inverse unlock precedence equation countdown stories late sealed opposed".split()
    )
    read = ["gsm8k", "file", "hub"]
    assert [source.name for source in sources] == [*families, "mix", *read, "reasoning_gym"]
    assert all(0 < len(source.description) <= 80 for source in sources)
    assert all("\n" not in source.description for source in sources)


def test_the_package_and_its_families_load_no_heavy_library() -> None:
    program = (
        "import sys, reason_env.problems as p; p.problem_sources(); "
        "p.load_problems('chain', size=1); "
        "heavy = {'torch', 'transformers', 'sympy', 'datasets', 'pyarrow'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_equal_calls_share_one_set_of_a_family():
    own = load_problems("chain", size=5, levels=(1, 2), seed=3)
    assert load_problems("chain", size=5, levels=[1, 2], seed=3) is own
    assert load_problems("chain", size=5, levels=(1, 2), seed=4) is not own
    # A seed that is equal but another word is another draw.
    first = load_problems("chain", size=5, levels=(1, 2), seed=1)
    assert load_problems("chain", size=5, levels=(1, 2), seed=True) is not first


@pytest.mark.parametrize("name", ["size", "seed"])
@pytest.mark.parametrize("value", [1.0, [1], "1"])
@pytest.mark.parametrize("source", ["chain", "mix:chain@1-2", "reasoning_gym:leg_counting"])
def test_a_size_or_seed_that_is_no_integer_is_refused(source, name, value):
    with pytest.raises(
        ConfigError, match=f"^{name} must be an integer, got {re.escape(repr(value))}"
    ):
        load_problems(source, **{name: value})
