import logging
from collections import Counter
from dataclasses import replace

import pytest
import torch

from reason_env.agents.cpi import CPIConfig
from reason_env.agents.cpi.measure import AdvantageEstimator
from reason_env.agents.engines import EngineConfig, SamplingConfig
from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.learning import AdvantageConfig, LearnerConfig
from reason_env.agents.methods.pope import POPE, POPEConfig, prefix_lengths
from reason_env.agents.metrics import metric
from reason_env.agents.rollout import collect
from reason_env.agents.runs import CheckpointConfig
from reason_env.agents.scripted import ScriptedPolicy, dry_run, scripted_log_probs
from reason_env.agents.train import TrainConfig, build_session, iterate, prepare
from reason_env.agents.train.fingerprint import preparation_fingerprint
from reason_env.codec import ByteCodec
from reason_env.env import EnvConfig
from reason_env.errors import ConfigError, ProblemError, UnknownNameError
from reason_env.problem import Problem
from reason_env.state import ReasonState
from tests.agents.methods.toy import toy_env

CODEC = ByteCodec()
HARD = Problem(
    problem_id="toy/train/0",
    question="hard?",
    answer="24",
    solution=tuple(f"s{number}" for number in range(1, 17)),
)
EASY = Problem(problem_id="toy/train/1", question="easy?", answer="2", solution=("1+1=2",))
BARE = Problem(problem_id="toy/train/2", question="bare?", answer="7")
PROMPT, EASY_PROMPT = "hard?\n>", "easy?\n>"
RIGHT, WRONG = "#### 24$", "#### 20$"
BASE, GUIDED = "0:toy/train/0", "0:toy/train/0/guided"


def ids(text):
    return CODEC.encode(text.removesuffix("$")) + ((CODEC.eos_id,) if text.endswith("$") else ())


def steps(count):
    return "".join(f"s{number}\n" for number in range(1, count + 1))


def guided(count):
    return f"hard?\nBegin:\n{steps(count)}>"


def make_env(problems=(HARD,)):
    return toy_env(*problems, max_tokens=40)


def make(**changes):
    return POPE(POPEConfig(**({"group_size": 2, "hard_samples": 3, "probe_samples": 2} | changes)))


def run(script, method, *, problems=(HARD,)):
    policy = ScriptedPolicy(script)
    names = [problem.problem_id for problem in problems]
    return dry_run(method, names, env=make_env(problems), policy=policy), policy


def searched(length, *, plain=(), own=()):
    """Returns the script of a search that first succeeds with `length` steps."""
    script = {PROMPT: [WRONG] * 3 + list(plain)}
    script |= {guided(count): [WRONG] * 2 for count in range(1, length)}
    return script | {guided(length): [WRONG, RIGHT, *own]}


def test_the_shortest_helpful_prefix_is_found_and_both_copies_are_trained():
    method = make()
    found, policy = run(searched(2, plain=[WRONG, RIGHT], own=[RIGHT, WRONG]), method)
    assert method.prefixes == {"toy/train/0": 2}
    assert [asked.text for asked in policy.asked] == [
        PROMPT,
        guided(1),
        guided(2),
        PROMPT,
        guided(2),
    ]
    assert [(s.group, s.role, s.num_samples) for s in found.batches[0]] == [
        (BASE, "base", 2),
        (GUIDED, "guided", 2),
    ]
    assert len(found.batches) == 1
    assert [item.advantage for item in found.samples] == [-0.5, 0.5, 0.5, -0.5]
    third = found.samples[2]
    # The guided copy is trained under its guided prompt; no token of the prefix is a response.
    assert third.context_ids == ids(guided(2))
    assert third.token_ids == ids(RIGHT)
    assert third.action_mask == (True,) * 8
    assert third.behavior_log_probs == scripted_log_probs(2, 8)
    assert found.samples[0].behavior_log_probs == scripted_log_probs(3, 8)
    assert third.role == "guided"


