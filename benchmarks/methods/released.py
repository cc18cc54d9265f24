r"""Compare segments, values and advantages of SPO and TreeRL with their released code, on CPU.

The functions are taken by name out of checkouts of the releases, and nothing is installed:

    python -m benchmarks.methods.released --write --spo SPO --treerl TREERL

where the two are folders of AIFrameResearch/SPO b9fc6a2 and THUDM/TreeRL f0edbea. It writes their
numbers to tests/fixtures/released_credit.json; without arguments, ours are compared with the
written numbers; the test compares too. Read `SOURCES` before you run them.

SPO: the loop that finds cut points, and `_compute_token_advantages`. TreeRL: the classes and
functions of `tree_node.py`, and `gather_paths`. Returns are real numbers here, because TreeRL's
code replaces a local part of exactly 0; its normalisation over tokens is off.
"""

import argparse
import ast
import importlib.util
import json
import math
import random
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from reason_env.agents.methods.spo import SPO, SPOConfig
from reason_env.agents.rollout import Start, Trajectory, tree_segments
from reason_env.codec import ByteCodec
from reason_env.problem import Problem
from reason_env.state import ReasonState

FIXTURE = Path(__file__).parents[2] / "tests" / "fixtures" / "released_credit.json"
SPO_FILE = "src/treetune/episode_generators/math_episode_generator_with_mc_advantages.py"
TREE_FILE = "openrlhf/trainer/ppo_utils/tree_node.py"
PATH_FILE = "openrlhf/trainer/ppo_utils/parallel_mcts.py"
SOURCES = {
    SPO_FILE: ("_create_value_estimation_requests", "_compute_token_advantages"),
    TREE_FILE: ("all of it",),
    PATH_FILE: ("fill_in_paths", "path_from_root_to_node", "gather_paths"),
}
"""File -> what is run of it."""
CHAINS, TREES = 6, 4
INTERVAL = 3
PROBLEM = Problem(problem_id="toy/train/0", question="1+1=?", answer="2")
CODEC = ByteCodec()
Row = dict[str, Any]


def make_inputs() -> dict[str, list[Row]]:
    """Make chains with probabilities, values and returns, and trees; equal at each call."""
    rng = np.random.default_rng(19)
    chains: list[Row] = []
    for number in range(CHAINS):
        size = int(rng.integers(8, 30))
        probabilities = np.where(rng.random(size) < 0.5, rng.uniform(0.1, 0.85, size), 0.97)
        probabilities[0] = 0.5 if number % 2 else 0.97
        chains.append(
            {
                "log_probs": np.log(probabilities).tolist(),
                "values": rng.random(size).round(3).tolist(),
                "return": float(number % 3 == 0),
            }
        )
    return {"chains": chains, "trees": [_random_tree(rng) for _ in range(TREES)]}


def _random_tree(rng: np.random.Generator) -> Row:
    """Three trunks; three branches of random episodes, some of which leave at one place."""
    episodes: list[Row] = []
    for number in range(9):
        origin = None if number < 3 else int(rng.integers(number))
        place = 0
        if origin is not None:
            parent = episodes[origin]
            size = len(parent["ids"])
            place = int(rng.integers(1, size)) if number % 3 else size // 2
        ids = rng.integers(32, 127, int(rng.integers(4, 12))).tolist()
        episodes.append(
            {"ids": ids, "origin": origin, "place": place, "return": round(rng.random(), 3)}
        )
    return {"episodes": episodes}


def _functions(folder: Path, file: str, names: tuple[str, ...], scope: Row) -> Row:
    """Compile functions of a file into a scope, without importing its package."""
    tree = ast.parse((folder / file).read_text(encoding="utf-8"))
    for name in names:
        nodes = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == name]
        assert len(nodes) == 1, f"{file} must hold one {name}"
        node = nodes[0]
        node.decorator_list, node.returns = [], None
        for argument in node.args.args:
            argument.annotation = None
        exec(compile(ast.Module([node], []), file, "exec"), scope)  # noqa: S102 - reviewed
    return scope


