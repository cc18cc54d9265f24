import gymnasium as gym
import pytest

import reason_env  # noqa: F401 - registers the ids
from reason_env.agents.engines import Completion
from reason_env.agents.evaluate import EvalConfig, evaluate
from reason_env.codec import ByteCodec
from reason_env.errors import ConfigError, VerifierError
from reason_env.problem import Problem, ProblemSet

CODEC = ByteCodec()
PROBLEMS = ProblemSet(
    "toy",
    tuple(
        Problem(problem_id=f"toy/test/{index}", question=f"q{index}", answer="7", level=level)
        for index, level in enumerate((1, 1, 2))
    ),
)
IDS = [problem.problem_id for problem in PROBLEMS]


class CountingPolicy:
    """Of the samples of problem i, the first `correct[i]` are right; greedily, `greedy[i]` is."""

    codec = CODEC
    policy_version = 0

    def __init__(self, correct, greedy):
        self.correct, self.greedy = correct, greedy

    def sample(self, contexts, sampling, *, seed, stop_ids=None):
        replies = []
        for context in contexts:
            index = int(CODEC.decode(context.token_ids)[1])
            right = self.greedy[index] if sampling.is_greedy else self.correct[index]
            texts = ["#### 7" if n < right else "#### 8" for n in range(context.num_samples)]
            replies.append(tuple(completion(text) for text in texts))
        return replies


def completion(text):
    token_ids = (*CODEC.encode(text), CODEC.eos_id)
    return Completion(token_ids=token_ids, log_probs=(-0.5,) * len(token_ids), is_finished=True)


def report_of(correct, right_greedily=(1, 0, 1), **changes):
    env = gym.make("MathReason-v0", problems=PROBLEMS, format="tokens", granularity="response")
    config = EvalConfig(**({"samples": 4, "k": 2} | changes))
    return evaluate(CountingPolicy(correct, right_greedily), env, IDS, config=config, seed=5)


def test_pass_rates_are_those_worked_out_by_hand():
    report = report_of((4, 1, 0))
    assert report.pass_at_1.estimate == pytest.approx((1 + 1 / 4 + 0) / 3)
    # 1 - C(3, 2) / C(4, 2) = 1 - 3/6 for one right sample of four.
    assert report.pass_at_k.estimate == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert report.pass_at_1.low <= report.pass_at_1.estimate <= report.pass_at_1.high
    assert report.greedy is not None
    assert report.greedy.estimate == pytest.approx(2 / 3)
    assert report.outcomes == {"correct": 5, "incorrect": 7}


def test_levels_are_reported_separately():
    by_level = report_of((4, 1, 0)).by_level
    assert by_level == {1: (2, pytest.approx(5 / 8), pytest.approx(3 / 4)), 2: (1, 0.0, 0.0)}


def test_generated_tokens_count_samples_and_greedy_decoding():
    assert report_of((4, 1, 0)).sampled_tokens == (3 * 4 + 3) * 7
    assert report_of((4, 1, 0), greedy=False).sampled_tokens == 3 * 4 * 7


def test_never_solved_problems_have_an_interval_with_width():
    report = report_of((0, 0, 0))
    assert report.pass_at_1.estimate == 0.0
    assert report.pass_at_1.high > 0.5


def test_metrics_equal_the_fields_of_the_report():
    report = report_of((4, 1, 0))
    assert report.metrics["eval/pass_at_k"] == report.pass_at_k.estimate
    assert report.metrics["eval/k"] == 2
    assert report.metrics["eval/num_problems"] == 3


def test_problems_that_the_verifier_failed_on_are_left_out(monkeypatch, caplog):
    from reason_env.env import reason_env as env_module
    from reason_env.verdict import Outcome, Verdict
    from reason_env.verify import grade

    calls = iter(range(100))

    def failing(response, answer, options):
        if next(calls) < 3:
            return Verdict(Outcome.TIMEOUT, None, "too slow")
        return grade(response, answer)

    monkeypatch.setattr(env_module, "grade", failing)
    report = report_of((4, 1, 0), greedy=False)
    assert report.num_left_out == 1
    assert report.pass_at_1.estimate == pytest.approx((1 / 4 + 0) / 2)
    assert "left out 1 of 3 problems" in caplog.text


def test_a_verifier_that_always_fails_is_an_error(monkeypatch):
    from reason_env.env import reason_env as env_module
    from reason_env.verdict import Outcome, Verdict

    failed = Verdict(Outcome.ERROR, None, "worker died")
    monkeypatch.setattr(env_module, "grade", lambda response, answer, options: failed)
    with pytest.raises(
        VerifierError, match="some problem must have 2 graded samples, got none of 3"
    ):
        report_of((4, 1, 0), greedy=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 5}, "k must be at most samples, got 5 of 4"),
        ({"num_problems": 0}, "num_problems must be at least 1"),
        ({"every": -1}, "every must be at least 0"),
        ({"temperature": 0.0}, "temperature must be above 0"),
    ],
)
def test_bad_settings_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        report_of((4, 1, 0), **changes)
