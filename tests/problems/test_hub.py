import json
import sys
from pathlib import Path

import datasets
import pytest

from reason_env.errors import ConfigError, ProblemError
from reason_env.problem import Problem
from reason_env.problems import load_problems
from reason_env.problems.files.hub import load_hub
from reason_env.problems.files.reader import load_file

TRAIN = [{"question": f"{n}+{n}=?", "answer": str(2 * n), "level": n} for n in range(1, 6)]
TEST = [{"question": "√81=?", "answer": "9", "level": 7}]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def write_directory(path: Path) -> Path:
    """A directory as people push it to the hub: one file a split."""
    path.mkdir()
    for split, rows in (("train", TRAIN), ("test", TEST)):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (path / f"{split}.jsonl").write_text(text, encoding="utf-8")
    return path


def save_directory(path: Path) -> Path:
    splits = {"train": TRAIN, "test": TEST}
    datasets.DatasetDict(
        {split: datasets.Dataset.from_list(rows) for split, rows in splits.items()}
    ).save_to_disk(path)
    return path


@pytest.mark.parametrize("make", [write_directory, save_directory])
def test_a_local_directory_gives_the_problems_of_each_split(tmp_path: Path, make) -> None:
    name = str(make(tmp_path / "sums"))
    train = load_hub(name)
    assert [problem.answer for problem in train] == ["2", "4", "6", "8", "10"]
    assert list(load_hub(name, split="test")) == [
        Problem(problem_id="sums/test/0", question="√81=?", answer="9", level=7, source="sums")
    ]


def test_a_hub_set_and_a_file_of_the_same_rows_have_the_same_content(tmp_path: Path) -> None:
    folder = write_directory(tmp_path / "sums")
    hub = load_hub(str(folder))
    file = load_file(folder)
    assert [problem.problem_id for problem in hub] == [problem.problem_id for problem in file]
    assert [problem.answer for problem in hub] == [problem.answer for problem in file]


def test_a_saved_single_split_loads_under_any_split_name(tmp_path: Path) -> None:
    datasets.Dataset.from_list(TEST).save_to_disk(tmp_path / "one")
    assert load_hub(str(tmp_path / "one"), split="test")[0].problem_id == "one/test/0"


def test_a_saved_single_split_that_knows_its_name_loads_under_that_name(tmp_path: Path) -> None:
    datasets.Dataset.from_list(TEST, split="test").save_to_disk(tmp_path / "one")
    assert len(load_hub(str(tmp_path / "one"), split="test")) == 1
    with pytest.raises(ProblemError, match="must hold the split asked for, got 'train'"):
        load_hub(str(tmp_path / "one"))


def test_gsm8k_rows_are_recognised_on_a_hub_too(tmp_path: Path) -> None:
    row = {"question": "1+1=?", "answer": "1+1=<<1+1=2>>2\n#### 2"}
    datasets.Dataset.from_list([row]).save_to_disk(tmp_path / "g")
    problem = load_hub(str(tmp_path / "g"))[0]
    assert (problem.solution, problem.answer) == (("1+1=2",), "2")
    assert load_hub(str(tmp_path / "g"), keep_marks=True)[0].solution == ("1+1=<<1+1=2>>2",)


def test_columns_and_limit_work_as_for_files(tmp_path: Path) -> None:
    rows = [{"problem": "q", "final": n} for n in (1, 2, 3)]
    datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "x")
    columns = {"question": "problem", "answer": "final"}
    problems = load_hub(str(tmp_path / "x"), columns=columns, limit=2)
    assert [problem.answer for problem in problems] == ["1", "2"]
    assert len(load_hub(str(tmp_path / "x"), columns=columns, limit=9)) == 3
    with pytest.raises(ConfigError, match="limit must be at least 1, got 0"):
        load_hub(str(tmp_path / "x"), columns=columns, limit=0)
    with pytest.raises(ProblemError, match=r"column 'finl'.*got columns problem, final.*'final'"):
        load_hub(str(tmp_path / "x"), columns={"answer": "finl"})


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "", "answer": "1", "problem_id": "b"}, "row 1: question must hold text"),
        ({"question": "q", "answer": r"\frac{1}{", "problem_id": "b"}, "row 1: answer must grade"),
        ({"question": "q", "answer": "1", "problem_id": "a"}, "row 1: problem_id must be unique"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_used_is_named(
    tmp_path: Path, row: dict[str, str], message: str
) -> None:
    rows = [{"question": "q", "answer": "1", "problem_id": "a"}, row]
    datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "x")
    with pytest.raises(ProblemError, match=message):
        load_hub(str(tmp_path / "x"))


def test_a_configuration_can_be_named_after_a_colon(tmp_path: Path) -> None:
    folder = tmp_path / "two"
    for config, rows in (("easy", TRAIN), ("hard", TEST)):
        (folder / config).mkdir(parents=True)
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / config / "train.jsonl").write_text(text, encoding="utf-8")
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: easy\n  data_files: easy/train.jsonl\n"
        "- config_name: hard\n  data_files: hard/train.jsonl\n---\n"
    )
    assert load_hub(str(folder), config="hard")[0].answer == "9"
    assert load_problems(f"hub:{folder}:easy", size=2)[1].answer == "4"
    with pytest.raises(ProblemError, match=r"config None, split 'train'.* must be loadable.*easy"):
        load_problems("hub", str(folder))


def test_a_directory_may_have_a_colon_in_its_name(tmp_path: Path) -> None:
    folder = save_directory(tmp_path / "sums:v2")
    assert load_problems(f"hub:{folder}", size=1)[0].problem_id == "sums:v2/train/0"


@pytest.mark.parametrize("make", [write_directory, save_directory])
def test_a_wrong_split_is_refused_with_the_splits_there_are(tmp_path: Path, make) -> None:
    name = str(make(tmp_path / "sums"))
    with pytest.raises(ProblemError, match=r"'tset'.*test"):
        load_hub(name, split="tset")


def test_a_directory_without_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ProblemError, match=r"must be loadable, got .*check its name, config and"):
        load_hub(str(tmp_path / "empty"))


def test_a_hub_name_without_a_connection_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(ProblemError, match=r"data set 'no-such/set' .* must be loadable") as caught:
        load_hub("no-such/set")
    assert "\n" not in str(caught.value)


def test_a_saved_directory_takes_no_config(tmp_path: Path) -> None:
    name = str(save_directory(tmp_path / "sums"))
    with pytest.raises(ProblemError, match="without config and revision, got config='main'"):
        load_hub(name, config="main")


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ProblemError, match=r"datasets library .*pip install 'reason-env\[data\]'"):
        load_hub("openai/gsm8k")
