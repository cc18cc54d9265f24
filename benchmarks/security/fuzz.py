"""Damages texts that the project reads, and counts what is neither read nor refused in one line.

    python -m benchmarks.security.fuzz --inputs 1000000 --minutes 5

Each target begins with texts that the project wrote itself. An input is such a text with some nodes
of its JSON replaced, removed or exchanged, or with some bytes changed. A reader may accept it, or
raise a `ReasonEnvError` in one line; anything else is a fault of the project, printed with the seed
that makes it again. Readers take turns by time, so that a slow one does not take all of it.
"""

import argparse
import json
import logging
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym

import reason_env
from benchmarks.security.damage import Fault, Target, damaged
from reason_env.agents.compare import CompareConfig, shared_settings
from reason_env.agents.methods import GRPOConfig
from reason_env.agents.report import write_report
from reason_env.agents.runs import RunDir, config_json
from reason_env.agents.train import TrainConfig, build_session, train
from reason_env.agents.train.evaluation_cache import read_entry
from reason_env.env import EnvConfig, checked_spec
from reason_env.errors import ConfigError, ReasonEnvError
from reason_env.problems import load_problems
from reason_env.serving import Sessions, fault_of_message
from reason_env.state import Guidance, ReasonState, read_template
from reason_env.verify import grade_file
from reason_env.wrappers import Hint, PrefixRollin, ResetToState


def fault_of(target: Target, seed: int) -> Fault | None:
    """Read one damaged text; None if it was read, or refused as it should be."""
    return fault_in(target, damaged(target, seed), seed)


def fault_in(target: Target, text: str, seed: int = 0) -> Fault | None:
    """Read a text; None if it was read, or refused in one line."""
    try:
        target.read(text)
    except ReasonEnvError as error:
        if "\n" not in str(error):
            return None
        return Fault(target.name, seed, text, f"several lines: {error}")
    except (Exception, RecursionError) as error:  # noqa: BLE001 - what is looked for
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        return Fault(target.name, seed, text, f"{type(error).__name__}: {error} at {where}")
    return None


def targets(folder: Path) -> tuple[Target, ...]:
    """Make the readers and the texts that they begin with; files are written to a folder."""
    problem = load_problems("chain", size=1)[0]
    state = ReasonState(problem=problem, codec=reason_env.ByteCodec())
    guidance = Guidance("answer", ("2",)), Guidance("mistakes", ("3", "4"))
    shown = state.with_guidance(*guidance).extend(state.codec.encode("1+1=2\n"))
    env = _stack()
    saved = [reason_env.snapshot(env)]
    env.step("1+1=2\n")
    saved.append(reason_env.snapshot(env))
    plain = gym.make("MathReason-v0", problems="chain", size=3)
    plain.reset(seed=0)
    run, cache = _run(folder)

    def restored(text: str) -> None:
        reason_env.restore(env, text)

    def started(text: str) -> None:
        plain.reset(options={"state": text})

    def from_file(name: str) -> Callable[[str], object]:
        def read(text: str) -> object:
            (folder / name).write_text(text, encoding="utf-8", errors="surrogatepass")
            return load_problems(str(folder / name), allow_ungradable=True)

        return read

    def graded(text: str) -> object:
        (folder / "graded.jsonl").write_text(text, encoding="utf-8", errors="surrogatepass")
        return grade_file(folder / "graded.jsonl")

    def entry(text: str) -> object:
        cache.write_text(text, encoding="utf-8", errors="surrogatepass")
        return read_entry(cache)

    def report(name: str) -> Callable[[str], object]:
        file = run / name
        whole = file.read_bytes()

        def read(text: str) -> object:
            file.write_text(text, encoding="utf-8", errors="surrogatepass")
            try:
                return write_report([run], folder / "report.html")
            finally:
                file.write_bytes(whole)

        return read

    rows = "".join(
        json.dumps({"question": f"{at}+1", "answer": str(at + 1), "solution": f"{at}+1={at + 1}"})
        + "\n"
        for at in range(3)
    )
    chat = json.dumps(
        {"prompt": [{"role": "user", "content": "1+1"}], "reward_model": {"ground_truth": "2"}}
    )
    answers = '{"response": "\\\\boxed{2}", "answer": "2"}\n{"response": "#### 3", "answer": "2"}\n'
    configs = (config_json.dump(TrainConfig()), config_json.dump(TrainConfig(seed=3)))
    episodes = next((run / "episodes").iterdir()).relative_to(run).as_posix()
    texts = {name: ((run / name).read_text("utf-8"),) for name in (
        "metrics.jsonl", "config.json", "provenance.json", episodes)}  # fmt: skip
    spec = env.spec
    assert spec is not None, "gym.make gives every environment a spec"
    return (
        Target("state", (state.to_json(), shown.to_json()), ReasonState.from_json),
        Target("reset", (state.to_json(), shown.to_json()), started),
        Target("snapshot", tuple(saved), restored),
        _served(),
        Target("spec", (spec.to_json(),), checked_spec),
        Target("config", configs, lambda text: config_json.load(TrainConfig, text)),
        Target(
            "comparison",
            (config_json.dump(CompareConfig(arms={"a": shared_settings()}, sources=("chain",))),),
            lambda text: config_json.load(CompareConfig, text),
        ),
        Target(
            "template",
            (json.dumps({"base": "dapo", "num_examples": 2, "system": "x"}),),
            read_template,
        ),
        Target("rows.jsonl", (rows, chat + "\n"), from_file("rows.jsonl"), is_lines=True),
        Target("rows.json", (json.dumps({"data": [json.loads(chat)]}),), from_file("rows.json")),
        Target("rows.csv", ("question,answer\n1+1,2\n2+1,3\n",), from_file("rows.csv")),
        Target("responses", (answers,), graded, is_lines=True),
        Target("cached evaluation", ('{"eval/pass_at_1": 0.5, "eval/k": 4}',), entry),
        Target("run metrics", texts["metrics.jsonl"], report("metrics.jsonl"), is_lines=True),
        Target("run config", texts["config.json"], report("config.json")),
        Target("run provenance", texts["provenance.json"], report("provenance.json")),
        Target("run episodes", texts[episodes], report(episodes), is_lines=True),
    )


