"""ExPO's two properties: explanations are likely, and lead to the answer.

    c~ ~ pi(. | x, answer)      an explanation, sampled with the answer shown
    c  ~ pi(. | x)              an ordinary chain
    likelier    log pi(c~ | x), nats a token, minus that of the reference solution
    leads on    log pi(answer | x, c~) minus log pi(answer | x, c)

All are scored at temperature 1 under the prompt without the answer. A chain is a response without
its last step if that step states the answer, so that a stated wrong answer is no part of c. The
answer is scored after the words with which the template's examples announce it, which are given:
whether a chain is about to end is another question.

Source: arXiv 2507.02834, "Self-Explanation Policy Optimization"; a mean over tokens is our choice,
because a sum over tokens would only say which text is shorter.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reason_env.agents.engines import SamplingConfig
from reason_env.agents.methods import ExplanationRule, ExPOConfig
from reason_env.agents.probe.figure import Figure, Findings, mean_figure, rate_figure
from reason_env.agents.probe.subject import Subject, problem_id_of, state_of
from reason_env.agents.probe.success import NO_SOLUTION
from reason_env.agents.rollout import Group
from reason_env.env import EnvConfig
from reason_env.state import ReasonState, read_template, with_reference_prefix
from reason_env.verify import extract_answer


@dataclass(frozen=True, slots=True)
class ExplanationRow:
    """The scores of one problem's explanation, ordinary chain and reference; None if empty."""

    problem_id: str
    is_kept: bool
    """Whether ExPO would train on the explanation."""
    has_wrong_chain: bool
    """Whether an ordinary response of the problem is wrong, which ExP-DPO needs."""
    explanation: float | None
    """log pi(c~ | x), nats a token."""
    ordinary: float | None
    """log pi(c | x), nats a token."""
    reference: float | None
    """log pi(reference solution | x), nats a token."""
    answer_after_explanation: float
    """log pi(answer | x, c~), nats."""
    answer_after_ordinary: float
    answer_after_reference: float | None


def explanation_rows(subject: Subject, groups: Sequence[Group], seed: int) -> list[ExplanationRow]:
    """Sample one explanation a problem and score it beside an ordinary chain and the reference.

    Args:
        subject: The model and the problems.
        groups: The first response of each is the ordinary chain.
        seed: Determines the explanations.
    """
    expo = subject.method(ExPOConfig())
    by_state = {state_of(group).state_id: group for group in groups}
    starts = [
        start
        for start in expo.plan([state_of(group) for group in groups], np.random.default_rng(seed))
        if start.role == "explanation"
    ]
    if not starts:
        return []
    found = subject.collect(starts, seed).trajectories
    sources = [by_state[item.start.learn_from.state_id] for item in found]
    states = [state_of(group) for group in sources]
    chains = {
        "explanation": [chain_of(item.final_state) for item in found],
        "ordinary": [chain_of(group.trajectories[0].final_state) for group in sources],
        "reference": [
            chain_of(with_reference_prefix(state, len(state.problem.solution)))
            if state.problem.solution
            else None
            for state in states
        ],
    }
    scored = {name: chain_log_probs(subject, states, own) for name, own in chains.items()}
    likely = {name: own for name, (own, _) in scored.items()}
    answered = {name: own for name, (_, own) in scored.items()}
    rule = ExplanationRule(
        filter_answers=True,
        betrayals=ExPOConfig().betrayals,
        reference_ids=subject.reference_ids,
        grade_options=subject.inner.grade_options,
        max_tokens=None,
    )
    return [
        ExplanationRow(
            problem_id=problem_id_of(group),
            is_kept=rule.sample(item) is not None,
            has_wrong_chain=any(not own.is_success for own in group.graded),
            explanation=likely["explanation"][at],
            ordinary=likely["ordinary"][at],
            reference=likely["reference"][at],
            answer_after_explanation=_known(answered["explanation"][at]),
            answer_after_ordinary=_known(answered["ordinary"][at]),
            answer_after_reference=answered["reference"][at],
        )
        for at, (item, group) in enumerate(zip(found, sources, strict=True))
    ]


def explanation_findings(rows: Sequence[ExplanationRow]) -> Findings:
    """Average the scores, and both properties as paired differences over problems."""
    if not rows:
        return Findings(missing={"explanations": "the prompt with the answer does not fit"})
    missing: dict[str, str] = {}
    figures = [
        rate_figure(
            "explanations/kept",
            "explanations that reach the answer without betraying it",
            [float(row.is_kept) for row in rows],
        ),
        rate_figure(
            "explanations/pairs",
            "problems with such an explanation and a wrong response",
            [float(row.is_kept and row.has_wrong_chain) for row in rows],
        ),
    ]
    for name, label in (
        ("explanation", "explanations"),
        ("ordinary", "ordinary chains"),
        ("reference", "reference solutions"),
    ):
        values = [value for row in rows if (value := getattr(row, name)) is not None]
        if values:
            figures.append(
                mean_figure(
                    f"explanations/{name}", f"log pi(chain | x), {label}", values,
                    unit="nats a token",
                )
            )  # fmt: skip
    pairs = [
        row.explanation - row.reference
        for row in rows
        if row.explanation is not None and row.reference is not None
    ]
    if pairs:
        label = "likelier: explanations minus reference solutions"
        figures.append(mean_figure("explanations/likelier", label, pairs, unit="nats a token"))
    elif any(row.reference is not None for row in rows):
        missing["explanations/likelier"] = "every explanation states the answer in its first step"
    else:
        missing["explanations/likelier"] = NO_SOLUTION
    return Findings(figures=(*figures, *_answers(rows)), missing=missing)


