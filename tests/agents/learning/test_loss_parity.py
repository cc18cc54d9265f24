"""Our losses equal TRL 1.16.0's and verl 0.9.1's, frozen by benchmarks/losses/parity.py."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from reason_env.agents.learning import AdvantageConfig, group_advantages

ROOT = Path(__file__).parents[3]
SPEC = importlib.util.spec_from_file_location(
    "loss_parity", ROOT / "benchmarks" / "losses" / "parity.py"
)
assert SPEC is not None
assert SPEC.loader is not None
parity = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(parity)

FROZEN = json.loads(parity.FIXTURE.read_text())
CASES = sorted(FROZEN["losses"])


def test_the_fixture_holds_every_setting_and_its_inputs():
    expected = {
        f"{name}/{library}"
        for name, setting in parity.SETTINGS.items()
        for library in ("trl", "verl")
        if library in setting
    }
    assert set(CASES) == expected
    for kind in (parity.NEAR, parity.FAR):
        made = parity.make_inputs(kind)
        for name, values in FROZEN["inputs"][kind].items():
            assert np.allclose(made[name], values, rtol=1e-12), name


@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradient_equal_the_other_library(case):
    row = parity.run(case)
    # verl divides a sequence by its length + 1e-8, so that its mean is wrong by up to 1e-8 / 2
    # (the shortest row has 2 tokens); in a sum over rows that cancel, this is not relative.
    setting, _, library = case.partition("/")
    is_shifted = "seq-mean-token-mean" in str(parity.SETTINGS[setting].get(library))
    absolute = 1e-8 if is_shifted else 1e-14
    assert row["ours"]["loss"] == pytest.approx(row["theirs"]["loss"], rel=1e-8, abs=absolute)
    theirs = np.array(row["theirs"]["gradient"])
    assert np.abs(theirs).max() > 1e-2
    np.testing.assert_allclose(row["ours"]["gradient"], theirs, rtol=1e-8, atol=1e-15)


def test_the_documented_switch_table_is_generated_from_the_settings():
    page = (ROOT / "docs" / "losses.md").read_text(encoding="utf-8")
    table = parity.switch_table()
    assert table in page
    shown = {line.split(" | ")[0].removeprefix("| ") for line in table.splitlines()[2:]}
    assert {name for name in parity.SETTINGS if not name.endswith("_far")} < shown
    # Every short name of a library is given its own.
    for library, names in (("trl", parity.TRL_NAMES), ("verl", parity.VERL_NAMES)):
        used = {key for setting in parity.SETTINGS.values() for key in setting.get(library, {})}
        assert used == set(names)


def test_the_inputs_reach_every_limit():
    near, far = (
        {name: np.array(values) for name, values in FROZEN["inputs"][kind].items()}
        for kind in (parity.NEAR, parity.FAR)
    )
    for x, limit in ((near, 1.28), (far, 1.9)):
        ratio, mask = np.exp(x["log_probs"] - x["old"]), x["mask"] > 0
        for sign in (1, -1):
            is_signed = mask & (np.sign(x["advantages"])[:, None] == sign)
            assert (ratio[is_signed] > limit).any()
            assert (ratio[is_signed] < 0.8).any()
    weights = np.exp(near["old"] - near["behavior"])[near["mask"] > 0]
    assert (weights > parity.CAP).any()
    assert (weights < parity.CAP).any()


@pytest.mark.parametrize("name", sorted(parity.ADVANTAGES))
def test_advantages_equal_those_of_verl(name):
    config = AdvantageConfig(**parity.ADVANTAGES[name]["ours"])
    for returns, theirs in zip(parity.RETURNS, FROZEN["advantages"][name], strict=True):
        np.testing.assert_allclose(group_advantages(returns, config), theirs, rtol=1e-8, atol=1e-12)
