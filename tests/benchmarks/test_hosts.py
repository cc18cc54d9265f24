import math

import pytest

from benchmarks.families import hosts
from reason_env.agents.methods import POPEConfig
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.pretraining import PretrainConfig
from reason_env.agents.pretraining.formats import ERROR_RATES
from reason_env.agents.pretraining.pretrain import build_model
from reason_env.agents.scripted import ScriptedPolicy
from reason_env.codec import ByteCodec
from reason_env.env import ReasonEnv
from reason_env.problem import Problem, ProblemSet
from reason_env.problems.families.family import first_wrong_step
from reason_env.state import ReasonState

CODEC = ByteCodec()
PROBLEM = Problem(
    problem_id="toy/test/0", question="q", answer="7", solution=("a1*7=7", "b2+1=3", "c3*7=1", "d")
)


def chain(*steps: str) -> ReasonState:
    return ReasonState(problem=PROBLEM, codec=CODEC).extend(CODEC.encode("\n".join(steps)))


def test_the_results_of_an_operation_are_the_tokens_after_its_equals_sign():
    state = chain("a1*7=7", "b2+1=3", "c3*7=1 abc", "*", "no*=", "#### 7")
    # a1*7=7 is 0..5 and a line end; the third line begins at 14.
    assert hosts.result_places(state, "*") == [5, 19, 31]
    assert hosts.result_places(state, "+") == [12]
    assert [chr(state.response[place]) for place in hosts.result_places(state, "*")] == [*"71\n"]


def test_the_critical_share_is_the_energy_of_the_results_over_all_energy():
    states = [chain("a1*7=7"), chain("b2+1=3", "c3*7=1")]
    energies = [[0.1, 0, 0, 0, 0, 0.5], [0.2] * 12 + [0.6]]
    # Critical: 0.5, and the last of 13 tokens, 0.6; all: 0.6 + 3.0.
    assert hosts.critical_share(states, energies, "*") == pytest.approx(1.1 / 3.6)


def test_clean_cuts_are_those_before_the_end_of_the_first_wrong_step():
    failed = [
        # Wrong at step 2 of 4: resets at steps 1 and 2 keep no error.
        chain("a1*7=7", "b2+1=4", "c4*7=8", "d"),
        # Wrong at step 1 of 2.
        chain("a1*7=8", "b2+1=3"),
        # Nothing is wrong: the chain was cut off.
        chain("a1*7=7", "b2+1=3"),
    ]
    assert hosts.clean_cut_share(failed, first_wrong_step) == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert hosts.clean_cut_share(failed[:1], first_wrong_step) == pytest.approx(0.5)
    nothing = ReasonState(problem=PROBLEM, codec=CODEC)
    assert hosts.clean_cut_share([*failed, nothing], first_wrong_step) == pytest.approx(2 / 3)
    assert math.isnan(hosts.clean_cut_share([nothing], first_wrong_step))


def subject(script: dict[str, list[str]]) -> hosts.Subject:
    problems = ProblemSet("toy", (PROBLEM,), first_wrong_step)
    return hosts.Subject(policy=ScriptedPolicy(script), env=ReasonEnv(problems, format="tokens"))


def test_guided_success_is_that_of_fresh_episodes_after_the_shortest_prefix_that_helped():
    right, wrong = "#### 7$", "#### 8$"
    own = subject(
        {
            "q\n>": [wrong],
            "q\nBegin:\na1*7=7\n>": [wrong, wrong],
            "q\nBegin:\na1*7=7\nb2+1=3\n>": [
                wrong, right, wrong, wrong, wrong, right,
            ],
        }
    )  # fmt: skip
    config = POPEConfig(hard_samples=1, probe_samples=2, grid=0.25, max_fraction=0.5)
    lengths = hosts.shortest_helpful(own, config, seed=0)
    assert lengths == {"toy/test/0": 2}
    # The search used up two of the six; of the other four one is right.
    assert hosts.guided_success(own, lengths, 4, seed=9) == pytest.approx(0.25)


def test_the_reading_from_the_left_of_a_precedence_question_is_worked_out():
    problem = Problem(problem_id="p/0", question="x=6-5*8 y=7*5-2 z=1+9*4", answer="637")
    # (6-5)*8 = 8; 35-2 = 33; (1+9)*4 = 40
    assert hosts.left_to_right(problem) == "830"


def test_the_error_rates_of_the_recipes_put_success_within_the_bounds():
    def holds(family: str, name: str, number: float) -> bool:
        low, high = hosts.BOUNDS[family][name]
        return low <= number <= high

    late = 1 - ERROR_RATES["late"]["slip *"]
    assert holds("late", "success", late**8)
    sealed = 1 - sum(ERROR_RATES["sealed"].values())
    # Five powers; four of them before the end of the first quarter.
    assert holds("sealed", "guided success", sealed)
    assert holds("sealed", "successes in 3,000 episodes", 3000 * sealed**5)
    letters, products = 32 * 3 * (1 - 1 / 26), 8 * (1 - late**2 - (1 - late) ** 2)
    assert holds("late", "critical share of energy", products / (letters + products))


def test_the_command_says_which_numbers_are_outside_their_bounds(tmp_path, capsys):
    model = build_model(PretrainConfig(hidden_size=16, num_layers=1, num_heads=1), CODEC)
    LanguageModelPolicy(model, CODEC).save(tmp_path)
    hosts.main(["late", "--model", str(tmp_path), "--problems", "2"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == list(hosts.BOUNDS["late"])
    assert lines[0].split() == ["success", "0.0000", "0.01..0.04", "OUTSIDE"]
    # An untrained model writes any bytes, and hardly one of them is critical.
    assert lines[1].endswith("  0..0.1")


@pytest.mark.parametrize("family", hosts.MEASURES)
def test_every_family_has_bounds_the_lowest_first(family):
    assert set(hosts.BOUNDS) == set(hosts.MEASURES)
    assert hosts.BOUNDS[family]
    assert all(low < high for low, high in hosts.BOUNDS[family].values())
