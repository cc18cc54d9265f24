"""What methods ask of their run: by hand with a scripted policy, in a composition, and in a run."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import gymnasium as gym
import numpy as np
import pytest
import tyro

from reason_env.agents.cpi import CPIConfig
from reason_env.agents.engines import EngineConfig
from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.methods import (
    GRPOConfig,
    MethodEntry,
    build_method,
    method_config,
    numbered_starts,
    registry,
)
from reason_env.agents.methods.compose import Composed
from reason_env.agents.methods.grpo import GRPO
from reason_env.agents.methods.rounds import collect_rounds
from reason_env.agents.methods.services import CountedServices, Unserved
from reason_env.agents.policy import JudgeConfig, LanguageModelPolicy, TokenScores
from reason_env.agents.rollout import training_sample
from reason_env.agents.runs import CheckpointConfig, config_json
from reason_env.agents.scripted import ScriptedPolicy, dry_run
from reason_env.agents.train import TrainConfig, build_session, iterate, prepare
from reason_env.codec import ByteCodec
from reason_env.env import EnvConfig
from reason_env.errors import ConfigError, UnknownNameError
from reason_env.problem import Problem, ProblemSet

CODEC = ByteCodec()
PROBLEMS = tuple(
    Problem(problem_id=f"toy/train/{n}", question=f"{n}+1=?", answer=str(n + 1), solution=(f"{n}",))
    for n in range(4)
)
JUDGE = JudgeConfig(max_new_tokens=4)


@dataclass(frozen=True, slots=True, kw_only=True)
class AskingConfig(GRPOConfig):
    kind: Annotated[Literal["asking"], tyro.conf.Suppress] = "asking"
    further: int = 1
    """Problems to ask for in each of two follow-ups."""
    judge: JudgeConfig = field(default_factory=lambda: JUDGE)

    def __post_init__(self):
        """A group of one is enough here."""


class Asking(GRPO):
    """Asks for further problems twice, for scores of what was sampled, and for a judge's word.

    Each token is weighed by its log-probability under the reference answer's prompt.
    """

    needs_entropies = True
    has_follow_up = True

    @property
    def judges(self):
        return (self.config.judge,)

    def follow_up(self, groups, rng):
        if len(self.services.states) >= 4 or len(groups) < len(self.services.states):
            return []
        found = self.services.more_states(self.config.further)
        return numbered_starts(found, self.config.group_size)

    def training_samples(self, groups, rng):
        items = [item for group in groups for item in group.trajectories]
        scores = self.services.score(
            [item.prompt_ids for item in items], [item.completion_ids for item in items], top_k=2
        )
        said = self.services.judge(self.config.judge, [item.reply[:4] for item in items])
        return [
            training_sample(
                item,
                [
                    float(bool(text)) + log_prob - entropy
                    for log_prob, entropy in zip(own.log_probs, item.entropies, strict=True)
                ][: len(item.behavior_log_probs)],
            )
            for item, own, text in zip(items, scores, said, strict=True)
        ]


@pytest.fixture
def asking(monkeypatch):
    """Registers the method for one test."""
    monkeypatch.setattr(registry, "_REGISTERED", dict(registry._REGISTERED))
    registry.register_method(MethodEntry(config=AskingConfig, build=Asking))
    return AskingConfig


def toy_env():
    return gym.make(
        "MathReason-v0",
        disable_env_checker=True,
        problems=ProblemSet("toy", PROBLEMS),
        format="tokens",
        granularity="response",
        max_tokens=40,
    )


def prompt(n):
    return f"{n}+1=?\n>"


def scores_of(*rows):
    """(problem, completion, first log-probability) -> scores, a quarter nat less each token."""
    return {
        (prompt(n), text): TokenScores(
            log_probs=tuple(first - 0.25 * at for at in range(len(text))),
            entropies=(0.5,) * len(text),
        )
        for n, text, first in rows
    }


def test_a_method_asks_for_problems_scores_and_a_judge_in_one_dry_run():
    method = Asking(AskingConfig(group_size=1, further=2))
    policy = ScriptedPolicy(
        {prompt(n): [f"#### {n}$"] for n in range(3)},
        entropies={"#### 1$": [0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 0.0625]},
        scores=scores_of((0, "#### 0$", -1.0), (1, "#### 1$", -2.0), (2, "#### 2$", -0.5)),
    )
    found = dry_run(
        method,
        ["toy/train/0"],
        env=toy_env(),
        policy=policy,
        further_ids=["toy/train/1", "toy/train/2"],
        judge={"####": "right"},
    )
    assert [[(start.draw, start.group) for start in starts] for starts in found.batches] == [
        [(0, "0:toy/train/0")],
        [(1, "1:toy/train/1"), (2, "2:toy/train/2")],
    ]
    assert all(start.keeps_entropies for starts in found.batches for start in starts)
    first, second, third = found.samples
    # 1 for the judge, the score, less the scripted entropy (1/16, 2/16, ...).
    assert first.advantages == tuple(1 - 1.0 - 0.25 * at - (at + 1) / 16 for at in range(7))
    entropies = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 0.0625)
    assert second.advantages == tuple(1 - 2.0 - 0.25 * at - own for at, own in enumerate(entropies))
    assert third.advantages[0] == 1 - 0.5 - 1 / 16
    assert found.asked.metrics("rollout") == {
        "rollout/further_problems": 2,
        # Three prompts of six tokens with completions of seven.
        "rollout/scored_tokens": 3 * (len(prompt(0)) + 7),
        "rollout/judge_tokens": 3 * len("right"),
        "rollout/judge_read_tokens": 3 * 4,
    }
    # Nothing is left: the method's second request gave none, and the dry run is over.
    assert isinstance(method.services, Unserved)


def test_a_question_without_room_has_no_reply_and_is_counted():
    method = Asking(AskingConfig(group_size=1, further=1))
    policy = ScriptedPolicy({prompt(0): ["#### 0$"]}, scores=scores_of((0, "#### 0$", -1.0)))
    found = dry_run(method, ["toy/train/0"], env=toy_env(), policy=policy, judge={"####": None})
    assert found.samples[0].advantages[0] == 0 - 1.0 - 1 / 16
    assert found.asked.metrics("cpi") == {
        "cpi/scored_tokens": len(prompt(0)) + 7,
        "cpi/unjudged": 1,
    }


def test_scripts_name_what_they_lack():
    method = Asking(AskingConfig(group_size=1))
    policy = ScriptedPolicy({prompt(0): ["#### 0$"]})
    with pytest.raises(UnknownNameError, match=r"no scores of '#### 0\$' after '0\+1=\?\\n>'"):
        dry_run(method, ["toy/train/0"], env=toy_env(), policy=policy)
    policy = ScriptedPolicy({prompt(0): ["#### 0$"]}, scores=scores_of((0, "#### 0$", -1.0)))
    with pytest.raises(UnknownNameError, match="no reply to '####' among 0; add one"):
        dry_run(method, ["toy/train/0"], env=toy_env(), policy=policy)


def test_in_a_composition_the_other_methods_plan_for_further_problems():
    pope = build_method(method_config("pope"))
    # As measured: problem 0 is easy, the others need a step.
    pope.prefixes = {"toy/train/0": 0, "toy/train/1": 1, "toy/train/2": 1}
    pope.prepare = pope.measure = lambda states, collect: states
    expo = build_method(method_config("expo"))
    asking = Asking(AskingConfig(group_size=2, further=2))
    both = Composed({"asking": asking, "pope": pope, "expo": expo})
    assert both.needs_entropies
    assert both.judges == (JUDGE,)
    states = [_state(n) for n in range(3)]
    services = CountedServices(
        states[:1], draw=lambda num: states[1:], policy=None, temperature=1.0, judges={}, seed=0
    )
    rng = np.random.default_rng(0)
    with both.served_by(services):
        planned = both.plan(states[:1], rng)
        assert all(own.services is services for own in both.methods)
        groups = [_group_of(start) for start in planned if start.role == "base"]
        later = both.follow_up(groups, rng)
    assert [(start.role, start.draw, start.num_samples) for start in planned] == [
        ("base", 0, 2),
        ("explanation", 0, 1),
    ]
    assert sorted((start.role, start.draw, start.num_samples) for start in later) == [
        ("base", 1, 2),
        ("base", 2, 2),
        ("explanation", 1, 1),
        ("explanation", 2, 1),
        ("guided", 1, 8),
        ("guided", 2, 8),
    ]
    assert {start.group for start in later if start.draw == 2} == {
        "2:toy/train/2",
        "2:toy/train/2/guided",
        "2:toy/train/2/explanation",
    }
    # One iteration, however often it is planned for.
    assert expo.iterations == 1
    # Who asked as a later method gets the first method's groups for what it asked for.
    first = build_method(GRPOConfig(group_size=3))
    later_asking = Asking(AskingConfig(group_size=2, further=2))
    later_asking.roles = frozenset({"asked"})
    other = Composed({"grpo": first, "asking": later_asking})
    services = CountedServices(
        states[:1], draw=lambda num: states[1:], policy=None, temperature=1.0, judges={}, seed=0
    )
    with other.served_by(services):
        later = other.follow_up(groups, rng)
    assert [(start.role, start.draw, start.num_samples) for start in later] == [
        ("base", 1, 2),
        ("base", 2, 2),
        ("base", 1, 3),
        ("base", 2, 3),
    ]


def _state(number):
    from reason_env.state import ReasonState

    return ReasonState(problem=PROBLEMS[number], codec=CODEC)


def _group_of(start):
    from reason_env.agents.rollout import Group, Trajectory

    item = Trajectory(
        trajectory_id="0/0",
        start=start,
        index=0,
        final_state=start.state.extend(CODEC.encode("#### 1")),
        prompt_ids=(5,),
        learn_prompt_ids=(5,),
        behavior_log_probs=(-0.5,) * 6,
        sampled_ids=(5,) * 6,
        episode_return=1.0,
        is_success=True,
        outcome="correct",
        policy_version=0,
    )
    return Group(key=start.group, trajectories=(item,))


def test_services_outside_of_an_iteration_and_wrong_requests_are_refused():
    method = Asking(AskingConfig())
    for name, ask in {
        "more_states": lambda: method.services.more_states(1),
        "score": lambda: method.services.score([], []),
        "judge": lambda: method.services.judge(JUDGE, []),
    }.items():
        with pytest.raises(ConfigError, match=f"within an iteration, got {name} outside of one"):
            ask()
    assert method.services.states == ()
    services = CountedServices(
        [], draw=lambda num: [], policy=ScriptedPolicy({}), temperature=1.0, judges={}, seed=0
    )
    with pytest.raises(ConfigError, match="asked for at least 1 problem, got 0"):
        services.more_states(0)
    with pytest.raises(ConfigError, match=r"hold each judge that it asks, got JudgeConfig"):
        services.judge(JUDGE, ["Is it?"])


def test_services_are_taken_back_after_an_error():
    method = Asking(AskingConfig())
    services = CountedServices(
        [], draw=lambda num: [], policy=ScriptedPolicy({}), temperature=1.0, judges={}, seed=0
    )
    with pytest.raises(ConfigError, match="got 0"), method.served_by(services):
        method.services.more_states(0)
    assert isinstance(method.services, Unserved)


def test_scores_have_the_temperature_of_sampling_unless_another_is_asked_for():
    asked = []

    class Scorer:
        def token_scores(self, contexts, completions, *, temperature, top_k):
            asked.append((temperature, top_k))
            return []

    services = CountedServices(
        [], draw=lambda num: [], policy=Scorer(), temperature=0.7, judges={}, seed=0
    )
    services.score([], [])
    services.score([], [], temperature=1.0, top_k=3)
    assert asked == [(0.7, 0), (1.0, 3)]


def run_config(**changes):
    settings = {
        "method": AskingConfig(group_size=2),
        "env": EnvConfig(problems="chain", levels=(3, 3), size=9, max_tokens=16),
        "problems_per_iteration": 2,
        "iterations": 3,
        "eval": EvalConfig(num_problems=1, samples=1, k=1, greedy=False),
        "checkpoint": CheckpointConfig(every=1),
        "episodes_per_iteration": 0,
    }
    return TrainConfig(**(settings | changes))


def test_a_run_with_services_counts_them_and_resumes_to_the_bit(asking, cut_and_resumed):
    def check(whole, again):
        assert again.num_drawn == 4

    whole, _, rows = cut_and_resumed(run_config(), check)
    # Two problems, then one more, twice: four each iteration, each drawn once in an epoch of nine.
    assert [row["rollout/num_groups"] for row in rows[1:]] == [4, 4, 4]
    assert [row["rollout/further_problems"] for row in rows[1:]] == [2, 2, 2]
    assert whole.num_drawn == 12
    for row in rows[1:]:
        assert row["rollout/judge_read_tokens"] > 0
        assert 0 < row["rollout/judge_tokens"] <= 8 * 4
        assert row["rollout/scored_tokens"] > row["rollout/sampled_tokens"]
        assert row["rollout/entropy_mean"] > 0
    assert rows[-1]["rollout/sampled_tokens_total"] == sum(
        row["rollout/sampled_tokens"] for row in rows[1:]
    )


def test_further_problems_are_the_next_draws_and_end_with_an_epoch_and_the_budget(asking):
    session = build_session(run_config(method=AskingConfig(group_size=2, further=5)))
    prepare(session)
    found = iterate(session)
    expected = session.config.drawn(session.problem_ids, 0, 7)
    assert [group.key for group in found.batch.groups] == [
        f"{draw}:{name}" for draw, name in enumerate(expected)
    ]
    assert (session.num_drawn, found.metrics["rollout/further_problems"]) == (7, 5)
    second = iterate(session)
    expected = session.config.drawn(session.problem_ids, 7, 7)
    assert [group.key.split(":")[1] for group in second.batch.groups] == expected
    # Nine problems: an iteration draws no tenth.
    session = build_session(run_config(method=AskingConfig(group_size=2, further=50)))
    prepare(session)
    assert len(iterate(session).batch.groups) == 9
    # The first round spends the budget.
    session = build_session(run_config(max_generated_tokens=40))
    prepare(session)
    found = iterate(session)
    assert len(found.batch.groups) == 2
    assert "rollout/further_problems" not in found.metrics


def test_a_method_that_asks_while_it_measures_is_refused(asking):
    session = build_session(run_config())
    prepare(session)
    session.method.measure = lambda states, collect: session.method.services.more_states(1)
    with pytest.raises(ConfigError, match="within an iteration, got more_states outside of one"):
        iterate(session)

    def measure(states, collect):
        # The first draws come before the iteration's services, the others from them.
        if not isinstance(session.method.services, Unserved):
            session.method.services.more_states(1)
        return states

    session.method.measure = measure
    with pytest.raises(ConfigError, match="more_states must not be asked in `measure`"):
        iterate(session)


def test_entropies_of_a_run_are_refused_with_vllm(asking):
    config = run_config(engine=EngineConfig(kind="vllm", kv_cache_gb=0.1))
    with pytest.raises(
        ConfigError, match="engine must be torch for a method that needs entropies, got 'vllm'"
    ):
        build_session(config)


def test_a_judge_is_loaded_once_for_all_that_name_it(asking, monkeypatch):
    loaded = []
    original = LanguageModelPolicy.load

    def load(name, **options):
        loaded.append(name)
        return original(name, **options)

    monkeypatch.setattr(LanguageModelPolicy, "load", load)
    session = build_session(run_config())
    assert loaded == ["base", "base"]
    assert list(session.judges) == [JUDGE]
    assert session.judges[JUDGE].policy is not session.policy


def test_the_conservative_test_serves_the_method_and_counts_apart(asking):
    class Branching(Asking):
        """Its further problems are trained as another role: restarts from mu."""

        roles = frozenset({"further"})

        def follow_up(self, groups, rng):
            from dataclasses import replace

            if any(group.key.endswith("/further") for group in groups):
                return []
            scores = self.services.score([(1, 2)], [(3,)])
            found = [*self.services.more_states(2), *self.services.more_states(50)]
            starts = numbered_starts(found, len(scores) + 1)
            return [
                replace(start, role="further", group=start.group + "/further") for start in starts
            ]

    config = run_config(
        method=AskingConfig(group_size=2),
        cpi=CPIConfig(
            num_restarts=3, samples=1, beta=0.5, accept="always", step_size=1.0, realised_problems=0
        ),
        iterations=1,
    )
    session = build_session(config)
    prepare(session)
    session.method = session.conservative.method = session.conservative.estimator.method = (
        Branching(config.method)
    )
    metrics = iterate(session).metrics
    # Of nine problems an iteration of two draws at most seven more, a test at three six more.
    assert (metrics["rollout/further_problems"], metrics["cpi/further_problems"]) == (7, 6)
    assert (metrics["cpi/scored_tokens"], metrics["cpi/num_restarts"]) == (3, 9)
    # The conservative test draws no problems of the run's own order.
    assert session.num_drawn == 9


def test_a_config_with_a_judge_reads_back_from_json(asking):
    config = run_config(method=AskingConfig(judge=JudgeConfig(model="smollm2", temperature=0.5)))
    assert config_json.load(TrainConfig, config_json.dump(config)) == config


def test_methods_that_ask_for_nothing_have_no_metrics_of_services():
    session = build_session(run_config(method=GRPOConfig(group_size=2), iterations=1))
    prepare(session)
    found = iterate(session)
    names = {name.split("/")[1] for name in found.metrics}
    assert names.isdisjoint(
        {"further_problems", "scored_tokens", "judge_tokens", "judge_read_tokens", "unjudged"}
    )
    assert "entropy_mean" not in names
    assert all(item.entropies is None for item in found.batch.trajectories)


def test_starts_of_a_method_that_needs_no_entropies_stay_as_they_are():
    method, states = build_method(GRPOConfig(group_size=2)), [_state(0)]
    seen = []

    def collect(starts):
        from reason_env.agents.rollout import RolloutBatch

        seen.extend(starts)
        return RolloutBatch(groups=(), sampling_s=0, grading_s=0, stepping_s=0)

    collect_rounds(method, states, collect, np.random.default_rng(0))
    assert [start.keeps_entropies for start in seen] == [False]
