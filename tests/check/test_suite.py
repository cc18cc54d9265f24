import itertools
import random

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from reason_env.check import check_env_id, check_reasoning_env
from reason_env.check.report import Check, CheckReport
from reason_env.check.stacks import StackTask, actions_of, stack_checks
from reason_env.check.tasks import check_reasoning_task
from reason_env.codec import HuggingFaceCodec
from reason_env.env import ReasonEnv
from reason_env.errors import ConfigError, StateError
from reason_env.problem import Problem, ProblemSet
from reason_env.snapshot import snapshot
from reason_env.state import PromptTemplate
from reason_env.wrappers.hint import Hint
from reason_env.wrappers.prefix_rollin import PrefixRollin
from reason_env.wrappers.reset_to_state import ResetToState

TOY = ProblemSet(
    "toy",
    tuple(
        Problem(problem_id=f"toy/train/{row}", question=f"{row}+100=?", answer=str(row + 100))
        for row in range(8)
    ),
)
GENERAL = [
    "references score the most",
    "empty and random text score the floor",
    "the verifier is the same under load",
    "a seed replays",
    "global generators are left alone",
]
OWN = [
    "no solution in the observation",
    "same seed under PYTHONHASHSEED",
    "fork law",
    "two instances are apart",
]
PIECES = "a text in pieces is the text"


def failed(report) -> list[str]:
    return [name for name, word, _ in report.rows if word == "FAILED"]


def skipped(report) -> list[str]:
    return [name for name, word, _ in report.rows if word == "skipped"]


@pytest.mark.parametrize(
    ("problems", "granularity", "form"),
    [("chain", "step", "text"), ("inverse", "token", "tokens")],
)
def test_the_built_in_families_pass_every_check(problems, granularity, form):
    env = gym.make(
        "MathReason-v0", problems=problems, size=40, granularity=granularity, format=form
    )
    report = check_reasoning_env(env, num_problems=6)
    assert [name for name, _, _ in report.rows] == GENERAL + OWN + [PIECES]
    assert report.rows == [(name, "ok", "") for name in GENERAL + OWN + [PIECES]]
    assert report.passed


def test_a_stack_of_start_wrappers_passes_every_check_and_keeps_its_state():
    env = gym.make("MathReason-v0", problems="chain", size=40)
    env = Hint(PrefixRollin(ResetToState(env, keep="none"), probability=0.5), trigger=0.5)
    env.reset(seed=3)
    before = snapshot(env)
    report = check_reasoning_env(env, num_problems=6)
    assert failed(report) == skipped(report) == []
    assert snapshot(env) == before


def test_an_id_is_checked_with_its_arguments():
    report = check_env_id("MathReason-v0", num_problems=3, problems="inverse", size=10)
    assert report.passed
    with pytest.raises(ConfigError, match="env id must be registered, got 'MathReson-v0'; "):
        check_env_id("MathReson-v0")
    with pytest.raises(ConfigError, match="env must be a stack on ReasonEnv, got CartPoleEnv"):
        check_env_id("CartPole-v1")


def test_checks_that_need_a_spec_are_skipped_without_one():
    report = check_reasoning_env(ReasonEnv(TOY), num_problems=4)
    assert report.passed
    assert skipped(report) == OWN[1:]
    assert all("has no JSON spec" in row[2] for row in report.rows if row[1] == "skipped")


def test_a_stack_that_cannot_be_rewound_is_refused():
    env = gym.wrappers.FrameStackObservation(
        ReasonEnv(TOY, granularity="token", format="tokens"), 2
    )
    with pytest.raises(StateError, match="every layer must support snapshots, got FrameStack"):
        check_reasoning_env(env)


