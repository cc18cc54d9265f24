"""RewardShaping's potential keeps the optimal actions of a problem's tabular twin."""

import itertools

import numpy as np
import pytest

from reason_env.agents.tabular.worlds.twin import OTHER, chain_twin
from reason_env.codec import ByteCodec
from reason_env.env import ReasonEnv
from reason_env.problem import Problem, ProblemSet
from reason_env.state import ReasonState
from reason_env.tabular import restart_chain
from reason_env.wrappers.reward_shaping import RewardShaping

CODEC = ByteCodec()
# The second operation undoes a wrong first one, and the third cannot undo a wrong second.
PROBLEM = Problem(
    problem_id="toy/test/0",
    question="x=1 y=2 z=3\nA:x+4 B:x*0 C:y+1",
    answer="033",
    solution=("A:1+4 x=5", "B:5*0 x=0", "C:2+1 y=3"),
)
PROGRESS = 0.75


def scorer(contexts, completions):
    """Any answer is said with 0.9; a step's digit d with weight d + 1, all of them 0.8."""
    scores = []
    for completion in completions:
        text = CODEC.decode([one for one in completion if one != CODEC.eos_id])
        said = 0.9 if text.startswith("####") else 0.8 * (int(text.strip()[-1]) + 1) / 55
        scores.append(float(np.log(said)))
    return scores


# Digits 6 to 9 are likelier than 0.1, and the right ones are kept: up to 5 branches a step.
TWIN = chain_twin(PROBLEM, scorer, codec=CODEC, min_probability=0.1)
SHAPED = RewardShaping(ReasonEnv(ProblemSet("toy", (PROBLEM,))), progress=PROGRESS)


def potential_S() -> np.ndarray:
    """The wrapper's Phi of each text; 0 where the episode is over (lost, end)."""
    empty = ReasonState(problem=PROBLEM, codec=CODEC)
    texts = TWIN.texts[:-2]
    return np.array([*(SHAPED.potential(empty.extend(CODEC.encode(t))) for t in texts), 0.0, 0.0])


def optimal(reward_HSA: np.ndarray, discount: float) -> tuple[np.ndarray, np.ndarray]:
    """Backward induction: Q* and V*, [H, S, A] and [H, S]."""
    value_S = np.zeros(TWIN.mdp.num_states)
    q_HSA, value_HS = np.empty_like(reward_HSA), np.empty(reward_HSA.shape[:2])
    for step in reversed(range(len(reward_HSA))):
        q_HSA[step] = reward_HSA[step] + discount * TWIN.mdp.transition_SAS @ value_S
        value_S = value_HS[step] = q_HSA[step].max(-1)
    return q_HSA, value_HS


def best_actions(q_HSA: np.ndarray) -> np.ndarray:
    """The set of optimal actions of each state, as booleans."""
    return q_HSA >= q_HSA.max(-1, keepdims=True) - 1e-9


def plain() -> np.ndarray:
    return np.broadcast_to(TWIN.mdp.reward_SA, (TWIN.mdp.horizon, *TWIN.mdp.reward_SA.shape))


def shaped(discount: float, last: float = 0.0) -> np.ndarray:
    """r + discount * E Phi(next) - Phi(s); what follows the last step has `last` times its Phi."""
    phi_S = potential_S()
    extra = np.empty_like(plain())
    for step in range(len(extra)):
        share = last if step == len(extra) - 1 else 1.0
        extra[step] = discount * share * TWIN.mdp.transition_SAS @ phi_S - phi_S[:, None]
    return plain() + extra


def test_the_potential_of_the_twin_s_texts_is_the_share_of_right_leading_steps():
    phi = dict(zip(TWIN.texts, potential_S(), strict=True))
    assert phi[""] == phi["A:1+4 x=6\n"] == phi["A:1+4 x=6\nB:6*0 x=0\n"] == 0.0
    # One of three, two of three: 0.75 / 3 and 1.5 / 3
    assert phi["A:1+4 x=5\n"] == phi["A:1+4 x=5\nB:5*0 x=7\n"] == 0.25
    assert phi["A:1+4 x=5\nB:5*0 x=0\n"] == 0.5
    assert phi["(lost)"] == phi["(end)"] == 0.0


