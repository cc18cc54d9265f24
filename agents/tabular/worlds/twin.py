r"""The tabular twin of a `chain` problem: its step-level MDP and a language model's policy in it.

A state is the text of the response so far, because a language model may condition on all of it; an
action is the next step. The twin distinguishes the well-formed steps that echo the current
registers, one for each digit that the step can write. All other texts are one action, `OTHER`,
which leads to a lost state. After the last operation, action 0 gives the registers as the answer
and gets reward 1 if they are the reference answer; `OTHER` is lost. Guessing the answer after a
wrong step thus never succeeds, which no reasoning policy should learn.

Values are exact except for lost texts, which count as failures: the policy's true success
probability is between `performance` and `performance + lost`. Wrong branches that the policy takes
with less than `min_probability` are lost as well; 0 keeps all of them, 10**k after k steps.

Axes: S states, A actions (ten digits and OTHER), H steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from reason_env.agents.tabular.exact import Array, TabularMDP, budgeted_gain, restarts
from reason_env.agents.tabular.exact import horizon as finite
from reason_env.codec import Codec
from reason_env.errors import ConfigError
from reason_env.problem import Problem
from reason_env.problems.families.registers import (
    REGISTERS,
    Operation,
    read_operations,
    read_registers,
)
from reason_env.state import PromptTemplate, ReasonState

OTHER = 10
MAX_STATES = 1500
"""The transition array is dense: 200 MB at this size."""


class Scorer(Protocol):
    """Computes the log-probability (nats) of each completion after its context."""

    def __call__(
        self, contexts: Sequence[tuple[int, ...]], completions: Sequence[tuple[int, ...]]
    ) -> list[float]: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Twin:
    """A problem's MDP, the policy in it, and the text of each state."""

    mdp: TabularMDP
    policy_SA: Array
    reference_SA: Array
    """Applies each operation correctly to the current registers, then answers."""
    texts: tuple[str, ...]
    """Response so far in each state; the last two are the lost state and the end."""
    is_clean_S: np.ndarray
    """True for states without a wrong step."""

    @property
    def performance(self) -> float:
        """Probability of success within the twin; episodes that reach the lost state fail."""
        return finite.evaluate(self.mdp, self.policy_SA).performance

    @property
    def lost(self) -> float:
        """Probability of the lost state, by which `performance` may underestimate success."""
        last_S = finite.evaluate(self.mdp, self.policy_SA).occupancy_HS[-1]
        # In the last step every action except the first is lost, in all states.
        return float(last_S @ (1.0 - self.policy_SA[:, 0]))


@dataclass(frozen=True, slots=True)
class _Node:
    text: str
    registers: tuple[int, ...]
    is_clean: bool


def chain_twin(
    problem: Problem,
    score: Scorer,
    *,
    codec: Codec,
    prompt: PromptTemplate | None = None,
    min_probability: float = 0.0,
) -> Twin:
    """Build the twin of a problem of the `chain` family.

    Args:
        problem: The problem.
        score: Scores completions under the policy.
        codec: The policy's codec.
        prompt: The prompt template; the default one if None.
        min_probability: Wrong branches below this probability are lost, 0..1.

    Raises:
        ConfigError: The tree has more than `MAX_STATES` states.
    """
    if not 0.0 <= min_probability <= 1.0:
        raise ConfigError(
            f"min_probability must be in 0..1, got {min_probability!r}; give a probability"
        )
    template = PromptTemplate() if prompt is None else prompt
    prompt_ids = template.token_ids(ReasonState(problem=problem, codec=codec))
    first_line, second_line = problem.question.split("\n")
    operations = read_operations(second_line)
    layers = [[_Node("", read_registers(first_line), True)]]
    edges: list[tuple[int, int, int, float]] = []
    num_nodes = 1
    for operation in operations:
        layer = layers[-1]
        first = num_nodes - len(layer)
        probability_ND = _step_probabilities(layer, operation, prompt_ids, score, codec)
        following: list[_Node] = []
        for index, node in enumerate(layer):
            right = operation.apply(_digit(node, operation))
            for digit in range(10):
                chance = float(probability_ND[index, digit])
                if digit == right or chance >= min_probability:
                    edges.append((first + index, digit, num_nodes + len(following), chance))
                    following.append(_after(node, operation, digit, digit == right))
        num_nodes += len(following)
        if num_nodes + 2 > MAX_STATES:
            raise ConfigError(
                f"a twin must have at most {MAX_STATES} states, got {num_nodes} after "
                f"{len(layers)} of {len(operations)} steps; raise min_probability, or take a "
                "problem with fewer operations"
            )
        layers.append(following)
    last = layers[-1]
    contexts = [(*prompt_ids, *codec.encode(node.text)) for node in last]
    answers = [(*codec.encode(f"#### {_answer(node)}"), codec.eos_id) for node in last]
    answered = np.exp(score(contexts, answers))
    paid = np.array([float(_answer(node) == problem.answer) for node in last])
    nodes = [node for layer in layers for node in layer]
    return _assembled(nodes, edges, answered, paid, operations)