def test_a_search_without_a_helpful_prefix_takes_the_first_quarter():
    script = {PROMPT: [WRONG] * 5} | {guided(n): [WRONG] * 2 for n in (1, 2, 3)}
    method = make()
    run(script | {guided(4): [WRONG] * 4}, method)
    assert method.prefixes == {"toy/train/0": 4}


def test_a_search_runs_once_and_its_result_survives_a_checkpoint():
    method = make()
    script = searched(1, plain=[WRONG, RIGHT] * 2, own=[RIGHT, WRONG] * 2)
    run(script, method)
    again = make()
    again.load_state_dict(method.state_dict())
    assert method.state_dict() == {"prefixes": {"toy/train/0": 1}, "search": "before"}
    policy = ScriptedPolicy({PROMPT: [WRONG] * 2, guided(1): [RIGHT] * 2})
    dry_run(again, ["toy/train/0"], env=make_env(), policy=policy)
    assert [asked.text for asked in policy.asked] == [PROMPT, guided(1)]


def test_a_problem_that_the_base_policy_solves_is_not_hard():
    script = searched(1, plain=[WRONG] * 2, own=[RIGHT] * 2)
    script[EASY_PROMPT] = ["#### 2$", "#### 3$", "#### 3$"]
    method = make()
    found, policy = run(script, method, problems=(EASY, HARD))
    assert method.prefixes == {"toy/train/1": 0, "toy/train/0": 1}
    assert {item.group for item in found.samples} == {BASE, GUIDED}
    assert Counter(asked.text for asked in policy.asked)[EASY_PROMPT] == 1


def test_easy_mix_adds_easy_problems_without_guidance():
    script = searched(1, plain=[WRONG] * 2, own=[RIGHT] * 2)
    script[EASY_PROMPT] = ["#### 2$", "#### 3$", "#### 3$", "#### 2$", "#### 3$"]
    found, _ = run(script, make(easy="mix"), problems=(EASY, HARD))
    assert [(s.group, s.role) for s in found.batches[0]] == [
        ("0:toy/train/1", "base"),
        ("1:toy/train/0", "base"),
        ("1:toy/train/0/guided", "guided"),
    ]
    assert [item.advantage for item in found.samples[:2]] == [0.5, -0.5]


def test_guided_only_drops_the_plain_copy_of_hard_problems_and_keeps_easy_ones_plain():
    script = searched(1, own=[RIGHT] * 2)
    script[EASY_PROMPT] = ["#### 2$", "#### 3$", "#### 3$", "#### 2$", "#### 3$"]
    found, _ = run(script, make(copies="guided_only", easy="mix"), problems=(EASY, HARD))
    assert [start.role for start in found.batches[0]] == ["base", "guided"]


def test_problems_without_a_reference_solution_are_left_out_by_name_and_counted(caplog):
    script = searched(1, plain=[WRONG] * 2, own=[RIGHT] * 2)
    with caplog.at_level(logging.WARNING):
        found, policy = run(script, make(), problems=(BARE, HARD))
    assert caplog.messages == [
        "POPE leaves out 1 of 2 problems without a reference solution that fits: toy/train/2"
    ]
    assert {item.group for item in found.samples} == {BASE, GUIDED}
    assert all("bare" not in asked.text for asked in policy.asked)


def test_at_most_five_left_out_problems_are_named(caplog):
    many = [
        Problem(problem_id=f"toy/train/{n}", question=f"bare{n}?", answer="7") for n in range(9, 15)
    ]
    script = searched(1, plain=[WRONG] * 2, own=[RIGHT] * 2)
    with caplog.at_level(logging.WARNING):
        run(script, make(easy="mix"), problems=(HARD, *many))
    names = ", ".join(f"toy/train/{n}" for n in range(9, 14))
    assert caplog.messages == [
        f"POPE leaves out 6 of 7 problems without a reference solution that fits: {names}, ..."
    ]


