from benchmarks.methods.expo_properties import Setting, read_rows, run, score, table


def test_the_rows_are_written_as_they_come_and_are_not_measured_twice(tmp_path):
    setting = Setting(
        problems="inverse", model="base", num_problems=4, max_tokens=128, block=2,
        out=tmp_path / "rows.jsonl",
    )  # fmt: skip
    rows = run(setting)
    assert len({row.problem_id for row in rows}) == 4
    assert read_rows(setting.out) == rows
    # The first block is lost; the second is kept as it is, and the first comes out the same.
    lines = setting.out.read_text().splitlines()
    setting.out.write_text("\n".join(lines[2:]) + "\n")
    assert run(setting) == [*rows[2:], *rows[:2]]
    assert "likelier: explanations minus reference solutions" in table(score(rows))
