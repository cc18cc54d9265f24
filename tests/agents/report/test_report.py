import json
import re

import numpy as np
import pytest

from reason_env.agents.cpi import CPIConfig
from reason_env.agents.methods import method_config
from reason_env.agents.report import write_report
from reason_env.agents.report.data import report_data
from reason_env.agents.report.numbers import SIGNALS
from reason_env.agents.report.report import SCRIPTS, STYLES, embedded, page
from reason_env.agents.runs import RunDir
from reason_env.agents.train import TrainConfig
from reason_env.errors import CheckpointError, ConfigError

ARMS = {"grpo": (0.02, ("base",)), "srpo": (0.05, ("base", "reset", "localise"))}
HOSTILE = '</script><img src=x onerror="alert(1)">\u2028\u2029<!-- %%DATA%% &amp; \x00'


@pytest.fixture
def comparison(build, tmp_path):
    return build["comparison"](tmp_path / "cmp", ARMS, sources=("chain", "inverse"), num_seeds=3)


def data_of(text):
    """Returns the data in a page, as the page reads it."""
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text)
    return json.loads(found)


def test_the_report_holds_the_evaluations_of_every_run_s_metrics(comparison):
    data = report_data([comparison.path], num_episodes=50)
    assert len(data["runs"]) == 12
    for own, run in zip(data["runs"], comparison.runs, strict=True):
        assert (own["source"], own["arm"], own["seed"]) == (run.source, run.arm, run.seed)
        rows = [row for row in run.metrics() if "eval/pass_at_1" in row]
        assert [item["pass_at_1"] for item in own["evals"]] == [r["eval/pass_at_1"] for r in rows]
        assert [item["pass_at_k_low"] for item in own["evals"]] == [
            row["eval/pass_at_k_low"] for row in rows
        ]
        tokens = [row.get("rollout/sampled_tokens_total", 0) for row in rows]
        assert [item["tokens"] for item in own["evals"]] == tokens


def test_curves_are_means_over_seeds_on_one_axis(comparison):
    data = report_data([comparison.path], num_episodes=0)
    curve = data["by_source"]["chain"]["curves"]["srpo"]["eval/pass_at_1"]
    runs = [run for run in data["runs"] if (run["source"], run["arm"]) == ("chain", "srpo")]
    assert curve["x"][0] == 0
    assert curve["x"][-1] == pytest.approx(min(run["tokens"] for run in runs))
    assert curve["mean"][0] == pytest.approx(
        np.mean([run["evals"][0]["pass_at_1"] for run in runs]), abs=1e-6
    )
    middle = curve["x"][30]
    expected = [
        np.interp(middle, [e["tokens"] for e in r["evals"]], [e["pass_at_1"] for e in r["evals"]])
        for r in runs
    ]
    assert curve["mean"][30] == pytest.approx(np.mean(expected), abs=1e-5)
    assert curve["low"][30] <= curve["mean"][30] <= curve["high"][30]
    assert data["episodes"] is None


def test_bands_are_over_problems_for_one_seed_and_over_seeds_for_at_least_three(build, tmp_path):
    def band(num_seeds, arm, **options):
        path = tmp_path / f"{num_seeds}{len(options)}"
        made = build["comparison"](path, ARMS, num_seeds=num_seeds, **options)
        data = report_data([made.path], num_episodes=0)
        part = data["by_source"]["chain"]
        curve = part["curves"][arm]["eval/pass_at_1"]
        return curve["low"], part["signals"][arm]["update/entropy"]["low"], data["runs"]

    low, signal, runs = band(1, "srpo")
    assert low == [row["pass_at_1_low"] for row in runs[1]["evals"]]
    assert signal is None
    assert band(2, "srpo")[:2] == (None, None)
    assert None not in band(3, "srpo")[:2]
    # If another arm has two seeds, an arm with one seed has no band over problems.
    assert band(2, "grpo", leave_out=(("grpo", 1),))[:2] == (None, None)


def test_settings_of_a_composed_method_are_listed_by_method_name(build, tmp_path):
    arms = {"grpo": (0.02, ("base",)), "srpo+lte": (0.0, ("base",)), "lte+srpo": (0.0, ("base",))}
    made = build["comparison"](tmp_path / "cmp", arms, num_seeds=1)
    found = report_data([made.path], num_episodes=0)["settings"]["differences"]
    assert found["method.kind"] == {name: name for name in arms}
    assert found["lte.gamma"] == {"srpo+lte": 0.1, "lte+srpo": 0.1}
    assert found["method.group_size"] == {"grpo": 8}
    assert not [key for key in found if "methods" in key]