def test_a_warning_names_left_out_problems_even_if_prefixes_come_from_a_cache(tmp_path, caplog):
    method = make(cache_dir=str(tmp_path))
    method.fingerprint = lambda: "policy"
    run(searched(1, plain=[WRONG] * 2, own=[RIGHT] * 2), method, problems=(BARE, HARD))
    again = make(cache_dir=str(tmp_path))
    again.fingerprint = lambda: "policy"
    loaded = make()
    loaded.load_state_dict(method.state_dict())
    for known in (again, loaded):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            run({guided(1): [RIGHT] * 2, PROMPT: [RIGHT] * 2}, known, problems=(BARE, HARD))
        assert caplog.messages == [
            "POPE leaves out 1 of 2 problems without a reference solution that fits: toy/train/2"
        ]


def test_no_reference_solution_at_all_is_refused():
    with pytest.raises(ProblemError, match="reference solution that fits, got none in 1; "):
        run({}, make(), problems=(BARE,))


def test_no_hard_problem_is_refused():
    script = {EASY_PROMPT: ["#### 2$"] * 3}
    with pytest.raises(ProblemError, match=r"hard problems, got none among 1 .* within 3 samples"):
        run(script, make(), problems=(EASY,))


def test_a_hard_prefix_is_the_beginning_of_the_response_and_is_never_trained():
    script = {
        PROMPT: [WRONG] * 3 + [WRONG] * 2,
        PROMPT + steps(1): [WRONG] * 2,
        PROMPT + steps(2): [WRONG, RIGHT, RIGHT, WRONG],
    }
    found, _ = run(script, make(conditioning="response"))
    assert set(found.batches[0][1].state.sources) == {"reference"}
    sample = found.of_role("guided")[0]
    assert sample.context_ids == ids(PROMPT)
    assert sample.token_ids == ids(steps(2) + RIGHT)
    assert sample.action_mask == (False,) * 6 + (True,) * 8
    assert sample.behavior_log_probs == (0.0,) * 6 + scripted_log_probs(2, 8)
    assert sample.advantage == 0.5


def test_an_instruction_follows_the_prefix():
    text = f"hard?\nBegin:\n{steps(1)}Do not restate.\n>"
    script = {PROMPT: [WRONG] * 5, text: [RIGHT] * 4}
    _, policy = run(script, make(instruction="Do not restate."))
    assert [asked.text for asked in policy.asked] == [PROMPT, text, PROMPT, text]


def test_problems_share_search_rounds_and_each_uses_a_grid_of_its_solution_s_length():
    short = Problem(
        problem_id="toy/train/3", question="short?", answer="5", solution=tuple("abcdefgh")
    )
    script = searched(3, plain=[WRONG] * 2, own=[RIGHT] * 2)
    script |= {"short?\n>": [WRONG] * 5, "short?\nBegin:\na\n>": ["#### 5$"] * 4}
    method = make()
    _, policy = run(script, method, problems=(short, HARD))
    assert method.prefixes == {"toy/train/3": 1, "toy/train/0": 3}
    asked = [item.text for item in policy.asked]
    assert asked[2:4] == ["short?\nBegin:\na\n>", guided(1)]
    assert asked[4:6] == [guided(2), guided(3)]


@pytest.mark.parametrize(
    ("num_steps", "max_fraction", "grid", "lengths"),
    [
        (16, 0.25, 0.0625, (1, 2, 3, 4)),
        (12, 0.25, 0.0625, (1, 2, 3)),
        (32, 0.25, 0.0625, (2, 4, 6, 8)),
        (5, 0.25, 0.0625, (1,)),
        (1, 0.25, 0.0625, (1,)),
        (16, 0.25, 0.15, (3, 4)),  # the quarter itself, though 4 is off the grid
        (16, 0.25, 0.5, (4,)),
        (4, 1.0, 0.3, (2, 3, 4)),
        (10, 0.3, 0.1, (1, 2, 3)),  # 3 * 0.1 * 10 is 3.0000000000000004
        (100, 0.29, 0.29, (29,)),  # 0.29 * 100 is 28.999999999999996
    ],
)
def test_the_searched_lengths_lie_on_the_grid_up_to_the_largest(
    num_steps, max_fraction, grid, lengths
):
    assert prefix_lengths(num_steps, max_fraction=max_fraction, grid=grid) == lengths


