import pytest

from reason_env.agents.methods import method_names
from reason_env.agents.probe import (
    Figure,
    Gate,
    ProbeConfig,
    preconditions,
    register_preconditions,
)
from reason_env.agents.probe.gates import combined, judged
from reason_env.agents.probe.preconditions import _REGISTERED
from reason_env.errors import ConfigError

ABOVE = Gate(rule="a is high", figures=("a/x",), above=0.25, reason="why")
BELOW = Gate(rule="a is low", figures=("a/x",), below=0.25, reason="why")


def figure(estimate, low=None, high=None, num_problems=20):
    return Figure(
        name="a/x", label="x", estimate=estimate, low=low, high=high, num_problems=num_problems
    )


@pytest.mark.parametrize(
    ("own", "above", "below"),
    [
        (figure(0.5, 0.3, 0.7), "holds", "does not hold"),
        (figure(0.5, 0.2, 0.7), "undecided", "undecided"),
        (figure(0.1, 0.0, 0.2), "does not hold", "holds"),
        (figure(0.3, 0.25, 0.4), "undecided", "does not hold"),
        (figure(0.2, 0.1, 0.25), "does not hold", "undecided"),
        (figure(0.3), "holds", "does not hold"),
        (figure(0.5, 0.3, 0.7, num_problems=7), "undecided", "undecided"),
    ],
)
def test_a_gate_compares_the_whole_interval_with_its_threshold(own, above, below):
    assert judged(ABOVE, {"a/x": own}, {}).status == above
    assert judged(BELOW, {"a/x": own}, {}).status == below


def test_a_gate_says_its_figure_and_threshold_or_why_there_is_none():
    found = judged(ABOVE, {"a/x": figure(0.5, 0.2, 0.7)}, {})
    assert found.evidence == "x: 0.500 [0.200, 0.700]; needs > 0.25; 20 problems do not decide"
    for missing in ({"a": "no time"}, {"a/x": "no time"}):
        found = judged(ABOVE, {}, missing)
        assert (found.status, found.evidence) == ("not measurable", "no time")
    assert judged(ABOVE, {}, {}).evidence == "a/x was not measured"


def test_the_first_measured_figure_of_a_gate_decides():
    gate = Gate(rule="r", figures=("b", "a/x"), above=0.25, reason="")
    high, low = figure(0.5, 0.4, 0.6), figure(0.1, 0.0, 0.2)
    assert judged(gate, {"a/x": high}, {}).status == "holds"
    assert judged(gate, {"a/x": high, "b": low}, {}).status == "does not hold"


def test_a_method_has_the_status_of_its_worst_gate():
    def status(*own):
        figures = {name: item for name, item in own if item is not None}
        gates = [
            Gate(rule=name, figures=(name,), above=0.25, reason="", is_needed=name != "optional")
            for name, _ in own
        ]
        return combined(gates, [judged(gate, figures, {}) for gate in gates])

    high, low, open_ = figure(0.5, 0.4, 0.6), figure(0.1, 0.0, 0.2), figure(0.3, 0.2, 0.4)
    assert status(("a", high), ("b", high)) == "holds"
    assert status(("a", high), ("b", open_)) == "undecided"
    assert status(("a", open_), ("b", None)) == "not measurable"
    assert status(("a", None), ("b", low), ("c", open_)) == "does not hold"
    assert status(("a", high), ("optional", None)) == "holds"
    assert status(("a", high), ("optional", low)) == "does not hold"


def test_every_built_in_method_has_gates_with_reasons():
    config = ProbeConfig(shares=(0.2, 0.4))
    # Other tests may have registered methods of their own.
    built_in = "grpo rrpo srpo pope lte expo exp-dpo sft".split()
    assert set(built_in) <= set(method_names())
    for name in (*built_in, "cpi"):
        gates = preconditions(name, config)
        assert gates
        assert all(len(gate.reason) > 20 for gate in gates)
    names = [name for gate in preconditions("pope", config) for name in gate.figures]
    assert "guided/prompt_0.2_gain" in names


def test_a_foreign_method_can_declare_its_gates_once():
    assert preconditions("elsewhere", ProbeConfig()) is None
    register_preconditions("elsewhere", [ABOVE])
    try:
        assert preconditions("elsewhere", ProbeConfig()) == (ABOVE,)
        with pytest.raises(ConfigError, match="declared once a method, got 'elsewhere' twice"):
            register_preconditions("elsewhere", [ABOVE])
    finally:
        del _REGISTERED["elsewhere"]
    with pytest.raises(ConfigError, match="declared once a method, got 'grpo' twice"):
        register_preconditions("grpo", [ABOVE])
    with pytest.raises(ConfigError, match="of 'mine' must be a sequence of Gate, got 3"):
        register_preconditions("mine", 3)


def test_an_installed_package_declares_gates_by_an_entry_point(tmp_path, monkeypatch):
    (tmp_path / "own_gates.py").write_text(
        "from reason_env.agents.probe import Gate\n"
        "GATES = [Gate(rule='r', figures=('success/pass_at_1',), above=0.5, reason='because')]\n"
        "WRONG = 'no gates'\n"
    )
    info = tmp_path / "own_gates-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-gates\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[reason_env.preconditions]\nown = own_gates:GATES\nwrong = own_gates:WRONG\n"
        "absent = own_gates:NONE\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    (gate,) = preconditions("own", ProbeConfig())
    assert (gate.rule, gate.above) == ("r", 0.5)
    with pytest.raises(ConfigError, match="of 'wrong' must be a sequence of Gate, got 'no gates'"):
        preconditions("wrong", ProbeConfig())
    with pytest.raises(ConfigError, match="preconditions of 'absent' must load, got"):
        preconditions("absent", ProbeConfig())


def test_a_gate_without_a_figure_or_with_two_thresholds_is_refused():
    with pytest.raises(ConfigError, match="the gate 'r' must name a figure, got none"):
        Gate(rule="r", figures=(), above=0.5, reason="")
    with pytest.raises(ConfigError, match=r"must have one threshold, got above=0.5 and below=0.7"):
        Gate(rule="r", figures=("a",), above=0.5, below=0.7, reason="")
    with pytest.raises(ConfigError, match="must have one threshold, got above=None"):
        Gate(rule="r", figures=("a",), reason="")