def spo_numbers(folder: Path, chains: list[Row]) -> list[Row]:
    """Find SPO's cut points and advantages of tokens with its released code."""
    path = folder / SPO_FILE
    tree = ast.parse(path.read_text(encoding="utf-8"))
    (method,) = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == SOURCES[SPO_FILE][0]
    )
    loops = [n for n in method.body if isinstance(n, ast.For) and "np.where" in ast.unparse(n)]
    assert len(loops) == 1, "one loop finds the cut points"
    code = compile(ast.Module([loops[0]], []), SPO_FILE, "exec")
    scope = _functions(
        folder, SPO_FILE, SOURCES[SPO_FILE][1:], {"np": np, "Dict": dict, "Any": Any}
    )
    found: list[Row] = []
    for chain in chains:
        size = len(chain["log_probs"])
        trajectory: Row = {
            "actor_shifted_log_probs": chain["log_probs"],
            "query_token_ids": [1],
            "response_token_ids": list(range(size)),
            "query_text": "",
            "response_text": "",
            "offsets": [],
            "score": chain["return"],
        }
        exec(  # noqa: S102 - reviewed
            code,
            {
                "np": np,
                "enumerate": enumerate,
                "len": len,
                "trajectories": [trajectory],
                "num_cutpoints": [],
                "self": SimpleNamespace(cutpoint_interval=INTERVAL),
            },
        )
        # A cut point is the token before a segment; -1 is the problem.
        begins = [int(cut) + 1 for cut in trajectory["cutpoints"]]
        trajectory["cutpoints"] = [begin - 1 for begin in begins]
        trajectory["cutpoints_values"] = [chain["values"][begin] for begin in begins]
        _, advantages = scope["_compute_token_advantages"](None, trajectory)
        found.append({"begins": begins, "advantages": list(map(float, advantages))})
    return found