def test_the_paper_s_numbers_are_the_defaults():
    config = POPEConfig()
    assert config.advantage.kind == "mean"
    assert (1 - config.loss.clip_low, 1 + config.loss.clip_high) == (0.0, 5.0)
    assert config.loss.aggregation == "seq_mean_token_sum"
    assert config.loss.kl_coefficient == 0
    assert (config.conditioning, config.copies, config.easy) == ("prompt", "both", "drop")
    assert POPE(config).loss == config.loss


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"group_size": 1}, "group_size must be at least 2, got 1"),
        ({"hard_samples": 0}, "hard_samples must be at least 1, got 0"),
        ({"probe_samples": 0}, "probe_samples must be at least 1, got 0"),
        ({"max_fraction": 0.0}, "max_fraction must be above 0, got 0.0"),
        ({"grid": 0.0}, "grid must be above 0, got 0.0"),
        ({"grid": 2.0}, "grid must lie in 0..1, got 2.0"),
        ({"max_fraction": 25}, "max_fraction must lie in 0..1, got 25.0"),
        ({"conditioning": "prefix"}, "conditioning must be one of prompt, response, got 'prefix'"),
        ({"copies": "guided"}, "copies must be one of both, guided_only, got 'guided'; did you"),
        ({"easy": "keep"}, "easy must be one of drop, mix, got 'keep'"),
        ({"search": "later"}, "search must be one of auto, before, first_draw, got 'later'"),
    ],
)
def test_numbers_and_names_out_of_range_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        POPEConfig(**changes)


def test_a_run_that_was_killed_resumes_to_the_same_bits_without_searching_again(cut_and_resumed):
    config = TrainConfig(
        method=POPEConfig(group_size=2, hard_samples=2, probe_samples=1),
        env=EnvConfig(levels=(6, 8), size=6, max_tokens=64),
        eval=EvalConfig(num_problems=2, samples=1, k=1, greedy=False),
        checkpoint=CheckpointConfig(every=1),
        learner=LearnerConfig(learning_rate=2e-4),
        iterations=2,
        problems_per_iteration=2,
        episodes_per_iteration=0,
    )

    def does_not_search(whole, again):
        searched_before = again.sampled_tokens_total
        assert again.method.state_dict() == whole.method.state_dict()
        prepare(again)
        assert again.sampled_tokens_total == searched_before

    whole, again, _ = cut_and_resumed(config, does_not_search)
    assert whole.problem_ids == again.problem_ids


def cached(folder, *, fingerprint="policy", **changes):
    method = make(cache_dir=str(folder), **changes)
    method.fingerprint = lambda: fingerprint
    return method


def test_a_cached_search_is_reused_and_its_tokens_are_counted(tmp_path):
    folder = tmp_path / "new" / "searches"
    first = cached(folder)
    run(searched(3, plain=[WRONG, RIGHT], own=[WRONG, RIGHT]), first)
    (file,) = folder.iterdir()
    # 3 plain probes, then 2 with each of 1, 2 and 3 steps, 8 tokens each.
    assert first.prepared_tokens == 0
    second = cached(folder, copies="guided_only", advantage=AdvantageConfig(kind="rloo"))
    found, policy = run({guided(3): [WRONG, RIGHT]}, second)
    assert second.prefixes == first.prefixes == {"toy/train/0": 3}
    assert second.prepared_tokens == 9 * 8
    assert len(policy.asked) == 1
    assert [start.role for start in found.batches[0]] == ["guided"]
    assert list(folder.iterdir()) == [file]


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        ({"fingerprint": "another"}, (HARD,)),
        ({"probe_samples": 3}, (HARD,)),
        ({"hard_samples": 2}, (HARD,)),
        ({"instruction": "Go on."}, (HARD,)),
        ({"conditioning": "response"}, (HARD,)),
        ({"max_fraction": 0.2}, (HARD,)),
        ({"grid": 0.125}, (HARD,)),
        ({}, (replace(HARD, answer="25"),)),
        ({}, (HARD, EASY)),
    ],
)
def test_the_cache_misses_for_another_policy_setting_or_problem(tmp_path, changes, problems):
    run(searched(3, plain=[WRONG, RIGHT], own=[WRONG, RIGHT]), cached(tmp_path))
    with pytest.raises((UnknownNameError, ConfigError), match="script"):
        run({PROMPT: []}, cached(tmp_path, **changes), problems=problems)


