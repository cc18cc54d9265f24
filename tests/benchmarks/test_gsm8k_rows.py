"""What adds up in the runs on GSM8K, and what is found if it does not."""

from pathlib import Path

import pytest

from benchmarks.methods.gsm8k_rows import GSM8KRows, checked, main, refusal
from reason_env.agents.methods import method_names

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "gsm8k"


def rows(**changes):
    """A run that prepared 7 tokens, then three iterations of 10, 20 and 30, two by roles."""
    found = [{"iteration": 0, "rollout/preparation_tokens": 7, "eval/pass_at_1": 0.5}]
    total = 7
    for number in (1, 2, 3):
        total += 10 * number
        found.append(
            {
                "iteration": number,
                "rollout/sampled_tokens": 10 * number,
                "rollout/sampled_tokens_total": total,
                "rollout/discarded_tokens": number,
                "update/num_updates_total": number,
                "update/tokens": 5,
            }
        )
    found[2] |= {"rollout/sampled_tokens/base": 12, "rollout/sampled_tokens/hinted": 8}
    found[3] |= {"rollout/sampled_tokens/base": 30} | changes
    return found


def test_the_sums_of_a_run_are_returned():
    assert checked("grpo", rows()) == {"generated": 67, "trained": 15, "updates": 3}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rollout/sampled_tokens/base": 29}, "lte: tokens of the roles"),
        ({"rollout/sampled_tokens_total": 60}, "lte: the run's total"),
        ({"rollout/discarded_tokens": 31}, "lte: discarded tokens"),
        ({"update/ratio_mean": float("nan")}, "lte: update/ratio_mean is not finite"),
        ({"iteration": 4}, "lte: three iterations"),
    ],
)
def test_what_does_not_add_up_is_found(changes, message):
    with pytest.raises(AssertionError, match=message):
        checked("lte", rows(**changes))


def test_only_a_method_that_needs_successes_may_refuse_and_only_for_their_lack(tmp_path):
    said = "reason-env: error: prefixrl must have problems with a success, got none among 8; take"
    (tmp_path / "errors").write_text(f"reason-env: WARNING: 8 of 8 are long\n{said}\n")
    assert refusal("prefixrl", tmp_path) == said
    with pytest.raises(AssertionError, match="grpo: reason-env: error: prefixrl must"):
        refusal("grpo", tmp_path)
    (tmp_path / "errors").write_text("reason-env: error: no file\n")
    with pytest.raises(AssertionError, match="prefixrl: reason-env: error: no file"):
        refusal("prefixrl", tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data/gsm8k")
def test_every_method_runs_on_real_problems_and_its_tokens_add_up():
    found = main(GSM8KRows(directory=DATA))
    assert set(found) == {*method_names(), "cpi"}