def _served() -> Target:
    """A session of a server, and messages of every kind."""
    session = Sessions(EnvConfig(problems="chain", split="test", size=3), reason_env.ByteCodec())()
    session.reset({"problem": "chain/test/1", "prefix": "1+1=2\n", "hint": "answer"})
    sent = session.state()

    def read(text: str) -> object:
        fault = fault_of_message(text.encode("utf-8", "surrogatepass"))
        if fault is not None:
            raise ConfigError(fault)
        message = json.loads(text)
        if message.get("action") is not None:
            return json.dumps(session.step(message["action"]), allow_nan=False)
        return json.dumps(session.reset(message), allow_nan=False)

    messages: tuple[dict[str, Any], ...] = (
        {"seed": 3, "episode_id": "a"},
        {"problem": "chain/test/2", "reference_steps": 1, "hint": "next_step"},
        {"split": "test", "index": 2, "hint": {"kind": "partial_solution", "strength": 0.5}},
        {"state": sent["reason_state"], "hint": {"kind": "mistakes", "pieces": ["1", "2"]}},
        {"state": json.dumps(sent["reason_state"]), "prefix": "b\n"},
        {"snapshot": sent["snapshot"]},
        {"action": "#### 1\n"},
        {"action": "x"},
    )
    return Target("served", tuple(map(json.dumps, messages)), read)


def _stack() -> gym.Env[Any, Any]:
    env = gym.make("MathReason-v0", problems="chain", size=3)
    stack = ResetToState(Hint(PrefixRollin(env, fraction=(0.0, 0.5)), "answer"), keep="failures")
    stack.reset(seed=0)
    return stack


def _run(folder: Path) -> tuple[Path, Path]:
    """Train for one short iteration; gives the run, and a file for a cached evaluation."""
    config = TrainConfig(
        method=GRPOConfig(group_size=2),
        env=EnvConfig(size=2, levels=(3, 3), max_tokens=16),
        problems_per_iteration=1,
        iterations=1,
    )
    session = build_session(config)
    with RunDir.create(folder / "run", session.config, command=["fuzz"]) as run:
        train(session, run)
    return folder / "run", folder / "entry.json"


def fuzz(
    readers: tuple[Target, ...], *, inputs: int, seconds: float, seed: int
) -> tuple[dict[str, int], list[Fault]]:
    """Read damaged texts until there were enough, or the time is over.

    Returns:
        Reader -> number of inputs, and the faults, one for each place that raised.
    """
    counts = dict.fromkeys((target.name for target in readers), 0)
    spent = dict.fromkeys(counts, 0.0)
    faults: dict[tuple[str, str], Fault] = {}
    end = time.process_time() + seconds
    by_name = {target.name: target for target in readers}
    while sum(counts.values()) < inputs and time.process_time() < end:
        name = min(spent, key=lambda name: spent[name])
        began = time.process_time()
        for _ in range(min(200, inputs - sum(counts.values()))):
            found = fault_of(by_name[name], seed + counts[name])
            counts[name] += 1
            if found is not None:
                faults.setdefault((name, found.error.rpartition(" at ")[2]), found)
            if time.process_time() - began > 0.5:
                break
        spent[name] += time.process_time() - began
    return counts, list(faults.values())


def main() -> None:
    """Print the number of inputs of each reader, and every fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=5.0, help="processor time")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    folder = Path(tempfile.mkdtemp(prefix="reason-env-fuzz-"))
    try:
        counts, faults = fuzz(
            targets(folder), inputs=given.inputs, seconds=60 * given.minutes, seed=given.seed
        )
    finally:
        shutil.rmtree(folder)
    for name, count in counts.items():
        print(f"{name:<18} {count:>9,}")
    print(f"{'inputs':<18} {sum(counts.values()):>9,}, {len(faults)} faults")
    for fault in faults:
        print(f"{fault.target}, seed {fault.seed}: {fault.error[:300]}\n    {fault.text[:300]!r}")
    if faults:
        sys.exit(1)


if __name__ == "__main__":
    main()