def _assembled(
    nodes: list[_Node],
    edges: list[tuple[int, int, int, float]],
    answered: Array,
    paid: Array,
    operations: list[Operation],
) -> Twin:
    lost, end = len(nodes), len(nodes) + 1
    transition_SAS = np.zeros((end + 1, OTHER + 1, end + 1))
    transition_SAS[:lost, :, lost] = 1.0
    transition_SAS[lost, :, lost] = 1.0
    first_answer = lost - len(answered)
    transition_SAS[first_answer:lost, 0] = np.eye(end + 1)[end]
    transition_SAS[end, :, end] = 1.0
    policy_SA = np.zeros((end + 1, OTHER + 1))
    reference_SA = np.zeros((end + 1, OTHER + 1))
    for state, digit, after, chance in edges:
        transition_SAS[state, digit] = 0.0
        transition_SAS[state, digit, after] = 1.0
        policy_SA[state, digit] = chance
        if _is_right(nodes[state], operations, digit):
            reference_SA[state, digit] = 1.0
    policy_SA[first_answer:lost, 0] = answered
    policy_SA[end, 0] = 1.0
    policy_SA[:, OTHER] = np.maximum(0.0, 1.0 - policy_SA.sum(-1))
    policy_SA /= policy_SA.sum(-1, keepdims=True)
    reference_SA[first_answer:, 0] = 1.0
    reward_SA = np.zeros((end + 1, OTHER + 1))
    reward_SA[first_answer:lost, 0] = paid
    return Twin(
        mdp=TabularMDP(
            transition_SAS=transition_SAS,
            reward_SA=reward_SA,
            start_S=np.eye(1, end + 1)[0],
            horizon=len(operations) + 1,
        ),
        policy_SA=policy_SA,
        reference_SA=reference_SA,
        texts=(*(node.text for node in nodes), "(lost)", "(end)"),
        is_clean_S=np.array([*(node.is_clean for node in nodes), False, False]),
    )


def method_rows(
    twin: Twin, *, threshold: float, budget: float = 0.02
) -> list[dict[str, float | str]]:
    """Compute the value of each method's restarts to this policy, one row per method.

    Columns: `signal`, the best action's advantage per step sampled after a restart, in return;
    `clean`, the fraction of restarts without a wrong step before them; `steps`, steps sampled per
    restart; `gain`, in return for a budget of sampled steps (see `budgeted_gain`).
    """
    best_HS = finite.evaluate(twin.mdp, twin.policy_SA).advantage_HSA.max(-1)
    own = restarts.Improvable(threshold)
    mus: dict[str, restarts.Restart] = {
        "GRPO": restarts.Initial(),
        "RRPO": restarts.OwnFailures(),
        "SRPO, exact": own,
        "POPE": restarts.Occupancy(twin.reference_SA),
        "SRPO + base group": restarts.Mixture(own, 0.5),
    }
    rows: list[dict[str, float | str]] = []
    for name, mu in mus.items():
        mu_HS = mu.distribution(twin.mdp, twin.policy_SA)
        visits_HS = finite.visits_after(twin.mdp, twin.policy_SA, mu_HS)
        # Lost and ended episodes sample no more steps.
        visits_HS[:, -2:] = 0.0
        rows.append(
            {
                "method": name,
                "signal": float((visits_HS * best_HS).sum() / visits_HS.sum()),
                "clean": float(mu_HS[:, twin.is_clean_S].sum()),
                "steps": float(visits_HS.sum()),
                "gain": budgeted_gain(twin.mdp, twin.policy_SA, visits_HS, budget),
            }
        )
    return rows


def _step_probabilities(
    layer: list[_Node],
    operation: Operation,
    prompt_ids: tuple[int, ...],
    score: Scorer,
    codec: Codec,
) -> Array:
    """Compute the probability of each digit's well-formed step after each node, [N, 10]."""
    contexts = [(*prompt_ids, *codec.encode(node.text)) for node in layer for _ in range(10)]
    steps = [
        codec.encode(_step_text(node, operation, digit)) for node in layer for digit in range(10)
    ]
    return np.exp(np.array(score(contexts, steps))).reshape(len(layer), 10)


def _step_text(node: _Node, operation: Operation, digit: int) -> str:
    echoed = f"{operation.label}:{_digit(node, operation)}{operation.symbol}{operation.operand}"
    return f"{echoed} {operation.register}={digit}\n"


def _answer(node: _Node) -> str:
    return "".join(map(str, node.registers))


def _digit(node: _Node, operation: Operation) -> int:
    return node.registers[REGISTERS.index(operation.register)]


def _after(node: _Node, operation: Operation, digit: int, is_right: bool) -> _Node:
    changed = REGISTERS.index(operation.register)
    registers = tuple(
        digit if index == changed else value for index, value in enumerate(node.registers)
    )
    text = node.text + _step_text(node, operation, digit)
    return _Node(text, registers, node.is_clean and is_right)


def _is_right(node: _Node, operations: list[Operation], digit: int) -> bool:
    operation = operations[node.text.count("\n")]
    return digit == operation.apply(_digit(node, operation))