def treerl_numbers(folder: Path, trees: list[Row]) -> list[Row]:
    """Compute TreeRL's rewards of the tokens of each path with its released code."""
    # A module of its own, because pydantic looks for names in the module of a class.
    spec = importlib.util.spec_from_file_location("released_tree_node", folder / TREE_FILE)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["released_tree_node"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    scope: Row = vars(module)
    paths = _functions(folder, PATH_FILE, SOURCES[PATH_FILE], dict(scope))
    found: list[Row] = []
    for tree in trees:
        nodes: list[Any] = []
        lists: list[list[Any]] = []
        for number, episode in enumerate(tree["episodes"]):
            origin = episode["origin"]
            parent = None if origin is None else nodes[origin]
            node = scope["TreeNode"](
                tree_idx=0,
                node_idx=number,
                decode_fn=_characters,
                token_id_list=episode["ids"],
                log_prob_list=[-0.5] * len(episode["ids"]),
                is_end=True,
                finish_reason="stop",
                parent_node=parent,
                parent_node_idx=origin,
                parent_node_split_idx=None if parent is None else episode["place"],
            )
            node.score, node.binary_score = episode["return"], 0
            nodes.append(node)
            if parent is None:
                lists.append([node])
            else:
                parent.add_child(node, episode["place"])
        random.seed(0)
        root, leaves = scope["build_into_tree_format"](
            lists,
            _characters,
            len(nodes),
            use_weighted_value=True,
            use_all_terminals=True,
            weighted_value_style="sqrt",
            overall_norm_style="none",
        )
        rewards = paths["gather_paths"](root, leaves, len(nodes), use_state_value_reward=True)
        found.append(
            {
                _text([id_ for piece in path for id_ in piece["token_answer"]]): [
                    float(piece["value"]) for piece in path for _ in piece["token_answer"]
                ]
                for path in rewards
            }
        )
    return found


def our_spo(chains: list[Row]) -> list[Row]:
    """Compute the same numbers as `spo_numbers` with our method."""
    method = SPO(SPOConfig(cut_interval=INTERVAL))
    found: list[Row] = []
    for chain in chains:
        size = len(chain["log_probs"])
        item = _trajectory(
            ReasonState(problem=PROBLEM, codec=CODEC),
            tuple(range(65, 65 + size)),
            chain["log_probs"],
            chain["return"],
        )
        begins = [len(state.response) for state in method.value_states(item)]
        sample = method.sample(item, [chain["values"][begin] for begin in begins])
        advantages = [0.0] * size if sample is None else list(sample.advantages)
        found.append({"begins": begins, "advantages": advantages})
    return found


def our_treerl(trees: list[Row]) -> list[Row]:
    """Compute the same numbers as `treerl_numbers` from our tree's segments and values."""
    found: list[Row] = []
    for row in trees:
        items = _tree(row["episodes"])
        known = {item.trajectory_id: item for item in items}
        segments = tree_segments(items)
        num = len(items)
        root = sum(item.episode_return for item in items) / num
        own: Row = {}
        for item in items:
            # The release's return less the mean of the others is n / (n - 1) times that less the
            # mean; it divides each value by the root of its own number of episodes.
            values: list[tuple[int, float]] = []
            place, name = len(item.final_state.response), item.trajectory_id
            while True:
                for one in reversed(segments[name]):
                    if one.end <= place:
                        assert one.value is not None, "all episodes are graded"
                        scaled = num / (num - 1) * (one.value - root) / math.sqrt(one.num_leaves)
                        values.insert(0, (one.end - one.begin, scaled))
                parent = known[name].start.parent_id
                if parent is None:
                    break
                place, name = known[name].prefix_length, parent
            rewards: list[float] = []
            before = 0.0
            for size, value in values:
                rewards += [2 * value - before] * size
                before = value
            own[_text(item.final_state.response)] = rewards
        found.append(own)
    return found


def _tree(episodes: list[Row]) -> list[Trajectory]:
    items: list[Trajectory] = []
    for number, episode in enumerate(episodes):
        state = ReasonState(problem=PROBLEM, codec=CODEC)
        origin: int | None = episode["origin"]
        parent = None if origin is None else items[origin]
        if parent is not None:
            place = parent.prefix_length + episode["place"]
            state = state.extend(parent.final_state.response[:place], "reset")
        ids = tuple(episode["ids"])
        items.append(
            _trajectory(
                state,
                ids,
                [-0.5] * len(ids),
                episode["return"],
                name=str(number),
                parent_id=None if parent is None else parent.trajectory_id,
            )
        )
    return items


def _trajectory(
    state: ReasonState,
    ids: tuple[int, ...],
    log_probs: list[float],
    value: float,
    *,
    name: str = "0",
    parent_id: str | None = None,
) -> Trajectory:
    start = Start(state=state, num_samples=1, learn_from=state, group="0", parent_id=parent_id)
    return Trajectory(
        trajectory_id=name,
        start=start,
        index=0,
        final_state=state.extend(ids),
        prompt_ids=(1,),
        learn_prompt_ids=(1,),
        behavior_log_probs=tuple(log_probs),
        sampled_ids=ids,
        episode_return=value,
        is_success=value == 1,
        outcome="correct" if value == 1 else "incorrect",
        policy_version=0,
    )


def _characters(ids: list[int]) -> str:
    return "".join(map(chr, ids))


def _text(ids: Any) -> str:
    return " ".join(map(str, ids))


OURS: dict[str, Callable[[list[Row]], list[Row]]] = {"spo": our_spo, "treerl": our_treerl}
INPUT = {"spo": "chains", "treerl": "trees"}


def run(release: str) -> dict[str, list[Row]]:
    """Compute our numbers of a release's cases, and read the written ones."""
    frozen = json.loads(FIXTURE.read_text())
    return {"ours": OURS[release](frozen["inputs"][INPUT[release]]), "theirs": frozen[release]}


def largest_difference(ours: list[Row], theirs: list[Row]) -> float:
    """Return the largest difference of numbers with one name; inf if names or sizes differ."""
    worst = 0.0
    for own, other in zip(ours, theirs, strict=True):
        if own.keys() != other.keys():
            return math.inf
        for name, values in own.items():
            if len(values) != len(other[name]):
                return math.inf
            off = np.abs(np.array(values, dtype=float) - np.array(other[name], dtype=float))
            worst = max(worst, float(off.max(initial=0.0)))
    return worst


def main() -> None:
    """Write the fixture, or compare with it."""
    parser = argparse.ArgumentParser(description="compare with released code")
    parser.add_argument("--write", action="store_true", help="run the releases")
    for release in OURS:
        parser.add_argument(f"--{release}", type=Path, help="folder of its checkout")
    args = parser.parse_args()
    if args.write:
        inputs = make_inputs()
        written = {
            "inputs": inputs,
            "spo": spo_numbers(args.spo, inputs["chains"]),
            "treerl": treerl_numbers(args.treerl, inputs["trees"]),
        }
        FIXTURE.write_text(json.dumps(written, separators=(",", ":")) + "\n")
        return
    for release in OURS:
        print(f"{release:8s} largest difference {largest_difference(**run(release)):.1e}")


if __name__ == "__main__":
    main()
