import pytest

from benchmarks.families.hosts import subject_of
from benchmarks.families.transfer import by_steps_shown, main
from reason_env.agents.policy import LanguageModelPolicy


def test_the_untrained_model_of_sealed_succeeds_only_with_steps_shown():
    subject = subject_of(LanguageModelPolicy.load("sealed"), "sealed", num_problems=5)
    rates = by_steps_shown(subject, most=16)
    assert len(rates) == 17
    assert rates[0] == 0.0
    assert rates[16] > 0.8


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="a run directory must hold config"):
        main([str(tmp_path)])