def test_signals_use_base_episodes_if_others_had_help(comparison):
    data = report_data([comparison.path], num_episodes=0)
    found = data["by_source"]["chain"]["signals"]["srpo"]["rollout/pass_rate"]
    runs = [run for run in comparison.runs if (run.source, run.arm) == ("chain", "srpo")]
    first = [run.metrics()[1]["rollout/pass_rate/base"] for run in runs]
    assert found["mean"][0] == pytest.approx(np.mean(first), abs=0.01)
    assert set(data["by_source"]["chain"]["signals"]["srpo"]) == set(SIGNALS)


def test_costs_by_role_sum_to_the_sampled_tokens_and_discarded_tokens_are_separate(comparison):
    data = report_data([comparison.path], num_episodes=0)
    for source in ("chain", "inverse"):
        for arm in ARMS:
            cost = dict(data["by_source"][source]["cost"][arm])
            runs = [run for run in data["runs"] if (run["source"], run["arm"]) == (source, arm)]
            discarded = cost.pop("discarded")
            assert sum(cost.values()) == pytest.approx(np.mean([run["tokens"] for run in runs]))
            assert (discarded > 0) == (arm == "srpo")
    assert set(data["by_source"]["chain"]["cost"]["srpo"]) == {
        "base", "reset", "localise", "discarded",
    }  # fmt: skip


def test_preparation_is_a_separate_cost(build, tmp_path):
    rows = build["write_run"](tmp_path / "run", TrainConfig())
    for row in rows[1:]:
        row["rollout/sampled_tokens_total"] += 5000
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "run" / "metrics.jsonl").write_text(lines, encoding="utf-8")
    cost = report_data([tmp_path / "run"], num_episodes=0)["by_source"]["chain"]["cost"]["grpo"]
    assert cost["preparation"] == 5000
    assert cost["preparation"] + cost["base"] == rows[-1]["rollout/sampled_tokens_total"]


def test_outcome_shares_are_means_over_the_first_and_the_last_quarter(build, tmp_path):
    rows = build["write_run"](tmp_path / "run", TrainConfig(), lift=0.05, iterations=8)
    first, last = report_data([tmp_path / "run"], num_episodes=0)["by_source"]["chain"]["outcomes"][
        "grpo"
    ]
    assert first["shares"]["correct"] == pytest.approx(
        (rows[1]["grade/correct_fraction"] + rows[2]["grade/correct_fraction"]) / 2
    )
    assert last["shares"]["incorrect"] == pytest.approx(
        (rows[7]["grade/incorrect_fraction"] + rows[8]["grade/incorrect_fraction"]) / 2
    )


def test_settings_that_differ_are_listed_except_the_seed(comparison):
    settings = report_data([comparison.path], num_episodes=0)["settings"]
    assert settings["differences"]["method.kind"] == {"grpo": "grpo", "srpo": "srpo"}
    assert not {"seed", "env.problems"} & set(settings["differences"])
    assert settings["facts"]["model"] == "base"


def test_shown_episodes_are_of_one_seed_within_the_limit_up_to_the_last_iteration(comparison):
    store = report_data([comparison.path], num_episodes=100)["episodes"]
    assert 0 < len(store["items"]) <= 100
    assert {item["seed"] for item in store["items"]} == {0}
    for source in ("chain", "inverse"):
        for arm in ARMS:
            own = {
                i["iteration"] for i in store["items"] if (i["source"], i["arm"]) == (source, arm)
            }
            assert own
            assert max(own) == 8
    assert store["total"] == 2 * 8 * (8 + 13)


def test_an_episode_on_the_page_is_the_recorded_one(comparison):
    store = report_data([comparison.path], num_episodes=100)["episodes"]
    item = next(i for i in store["items"] if i["role"] == "reset")
    run = next(r for r in comparison.runs if (r.source, r.arm, r.seed) == ("chain", "srpo", 0))
    rows = RunDir.open(run.path).read_episodes(item["iteration"])
    row = next(r for r in rows if r["role"] == "reset")
    assert item["text"] == row["response"]
    assert item["lengths"] is None
    assert item["sources"] == row["state"]["sources"]
    assert item["ends"] == row["step_ends"]
    assert item["start"] == row["start_tokens"]
    assert item["logp"] == pytest.approx(row["behavior_log_probs"], abs=1e-4)
    assert item["advantage"] == row["advantage"]
    assert store["problems"][item["problem"]]["problem_id"] == row["state"]["problem"]["problem_id"]


