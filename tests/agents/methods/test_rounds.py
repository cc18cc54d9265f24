import numpy as np
import pytest

from reason_env.agents.methods import build_method, method_config
from reason_env.agents.methods.rounds import collect_rounds
from reason_env.errors import ConfigError


@pytest.mark.parametrize("returned", [None, ["a state"], ("no", "list")])
def test_a_plan_that_is_no_list_of_starts_is_refused(monkeypatch, returned):
    method = build_method(method_config("grpo"))
    monkeypatch.setattr(method, "plan", lambda states, rng: returned)
    with pytest.raises(
        ConfigError, match=r"a method's plan must return a list of Start, got .*\[\]"
    ):
        collect_rounds(method, [], lambda starts: None, np.random.default_rng(0))