@pytest.mark.parametrize("discount", [1.0, 0.9, 0.35])
def test_the_same_actions_are_optimal_in_every_state_and_values_move_by_the_potential(discount):
    q, value = optimal(plain(), discount)
    shaped_q, shaped_value = optimal(shaped(discount), discount)
    phi_S = potential_S()
    np.testing.assert_allclose(shaped_q, q - phi_S[:, None], atol=1e-12)
    np.testing.assert_allclose(shaped_value, value - phi_S, atol=1e-12)
    assert (best_actions(shaped_q) == best_actions(q)).all()
    # A wrong first digit is undone: five digits are best at first, then one, then one.
    right = TWIN.texts.index("A:1+4 x=5\n"), TWIN.texts.index("A:1+4 x=5\nB:5*0 x=0\n")
    assert np.flatnonzero(best_actions(q)[0, 0]).tolist() == [5, 6, 7, 8, 9]
    assert np.flatnonzero(best_actions(q)[1, right[0]]).tolist() == [0]
    assert np.flatnonzero(best_actions(q)[2, right[1]]).tolist() == [3]


def test_a_nonzero_potential_at_the_end_changes_values_and_best_actions():
    """At a truncation nothing follows: were Phi(last) not 0, the return would hold it."""
    q, _ = optimal(plain(), 1.0)
    wrong_q, _ = optimal(shaped(1.0, last=1.0), 1.0)
    # The last step from "" closes a step and is cut there: 0.25 stays.
    assert wrong_q[-1, 0].max() - q[-1, 0].max() == pytest.approx(0.25)
    assert (best_actions(wrong_q) != best_actions(q)).any()


def test_a_progress_bonus_that_is_no_potential_changes_what_is_optimal():
    phi_S = potential_S()
    q, _ = optimal(plain(), 1.0)
    # Paid for where one is, and never taken back.
    bonus_q, _ = optimal(plain() + TWIN.mdp.transition_SAS @ phi_S, 1.0)
    # Wrong once, then undone: as good as right, but only the right digit is paid for.
    assert np.flatnonzero(best_actions(bonus_q)[0, 0]).tolist() == [5]
    # Right once, then wrong: nothing can be won any more, and writing on is paid all the same.
    lost_cause = TWIN.texts.index("A:1+4 x=5\nB:5*0 x=7\n")
    assert best_actions(q)[2, lost_cause].sum() == OTHER + 1
    assert np.flatnonzero(best_actions(bonus_q)[2, lost_cause]).tolist() == [3, 6, 7, 8, 9]


def test_a_progress_bonus_makes_an_agent_go_in_circles_where_the_potential_does_not():
    """The strict case: on the chain, steps to the right are paid and steps back are free."""
    model, discount = restart_chain(num_states=6), 0.9
    phi_S = np.arange(6) / 5
    gain_SAS = phi_S[None, None, :] - phi_S[:, None, None]
    reward_SA = 0.02 * model.reward

    def q_of(extra_SAS):
        q_SA, paid_SA = np.zeros((6, 3)), reward_SA + (model.transition * extra_SAS).sum(-1)
        for _ in range(400):
            q_SA = paid_SA + discount * model.transition @ q_SA.max(-1)
        return q_SA

    best = [q_of(extra).argmax(-1)[:-1].tolist() for extra in (
        np.zeros((1, 1, 6)),
        discount * phi_S[None, None, :] - phi_S[:, None, None],
        np.maximum(gain_SAS, 0.0),
    )]  # fmt: skip
    assert best[0] == best[1] == [0, 0, 0, 0, 0]
    # Just before the goal it turns back, to be paid again: 0.2 each second step beats 0.02 a step.
    assert best[2] == [0, 0, 0, 0, 1]


@pytest.mark.parametrize("max_steps", [64, 1, 2])
def test_the_wrapper_s_shaping_equals_the_twin_s_until_the_episode_ends(max_steps):
    env = RewardShaping(
        ReasonEnv(ProblemSet("toy", (PROBLEM,)), max_steps=max_steps), progress=0.75, discount=0.9
    )
    phi_S = potential_S()
    for first, second in itertools.product((5, 6), (0, 7)):
        env.reset(seed=0)
        state, end = 0, TWIN.mdp.num_states - 1
        lines = (
            f"A:1+4 x={first}\n",
            f"B:{first}*0 x={second}\n",
            "C:2+1 y=3\n",
            f"#### {second}33\n",
        )
        for action, line in zip((first, second, 3, 0), lines, strict=True):
            after = int(TWIN.mdp.transition_SAS[state, action].argmax())
            _, _, terminated, truncated, info = env.step(line)
            is_over = terminated or truncated
            expected = 0.9 * (0.0 if is_over else phi_S[after]) - phi_S[state]
            assert info["shaping"] == pytest.approx(expected, abs=1e-12)
            assert terminated == (after == end)
            state = after
            if is_over:
                break
        assert truncated == (max_steps <= 2)