def test_episodes_of_old_runs_without_steps_and_advantages_are_read(build, tmp_path):
    rng = np.random.default_rng(0)
    new = build["written"](build["some_episodes"](rng, 1, 4, ("base",)))
    added = ("is_auxiliary", "advantage", "sampled_tokens", "hides_guidance", "step_ends", "pieces")
    old = [{k: v for k, v in row.items() if k not in (*added, "old_log_probs")} for row in new]
    build["write_run"](tmp_path / "old", TrainConfig(), iterations=1, episodes=old)
    build["write_run"](tmp_path / "new", TrainConfig(), iterations=1, episodes=new)
    before, after = (
        report_data([tmp_path / name], num_episodes=9)["episodes"]["items"]
        for name in ("old", "new")
    )
    for a, b in zip(before, after, strict=True):
        assert (a["text"], a["lengths"], a["ends"]) == (b["text"], b["lengths"], b["ends"])
        assert (a["recorded"], b["recorded"]) == (False, True)
        assert (a["advantage"], a["learned"]) == (None, None)


def test_runs_of_one_method_are_named_by_their_directories(build, tmp_path):
    build["write_run"](tmp_path / "one", TrainConfig(seed=1))
    build["write_run"](tmp_path / "two", TrainConfig(seed=2))
    data = report_data([tmp_path / "one", tmp_path / "two"], num_episodes=0)
    assert data["arms"] == ["one", "two"]
    assert data["summary"] is None
    curve = data["by_source"]["chain"]["curves"]["one"]["eval/pass_at_1"]
    assert curve["low"][0] == data["runs"][0]["evals"][0]["pass_at_1_low"]


def test_runs_of_several_methods_have_the_names_of_their_commands(build, tmp_path):
    configs = {
        "a": TrainConfig(method=method_config("srpo+lte")),
        "b": TrainConfig(method=method_config("lte+srpo")),
        "c": TrainConfig(method=method_config("grpo"), cpi=CPIConfig()),
        "d": TrainConfig(method=method_config("grpo")),
    }
    for name, config in configs.items():
        build["write_run"](tmp_path / name, config)
    data = report_data([tmp_path / name for name in configs], num_episodes=0)
    assert data["arms"] == ["srpo+lte", "lte+srpo", "cpi", "grpo"]


def test_hostile_text_cannot_break_out_of_the_embedded_data(build, tmp_path):
    rng = np.random.default_rng(0)
    rows = build["written"](build["some_episodes"](rng, 1, 2, ("base",)))
    for row in rows:
        row["pieces"] = [HOSTILE, *[""] * (len(row["pieces"]) - 1)]
        row["state"]["problem"]["question"] = HOSTILE
    build["write_run"](tmp_path / "run", TrainConfig(), episodes=rows)
    out = write_report([tmp_path / "run"], tmp_path / "page" / "report.html")
    text = out.read_text(encoding="utf-8")
    assert 'onerror="' not in text
    assert "\u2028" not in text
    assert text.count("<script") == 2
    assert data_of(text)["episodes"]["items"][0]["text"] == HOSTILE
    assert data_of(text)["episodes"]["problems"][0]["question"] == HOSTILE


def test_the_title_is_escaped_and_nothing_is_loaded(build, tmp_path):
    build["write_run"](tmp_path / "run", TrainConfig())
    data = report_data([tmp_path / "run"], num_episodes=0) | {"title": "<b>&"}
    text = page(data)
    assert "<title>&lt;b&gt;&amp; - reason-env</title>" in text
    assert "default-src 'none'" in text
    code = text.replace("http://www.w3.org/2000/svg", "")
    assert "://" not in code
    for word in ("innerHTML", "insertAdjacentHTML", "document.write", "eval(", "url("):
        assert word not in code
    assert len(STYLES) + len(SCRIPTS) == 8


def test_json_is_ascii_without_markup():
    text = embedded({"a": HOSTILE})
    assert text.isascii()
    assert not set("<>&") & set(text)
    assert json.loads(text) == {"a": HOSTILE}


def test_paths_without_runs_or_metrics_are_refused(build, tmp_path):
    with pytest.raises(ConfigError, match="a report must have a path"):
        write_report([], tmp_path / "out.html")
    with pytest.raises(ConfigError, match="num_episodes must be at least 0"):
        write_report([tmp_path], tmp_path / "out.html", num_episodes=-1)
    with pytest.raises(CheckpointError, match="a run directory must hold config"):
        write_report([tmp_path], tmp_path / "out.html")
    (tmp_path / "runs").mkdir()
    with pytest.raises(CheckpointError, match="a comparison must hold"):
        write_report([tmp_path], tmp_path / "out.html")
    cmp = build["comparison"](
        tmp_path / "c", ARMS, num_seeds=1, leave_out=(("grpo", 0), ("srpo", 0))
    )
    with pytest.raises(ConfigError, match="a report must have runs with metrics"):
        write_report([cmp.path], tmp_path / "out.html")