def test_a_resumed_run_does_not_count_the_tokens_of_a_search_again(tmp_path):
    first = cached(tmp_path)
    run(searched(3, plain=[WRONG, RIGHT], own=[WRONG, RIGHT]), first)
    again = cached(tmp_path)
    again.load_state_dict(first.state_dict())
    run({PROMPT: [WRONG, RIGHT], guided(3): [WRONG, RIGHT]}, again)
    assert again.prepared_tokens == 0


def test_a_damaged_search_and_an_unknown_policy_are_refused(tmp_path):
    run(searched(3, plain=[WRONG, RIGHT], own=[WRONG, RIGHT]), cached(tmp_path))
    (file,) = tmp_path.iterdir()
    for text in ("{", '{"format": 9}', '{"format": 1, "values": [], "sampled_tokens": 1}'):
        file.write_text(text)
        with pytest.raises(ConfigError, match=r"must be as it was written, got .* remove it"):
            run({}, cached(tmp_path))
    with pytest.raises(ConfigError, match="cache_dir must be None without a policy's fingerprint"):
        run({}, make(cache_dir=str(tmp_path)))


def test_the_cache_works_with_problems_that_have_no_solution(tmp_path):
    run(searched(2, plain=[WRONG] * 2, own=[WRONG] * 2), cached(tmp_path), problems=(BARE, HARD))
    second = cached(tmp_path)
    run({PROMPT: [WRONG] * 2, guided(2): [WRONG] * 2}, second, problems=(BARE, HARD))
    assert second.prefixes == {"toy/train/0": 2}


def fingerprint_of(session):
    return preparation_fingerprint(session.config, session.policy)


def test_a_run_with_a_cached_search_equals_one_that_searches(tmp_path):
    def config(**changes):
        method = POPEConfig(group_size=2, hard_samples=2, probe_samples=1, **changes)
        return TrainConfig(
            method=method,
            env=EnvConfig(levels=(6, 8), size=3, max_tokens=48),
            eval=EvalConfig(num_problems=1),
            problems_per_iteration=1,
        )

    def totals(session):
        prepare(session)
        return session.sampled_tokens_total, session.method.state_dict()

    plain = totals(build_session(config()))
    again = config(cache_dir=str(tmp_path))
    assert totals(build_session(again)) == plain
    assert len(list(tmp_path.iterdir())) == 1
    session = build_session(again)
    assert totals(session) == plain
    assert session.policy.engine.num_prefill_tokens == 0
    with torch.no_grad():
        next(iter(session.policy.model.parameters())).view(-1)[0] += 1e-3
    assert fingerprint_of(session) != fingerprint_of(build_session(again))
    other = replace(again, seed=1)
    assert fingerprint_of(build_session(other)) != fingerprint_of(build_session(again))
    warm = replace(again, sampling=replace(again.sampling, temperature=0.9))
    assert fingerprint_of(build_session(warm)) != fingerprint_of(build_session(again))
    # Another engine draws other samples from the same seed. Only its name is needed here.
    torch_fingerprint = fingerprint_of(session)
    session.config = replace(session.config, engine=EngineConfig(kind="vllm"))
    assert fingerprint_of(session) != torch_fingerprint


def test_at_the_first_draw_unknown_problems_are_measured_and_the_longest_prefix_is_not_sampled():
    method = make(search="first_draw")
    # No prefix of 1, 2 or 3 steps helps; 4 steps are shown without a sample.
    script = {PROMPT: [WRONG] * 5, guided(1): [WRONG] * 2, guided(2): [WRONG] * 2}
    script |= {guided(3): [WRONG] * 2, guided(4): [WRONG, RIGHT]}
    script[EASY_PROMPT] = ["#### 2$", "#### 3$", "#### 3$"]
    found, policy = run(script, method, problems=(EASY, HARD))
    assert method.prefixes == {"toy/train/1": 0, "toy/train/0": 4}
    asked = [item.text for item in policy.asked]
    assert asked[:2] == [EASY_PROMPT, PROMPT]
    assert asked[2:] == [guided(1), guided(2), guided(3), PROMPT, guided(4)]
    assert [(s.group, s.role) for s in found.batches[0]] == [(BASE, "base"), (GUIDED, "guided")]