class Task:
    """A tiny environment that is sound but for one fault."""

    made = itertools.count()
    shared = 0

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.calls = 0

    def begin(self, seed: int) -> str:
        if self.fault == "draws from the global generator":
            random.random()
        if self.fault == "draws from numpy's global generator":
            np.random.random()
        if self.fault == "seeds the global generator":
            random.seed(seed)
        if self.fault == "seeds numpy's global generator":
            np.random.seed(seed)
        if self.fault == "is decided by the global generator":
            saved = random.getstate()
            self.row = random.randrange(1000)
            random.setstate(saved)
            return str(self.row)
        self.calls += 1
        self.row = random.Random(seed).randrange(1000)
        if self.fault == "does not replay":
            self.row += self.calls
        if self.fault == "shares its state":
            Task.shared = self.row
        return f"{self.row}*2=?"

    def respond(self, text: str) -> float:
        self.calls += 1
        if self.fault == "draws from the global generator in its verdict":
            random.random()
        row = Task.shared if self.fault == "shares its state" else self.row
        if self.fault == "pays for anything":
            return 1.0
        if self.fault == "pays for the question":
            return float(text in (str(row * 2), f"{row}*2=?"))
        if self.fault == "pays for silence":
            return float(text in (str(row * 2), ""))
        if self.fault == "forgets verdicts":
            return float(text == str(row * 2)) + self.calls / 1000
        if self.fault == "references differ":
            return (1.0 + row) * (text == str(row * 2))
        return float(text == str(row * 2))

    def reference(self) -> str:
        if self.fault == "has wrong references":
            return str(self.row * 2 + 1)
        row = Task.shared if self.fault == "shares its state" else self.row
        return str(row * 2)


def test_a_sound_task_passes():
    report = check_reasoning_task(Task, num_problems=6)
    made = [*GENERAL, "two instances are apart"]
    assert [row for row in report.rows if row[1] == "ok"] == [(name, "ok", "") for name in made]
    assert [(name, detail) for name, word, detail in report.rows if word == "skipped"] == [
        (OWN[1], "not offered: the task has no program() that builds it in another process"),
        (OWN[2], "not offered: the task has no save() and load()"),
    ]


def test_checks_of_optional_methods_are_skipped_for_a_task_without_them():
    report = check_reasoning_env(Task(), num_problems=6)
    assert [name for name, _, _ in report.rows] == GENERAL + OWN
    assert skipped(report) == OWN
    assert report.passed
    assert all(detail.startswith("not offered: ") for _, word, detail in report.rows[5:])
    with pytest.raises(ConfigError, match="must be a Gymnasium environment or a ReasoningTask, go"):
        check_reasoning_env(object())


PROGRAM = """
class Other:
    def begin(self, seed):
        self.seed = seed
        return str({seen})
    def respond(self, text):
        seed = self.seed
        return float({return})
    def reference(self):
        seed = self.seed
        return str({reference})
    def solution(self):
        seed = self.seed
        return ("first", str({step}))
print("chatter")
task = Other()
"""


class Whole(Task):
    """A task that offers everything, with one more kind of fault."""

    def another(self):
        return Whole(self.fault)

    def save(self):
        return [self.row]

    def load(self, saved):
        if self.fault != "loads nothing":
            self.row = saved[0] + (self.fault == "loads another state")
        if self.fault == "empties what it loads":
            saved[0] += 1

    def program(self):
        parts = dict.fromkeys(("seen", "reference", "step", "return"), "seed")
        if self.fault.startswith("hashes the "):
            parts[self.fault.removeprefix("hashes the ")] = "hash(str(seed))"
        text = PROGRAM.format(**parts)
        if self.fault == "has no solution":
            text = text.replace("def solution", "def other")
        return text + "raise SystemExit('no task')" * (self.fault == "is not made")


def test_a_task_with_every_optional_method_passes_all_checks_that_apply():
    report = check_reasoning_env(Whole(), num_problems=6)
    assert skipped(report) == OWN[:1]
    assert report.passed


@pytest.mark.parametrize(
    ("fault", "check", "detail"),
    [
        ("loads nothing", OWN[2], "a fork of seed 0 returns 0.0, the original 1.0"),
        ("loads another state", OWN[2], "a fork of seed 0 returns 0.0, the original 1.0"),
        ("empties what it loads", OWN[2], "after load, seed 0 continues differently"),
        ("is not made", OWN[1], "another process fails: no task"),
    ],
)
def test_each_fault_of_an_optional_method_is_found(fault, check, detail):
    report = check_reasoning_env(Whole(fault), num_problems=6)
    assert failed(report) == [check]
    assert (check, "FAILED", detail) in report.rows