def _answers(rows: Sequence[ExplanationRow]) -> list[Figure]:
    after = {
        "explanation": [row.answer_after_explanation for row in rows],
        "ordinary": [row.answer_after_ordinary for row in rows],
        "reference": [
            row.answer_after_reference for row in rows if row.answer_after_reference is not None
        ],
    }
    figures = [
        mean_figure(
            f"explanations/answer_after_{name}", f"log pi(answer | x, {label})", values,
            unit="nats",
        )
        for (name, values), label in zip(
            after.items(), ("explanation", "ordinary chain", "reference solution"), strict=True
        )
        if values
    ]  # fmt: skip
    gains = np.subtract(after["explanation"], after["ordinary"]).tolist()
    label = "leads on: log pi(answer) after explanations minus after ordinary chains"
    return [*figures, mean_figure("explanations/leads_on", label, gains, unit="nats")]


def chain_of(state: ReasonState) -> ReasonState:
    r"""Cut a response before its last step if that step states an answer; drop the end token.

    >>> from reason_env import ByteCodec, Problem
    >>> problem = Problem(problem_id="t/train/0", question="?", answer="24")
    >>> state = ReasonState(problem=problem, codec=ByteCodec())
    >>> chain_of(state.extend(state.codec.encode("2*3=6\n#### 6"))).text
    '2*3=6\n'
    """
    steps = state.steps
    states_answer = bool(steps) and extract_answer(steps[-1]) is not None
    return state.cut(len(steps) - 1 if states_answer else len(steps))


def chain_log_probs(
    subject: Subject, states: Sequence[ReasonState], chains: Sequence[ReasonState | None]
) -> tuple[list[float | None], list[float | None]]:
    """Score chains under their problems' prompts, and the reference answer announced after each.

    Both in one call, so that a chain goes through the model once.

    Returns:
        The chains in nats a token, None for an empty or no chain; the answers in nats, None for no
        chain.
    """
    words = announcement(subject.session.config.env)
    pairs: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    for state, chain in zip(states, chains, strict=True):
        prompt = subject.prompt_ids(state)
        announced, answer = ((), ()) if chain is None else announced_answer(chain, words)
        pairs.append((prompt, () if chain is None else chain.response))
        pairs.append((prompt + announced, answer))
    found = _score(subject, pairs)
    return (
        [float(np.mean(scores)) if scores else None for scores in found[::2]],
        [float(sum(scores)) if scores else None for scores in found[1::2]],
    )


def announcement(env: EnvConfig) -> str:
    r"""Return the words between a solution and its answer in a template's examples.

    >>> announcement(EnvConfig(template="boxed"))
    'The answer is \\boxed{'
    """
    example = read_template("ours" if env.stack is not None else env.template).example
    return example.partition("{solution}")[2].partition("{answer}")[0].lstrip("\n")


def announced_answer(chain: ReasonState, words: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    r"""Return a chain's tokens with the words that announce the answer, and the answer's tokens.

    Words and answer are encoded together, as a policy would write them; a token that holds letters
    of both belongs to the answer.

    >>> from reason_env import ByteCodec, Problem
    >>> codec = ByteCodec()
    >>> problem = Problem(problem_id="t/train/0", question="?", answer="24")
    >>> state = ReasonState(problem=problem, codec=codec).extend(codec.encode("so"))
    >>> [codec.decode(tokens) for tokens in announced_answer(state, "#### ")]
    ['so\n#### ', '24']
    """
    codec = chain.codec
    answer = " ".join(chain.problem.answer.split())
    tokens = codec.encode(words + answer)
    size = max(at for at in range(len(tokens)) if len(codec.decode(tokens[:at])) <= len(words))
    is_open = len(chain.step_ends) < chain.num_steps
    closing = codec.encode(codec.step_delimiter) if is_open else ()
    return chain.response + closing + tokens[:size], tokens[size:]


def _score(
    subject: Subject, pairs: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]
) -> list[tuple[float, ...]]:
    """Score the completions that are not empty, at temperature 1."""
    scored = [pair for pair in pairs if pair[1]]
    found = iter(
        subject.session.policy.score(
            [context for context, _ in scored],
            [completion for _, completion in scored],
            SamplingConfig(),
        )
    )
    return [next(found) if completion else () for _, completion in pairs]


def _known(value: float | None) -> float:
    assert value is not None, "an answer has at least one token"
    return value