def test_a_solution_with_one_length_on_the_grid_has_nothing_to_search():
    short = replace(HARD, solution=("s1",))
    script = {PROMPT: [WRONG] * 5, guided(1): [RIGHT] * 2}
    method = make(search="first_draw")
    _, policy = run(script, method, problems=(short,))
    assert method.prefixes == {"toy/train/0": 1}
    assert [item.text for item in policy.asked] == [PROMPT, PROMPT, guided(1)]


def states_of(*problems):
    return [ReasonState(problem=problem, codec=CODEC) for problem in problems]


def asking(policy, problems):
    env, asked = make_env(problems), []

    def collected(starts):
        asked.append([start.group for start in starts])
        return collect(
            starts, env=env, policy=policy, sampling=SamplingConfig(), seed=len(asked)
        ).groups

    return collected, asked


def test_known_problems_are_not_measured_again_and_a_problem_drawn_twice_is_measured_once():
    problems = (HARD, EASY)
    method = make(search="first_draw", max_fraction=0.0625)
    policy = ScriptedPolicy({PROMPT: [WRONG] * 3, EASY_PROMPT: ["#### 2$"] * 3})
    collected, asked = asking(policy, problems)
    hard, easy = states_of(*problems)
    assert method.prepare([hard, easy], collected) == [hard, easy]
    assert asked == []
    assert method.measure([hard, hard], collected) == [hard, hard]
    assert asked == [["toy/train/0"]]
    assert method.trained_problems(["toy/train/0", "toy/train/1"]) == ["toy/train/0"]
    assert method.measure([hard, easy], collected) == [hard]
    assert asked == [["toy/train/0"], ["toy/train/1"]]
    again = make(search="first_draw")
    again.load_state_dict(method.state_dict())
    again.prepare([hard, easy], collected)
    assert again.measure([easy, hard, easy], collected) == [hard]
    assert len(asked) == 2


def test_easy_problems_stay_in_a_mixture_at_the_first_draw():
    method = make(search="first_draw", easy="mix")
    collected, _ = asking(ScriptedPolicy({EASY_PROMPT: ["#### 2$"] * 3}), (EASY,))
    (easy,) = states_of(EASY)
    method.prepare([easy], collected)
    assert method.measure([easy], collected) == [easy]
    assert method.trained_problems(["toy/train/1"]) == ["toy/train/1"]


def test_a_set_without_hard_problems_is_refused_once_all_of_it_is_measured():
    other = replace(EASY, problem_id="toy/train/4", question="other?")
    script = {EASY_PROMPT: ["#### 2$"] * 3, "other?\n>": ["#### 2$"] * 3}
    method = make(search="first_draw")
    collected, _ = asking(ScriptedPolicy(script), (EASY, other))
    first, second = states_of(EASY, other)
    method.prepare([first, second], collected)
    assert method.measure([first], collected) == []
    with pytest.raises(ProblemError, match=r"got none among 2 .* within 3 samples"):
        method.measure([second], collected)


@pytest.mark.parametrize(
    ("search", "num", "expected"),
    [
        ("auto", 512, "before"),
        ("auto", 513, "first_draw"),
        ("before", 513, "before"),
        ("first_draw", 1, "first_draw"),
    ],
)
def test_large_sets_are_measured_at_the_first_draw_by_default(search, num, expected):
    assert POPEConfig().search == "auto"
    method = make(search=search, max_fraction=0.0625)
    states = [replace(state, problem=replace(HARD, problem_id=f"t/train/{n}")) for n, state in
              enumerate(states_of(HARD) * num)]  # fmt: skip
    asked = []

    def collected(starts):
        asked.extend(starts)
        return []

    method.prepare(states, collected)
    assert method.search == expected
    assert bool(asked) == (expected == "before")
    # A state of version 0.1 comes from a search before training.
    method.load_state_dict({"prefixes": {}})
    assert method.search == "before"