@pytest.mark.parametrize(
    ("fault", "part"),
    [
        ("hashes the seen", "observation"),
        ("hashes the reference", "reference"),
        ("hashes the step", "solution"),
        ("hashes the return", "return"),
    ],
)
def test_any_part_of_an_episode_that_depends_on_the_hash_seed_is_found(fault, part):
    report = check_reasoning_env(Whole(fault), num_problems=2)
    assert failed(report) == OWN[1:2]
    detail = {row[0]: row[2] for row in report.rows}[OWN[1]]
    assert detail.startswith(f"the {part} of seed 0 depends on PYTHONHASHSEED: ")
    # The message shows both values, and they differ.
    one, other = detail.split(": ", 1)[1].split(" or ")
    assert one != other


def test_a_task_without_solutions_passes_the_hash_seed_check():
    report = check_reasoning_env(Whole("has no solution"), num_problems=2)
    assert (OWN[1], "ok", "") in report.rows
    assert report.passed


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ("has wrong references", GENERAL[:2]),
        ("references differ", GENERAL[:1]),
        ("pays for anything", GENERAL[:2]),
        ("pays for silence", GENERAL[:2]),
        ("pays for the question", [GENERAL[1]]),
        ("does not replay", GENERAL[3:]),
        ("forgets verdicts", [GENERAL[0], *GENERAL[2:4]]),
        ("draws from the global generator", [GENERAL[4]]),
        ("draws from numpy's global generator", [GENERAL[4]]),
        ("draws from the global generator in its verdict", [GENERAL[4]]),
        ("seeds the global generator", [GENERAL[4]]),
        ("seeds numpy's global generator", [GENERAL[4]]),
        ("is decided by the global generator", [GENERAL[4]]),
        ("shares its state", ["two instances are apart"]),
    ],
)
def test_each_fault_is_found_by_its_check(fault, found):
    report = check_reasoning_task(lambda: Task(fault), num_problems=6)
    assert failed(report) == found
    assert not report.passed
    assert all(row[2] for row in report.rows if row[1] == "FAILED")


def test_a_check_restores_the_global_random_generators():
    random.seed(5)
    np.random.seed(6)
    check_reasoning_task(Task, num_problems=2)
    assert random.getstate() == random.Random(5).getstate()
    assert str(np.random.get_state()) == str(np.random.RandomState(6).get_state())


class Leaky(PromptTemplate):
    def text(self, state):
        return f"{state.problem.question} (it is {state.problem.answer})"


def test_an_answer_in_the_prompt_is_found():
    report = check_reasoning_env(ReasonEnv(TOY, prompt=Leaky()), num_problems=4)
    # Echoing the prompt is also no way to score: it ends in no answer.
    assert failed(report) == ["no solution in the observation"]
    assert "the prompt of 'toy/train/" in {row[0]: row[2] for row in report.rows}[OWN[0]]