def lazy(**changes):
    method = {"group_size": 2, "hard_samples": 2, "probe_samples": 1, "search": "first_draw"}
    arguments = {
        "method": POPEConfig(**(method | changes.pop("method", {}))),
        "env": EnvConfig(levels=(5, 8), size=8, max_tokens=64),
        "eval": EvalConfig(num_problems=2, samples=1, k=1, greedy=False),
        "checkpoint": CheckpointConfig(every=1),
        "learner": LearnerConfig(learning_rate=2e-4),
        "iterations": 3,
        "problems_per_iteration": 2,
        "episodes_per_iteration": 0,
    }
    return TrainConfig(**(arguments | changes))


def test_a_run_that_measures_at_the_first_draw_resumes_to_the_same_bits(cut_and_resumed):
    def has_its_place(whole, again):
        assert 2 <= again.num_drawn < whole.num_drawn
        assert len(again.method.prefixes) < len(whole.method.prefixes)

    whole, again, rows = cut_and_resumed(lazy(), has_its_place)
    assert "rollout/preparation_tokens" not in rows[0]
    assert again.method.state_dict() == whole.method.state_dict()
    assert len(whole.problem_ids) == 8
    total = 0
    for row in rows[1:]:
        total += row["rollout/sampled_tokens"] + row.get("rollout/preparation_tokens", 0)
        assert row["rollout/sampled_tokens_total"] == total
    assert rows[1]["rollout/preparation_tokens"] > 0
    assert sum(row.get("rollout/left_out_problems", 0) for row in rows[1:]) + 2 * 3 == (
        whole.num_drawn
    )
    assert all(metric(name) for row in rows for name in row if name != "iteration")


def test_cached_measurements_at_the_first_draw_change_nothing_but_the_sampling(tmp_path):
    def rows(config):
        session = build_session(config)
        prepare(session)
        found = [iterate(session).metrics for _ in range(3)]
        prefilled = [row.pop("rollout/prefilled_tokens") for row in found]
        for row in found:
            row.pop("rollout/reused_tokens")
        kept = [{k: v for k, v in row.items() if not k.startswith("time/")} for row in found]
        return kept, prefilled, session.method.prefixes

    plain, num_plain, prefixes = rows(lazy())
    first = rows(lazy(method={"cache_dir": str(tmp_path)}))
    assert first == (plain, num_plain, prefixes)
    entries = sorted(tmp_path.iterdir())
    assert len(entries) >= 2  # one for each round of measuring
    again, num_again, same = rows(lazy(method={"cache_dir": str(tmp_path)}))
    assert (again, same) == (plain, prefixes)
    assert num_again[0] < num_plain[0]
    assert sorted(tmp_path.iterdir()) == entries


LARGER = {"group_size": 6, "max_fraction": 0.5}


def test_a_conservative_update_draws_its_restarts_from_measured_problems(monkeypatch):
    cpi = CPIConfig(
        num_restarts=4, samples=1, realised_problems=0, step_size=1.0, accept="always", beta=0.5
    )
    env = EnvConfig(levels=(5, 7), size=16, max_tokens=96)
    session = build_session(lazy(cpi=cpi, env=env, problems_per_iteration=4, method=LARGER))
    prepare(session)
    drawn = []
    advantage = AdvantageEstimator.advantage

    def recorded(self, old, new, *, problem_ids, **options):
        drawn.append(list(problem_ids))
        return advantage(self, old, new, problem_ids=problem_ids, **options)

    monkeypatch.setattr(AdvantageEstimator, "advantage", recorded)
    row = iterate(session).metrics
    assert row["update/num_updates"] > 0
    hard = [name for name, length in session.method.prefixes.items() if length]
    assert sorted(drawn[0]) == sorted(hard)
    assert len(hard) < len(session.problem_ids)