def spaced_codec() -> HuggingFaceCodec:
    """Puts a space between tokens, as word-level tokenizers do."""
    words = {"#": 0, **{str(digit): 1 + digit for digit in range(10)}, "\n": 11, "</s>": 12}
    backend = Tokenizer(models.WordLevel(words, unk_token="</s>"))
    backend.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return HuggingFaceCodec(PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>"))


@pytest.mark.parametrize("granularity", ["token", "step"])
def test_a_tokenizer_that_writes_other_text_in_pieces_is_found(granularity):
    env = ReasonEnv(TOY, codec=spaced_codec(), granularity=granularity)
    report = check_reasoning_env(env, num_problems=2)
    assert "a text in pieces is the text" in failed(report)
    detail = {row[0]: row[2] for row in report.rows}["a text in pieces is the text"]
    assert "if its pieces are encoded one by one; use another tokenizer" in detail
    assert detail.startswith("'### 10")


class LeakyObservation(gym.ObservationWrapper, gym.utils.RecordConstructorArgs):
    def __init__(self, env):
        gym.utils.RecordConstructorArgs.__init__(self)
        super().__init__(env)

    def observation(self, observation):
        return observation + self.unwrapped.state.problem.answer

    def to_snapshot(self):
        return {}

    def read_snapshot(self, data):
        return lambda: None


def test_an_answer_in_the_observation_alone_is_found():
    report = check_reasoning_env(LeakyObservation(ReasonEnv(TOY)), num_problems=4)
    assert failed(report) == ["no solution in the observation"]


class Forgetful(gym.Wrapper, gym.utils.RecordConstructorArgs):
    """Pays a little for every third step, and does not say so to a snapshot."""

    def __init__(self, env):
        gym.utils.RecordConstructorArgs.__init__(self)
        super().__init__(env)
        self.count = 0

    def reset(self, *, seed=None, options=None):
        self.count = 0 if seed == 0 else self.count
        return self.env.reset(seed=seed, options=options)

    def step(self, action):
        obs, reward, terminated, truncated, info = self.env.step(action)
        self.count += 1
        return obs, reward + 1e-12 * (self.count % 3), terminated, truncated, info

    def to_snapshot(self):
        return {}

    def read_snapshot(self, data):
        return lambda: None


def test_a_forgetful_wrapper_breaks_the_fork_law():
    env = Forgetful(gym.make("MathReason-v0", size=10, granularity="token", format="tokens"))
    assert "fork law" in failed(check_reasoning_env(env, num_problems=4))


HASHED = """
import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs

class Hashed(gym.Wrapper, RecordConstructorArgs):
    def __init__(self, env):
        RecordConstructorArgs.__init__(self)
        super().__init__(env)
    def reset(self, *, seed=None, options=None):
        row = hash(str(seed)) % 10
        given = options or {"problem": f"chain/train/{row}"}
        return self.env.reset(seed=seed, options=given)
    def to_snapshot(self):
        return {}
    def read_snapshot(self, data):
        return lambda: None
"""


def test_episodes_that_depend_on_the_hash_seed_are_found(tmp_path, monkeypatch):
    (tmp_path / "hashed_wrapper.py").write_text(HASHED)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    import hashed_wrapper

    env = hashed_wrapper.Hashed(gym.make("MathReason-v0", size=10))
    report = check_reasoning_env(env, num_problems=6)
    assert failed(report) == ["same seed under PYTHONHASHSEED"]
    assert report.rows[6][2].startswith("the observation of seed 0 depends on PYTHONHASHSEED: ")


HASHED_ANSWERS = """
from reason_env import Problem, ProblemSet
from reason_env.env import ReasonEnv

class HashedEnv(ReasonEnv):
    def __init__(self, hashed):
        words = {"ab", "cd", "ef", "gh", "ij", "kl"}
        word = next(iter(words)) if hashed else "ab"
        super().__init__(ProblemSet("toy", tuple(
            Problem(problem_id=f"toy/train/{row}", question=f"word {row}?", answer=word)
            for row in range(4)
        )))
"""


@pytest.mark.parametrize("hashed", [True, False])
def test_answers_that_depend_on_the_hash_seed_are_found(tmp_path, monkeypatch, hashed):
    (tmp_path / "hashed_answers.py").write_text(HASHED_ANSWERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    entry_point = "hashed_answers:HashedEnv"
    env = gym.make(EnvSpec("HashedToy-v0", entry_point=entry_point, kwargs={"hashed": hashed}))
    check = stack_checks(env, range(2))[1]
    assert check.name == OWN[1]
    assert check.passed is not hashed
    told = "the reference of seed 0 depends on PYTHONHASHSEED: '#### "
    assert check.detail[: len(told)] == (told if hashed else "")


def test_a_stack_task_gives_the_whole_solution_if_the_episode_starts_after_it():
    env = PrefixRollin(gym.make("MathReason-v0", problems="chain", size=10), fraction=(1.0, 1.0))
    task = StackTask(env)
    task.begin(0)
    problem = env.unwrapped.state.problem
    assert len(problem.solution) > 1
    assert task.solution() == problem.solution
    assert problem.solution[0] not in task.reference()


def test_a_report_passes_if_nothing_failed():
    ok, skip = Check(name="a", passed=True), Check(name="b", passed=None, detail="why")
    assert CheckReport((ok, skip)).passed
    assert not CheckReport((ok, Check(name="c", passed=False))).passed
    assert CheckReport((ok, skip)).rows == [("a", "ok", ""), ("b", "skipped", "why")]


@pytest.mark.parametrize(
    ("granularity", "form", "actions"),
    [
        ("step", "text", ["ab", ""]),
        ("step", "tokens", [(97, 98), ()]),
        ("token", "tokens", [97, 98, 257]),
        ("token", "text", ["ab", ""]),
        ("response", "text", ["ab"]),
        ("response", "tokens", [(97, 98)]),
    ],
)
def test_a_response_becomes_actions_at_every_granularity(granularity, form, actions):
    assert actions_of(ReasonEnv(TOY, granularity=granularity, format=form), "ab") == actions
