r"""Which wording of a prompt or of guidance does what it should, measured and not guessed.

    python -m benchmarks.methods.prompt_wordings presets  --model smollm2 --problems stories
    python -m benchmarks.methods.prompt_wordings answer   --model smollm2 --problems gsm8k:DIR

One line a wording. What is measured:

    presets            pass@1 of each template, its outcomes, and tokens a response
    answer             success with the reference answer shown (ExPO); share that betrays it
    mistakes           share of graded answers that repeat a listed wrong answer (LTE), and success;
                       the wrong answers are the model's own, from plain samples
    partial_solution   success with the first half of the reference solution shown (POPE)
    localisation       replies that name a step in range, and the right one (SRPO); the chain is the
                       reference solution with one result changed, so the wrong step is known

"-" is the same problems without the guidance (for a localisation: chance, 1 of T). Intervals are
95 %, of a bootstrap over problems. Nothing is trained.
"""

import json
import random
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import tyro

from reason_env.agents.engines import Context, SamplingConfig
from reason_env.agents.methods import named_step
from reason_env.agents.methods.expo import BETRAYALS
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.rollout import Start, Trajectory, collect
from reason_env.agents.statistics import bootstrap_mean
from reason_env.env import EnvConfig, ReasonEnv, reason_env_of
from reason_env.problem import Problem
from reason_env.state import (
    ReasonState,
    Template,
    answer_guidance,
    localisation_guidance,
    mistakes_guidance,
    partial_solution_guidance,
    read_template,
)

Row = dict[str, Any]
_RESULT = re.compile(r"= ?\$?(\d+)")

ANSWERS = {
    "explain": "The correct answer is {pieces}. Explain step by step how to get it.\n\n",
    "reach": "Hint: the answer is {pieces}. Write a step by step solution that reaches it.\n\n",
    "final": "The final answer is {pieces}.\n\n",
    "ours": "Answer: {pieces}\n\n",
}
MISTAKES = {
    "wrong": "These answers are wrong: {pieces}. Do not give any of them again, and do not mention "
    "this hint.\n\n",
    "not": "The answer is not {pieces}.\n\n",
    "tried": "Earlier attempts gave {pieces}, which is incorrect. Find the mistake and give "
    "another answer.\n\n",
    "ours": "Not: {pieces}\n\n",
}
PARTIALS = {
    "short": "Partial solution:\n{pieces}\nContinue from where it ends.\n\n",
    "pope": "You are given a problem and a partial solution. Carefully study the partial response, "
    "identify what reasoning or steps are already provided, and then complete the solution from "
    "where it left off.\n\nPartial Response:\n{pieces}\nContinue solving the problem, starting "
    "from where the partial response ends.\n\n",
    "hint": "The solution begins like this:\n{pieces}\n",
    "ours": "Begin:\n{pieces}\n",
}
LOCALISATIONS = {
    "release": "You are tasked with localizing the first erroneous thought in your previous "
    "solution to this problem.\n\nProblem: {question}\n\nYour incorrect reasoning chain:\n\n"
    "{pieces}\n\nThe final answer this chain produces is incorrect \u2014 therefore at least one "
    "step contains an error. The error you are looking for is the originating step where a key "
    "decision or action derailed the reasoning, not just the step where the failure ultimately "
    "becomes visible. A misread of the problem, an unjustified assumption, or a logical flaw can "
    "look fine for several follow-on steps before it surfaces in the wrong answer. A step is "
    "erroneous if you cannot justify its claims from the problem statement and earlier verified "
    "steps alone. Find the originating step, not just the symptom.\n\nDo NOT re-solve the problem. "
    "Your ONLY task is to identify the step number of that originating error.\n\nRequirements:\n- "
    "Commit to exactly ONE step number (1 to {num_steps}).\n- Stop at the first step you cannot "
    "justify.\n- MANDATORY final line: your response MUST end with \\boxed{N} on its own line, "
    "where N is the step index (1-indexed) of the first erroneous step in the chain above \u2014 "
    "NOT the answer to the problem. Do NOT add any text after the \\boxed{N}.\n",
    "condensed": "You are tasked with localizing the first erroneous thought in your previous "
    "solution to this problem.\n\nProblem: {question}\n\nYour incorrect reasoning chain:\n\n"
    "{pieces}\n\nThe final answer this chain produces is incorrect, therefore at least one step "
    "contains an error. Find the originating step, not just the symptom.\n\nDo NOT re-solve the "
    "problem. Commit to exactly ONE step number (1 to {num_steps}). Your response MUST end with "
    "\\boxed{N} on its own line, where N is the number of the first erroneous step.\n",
    "which": "Problem: {question}\n\nA wrong solution:\n{pieces}\n\nOne step has a wrong "
    "calculation. Check each step. Which step is the first wrong one? Reply with its number from "
    "1 to {num_steps}, as in: Step N is wrong.\n",
    "check": "{pieces}\n\nAt least one of these {num_steps} steps is wrong. Check the arithmetic "
    "of each step in turn, and end with the number of the first wrong step in a box: \\boxed{N}. "
    "The problem was: {question}\n",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is measured, and on what."""

    what: tyro.conf.Positional[str]
    """presets, answer, mistakes, partial_solution or localisation."""
    problems: str = "stories"
    levels: tuple[int, int] | None = None
    model: str = "smollm2"
    """As for `reason-env train`."""
    template: str = "auto"
    """The template whose guidance is worded."""
    templates: str = "boxed,qwen-math,dapo,boxed-plain,r1,gsm8k-fewshot"
    """The templates that "presets" compares."""
    num_problems: int = 60
    samples: int = 2
    num_examples: int | None = None
    max_tokens: int = 200
    temperature: float = 1.0
    seed: int = 0
    threads: int = 2
    show: int = 0
    """Responses of each wording to print."""


def measure(setting: Setting) -> Iterator[Row]:
    """Give one row a wording, as soon as it is measured."""
    torch.set_num_threads(setting.threads)
    policy = LanguageModelPolicy.load(setting.model)
    base = EnvConfig(
        problems=setting.problems,
        split="test",
        size=setting.num_problems,
        levels=setting.levels,
        max_tokens=setting.max_tokens,
        max_prompt_tokens=4096,
        template=setting.template,
        num_examples=setting.num_examples,
    )
    if setting.what == "presets":
        for name in setting.templates.split(","):
            yield _plain_row(setting, replace(base, template=name), policy, name)
        return
    yield from _KINDS[setting.what](setting, base, policy)


def _plain_row(setting: Setting, config: EnvConfig, policy: LanguageModelPolicy, name: str) -> Row:
    return _row(name, _episodes(setting, config, policy, _unguided), setting)


def _unguided(state: ReasonState) -> ReasonState:
    return state


def _answer_rows(setting: Setting, base: EnvConfig, policy: LanguageModelPolicy) -> Iterator[Row]:
    def shown(state: ReasonState) -> ReasonState:
        guidance = answer_guidance(state.problem)
        assert guidance is not None, "a problem has an answer"
        return state.with_guidance(guidance)

    yield _plain_row(setting, base, policy, "-")
    for name, wording in ANSWERS.items():
        config = _worded(base, policy, "answer", wording)
        episodes = _episodes(setting, config, policy, shown)
        texts = [item.final_state.text.lower() for item in episodes]
        betrays = [any(phrase in text for phrase in BETRAYALS) for text in texts]
        yield _row(name, episodes, setting) | {"betrays": _mean(betrays, episodes)}


def _mistake_rows(setting: Setting, base: EnvConfig, policy: LanguageModelPolicy) -> Iterator[Row]:
    plain = replace(setting, samples=max(4, setting.samples), seed=setting.seed + 1)
    wrong: dict[str, list[str]] = {}
    for item in _episodes(plain, base, policy, _unguided):
        verdict = item.final_state.verdict
        if verdict is not None and verdict.extracted and not item.is_success:
            wrong.setdefault(item.final_state.problem.problem_id, []).append(verdict.extracted)

    def shown(state: ReasonState) -> ReasonState:
        guidance = mistakes_guidance(wrong.get(state.problem.problem_id, ()))
        return state if guidance is None else state.with_guidance(guidance)

    for name, wording in {"-": "", **MISTAKES}.items():
        config = base if name == "-" else _worded(base, policy, "mistakes", wording)
        start = _unguided if name == "-" else shown
        found = _episodes(setting, config, policy, start)
        episodes = [item for item in found if item.final_state.problem.problem_id in wrong]
        answered = [
            item
            for item in episodes
            if (verdict := item.final_state.verdict) is not None and verdict.extracted
        ]
        repeats = [
            item.final_state.verdict is not None
            and item.final_state.verdict.extracted in wrong[item.final_state.problem.problem_id]
            for item in answered
        ]
        yield _row(name, episodes, setting) | {"repeats": _mean(repeats, answered)}


def _partial_rows(setting: Setting, base: EnvConfig, policy: LanguageModelPolicy) -> Iterator[Row]:
    def shown(state: ReasonState) -> ReasonState:
        guidance = partial_solution_guidance(state.problem, 0.5)
        return state if guidance is None else state.with_guidance(guidance)

    yield _plain_row(setting, base, policy, "-")
    for name, wording in PARTIALS.items():
        config = _worded(base, policy, "partial_solution", wording)
        yield _row(name, _episodes(setting, config, policy, shown), setting)


def _localisation_rows(
    setting: Setting, base: EnvConfig, policy: LanguageModelPolicy
) -> Iterator[Row]:
    for name, wording in LOCALISATIONS.items():
        inner = _env(_worded(base, policy, "localisation", wording), policy)
        cases = [
            case
            for problem in inner.problems
            if (case := broken_chain(problem, random.Random(problem.problem_id))) is not None
        ]
        contexts = [
            Context(
                token_ids=inner.prompt.token_ids(
                    inner.initial_state(problem).with_guidance(localisation_guidance(steps))
                ),
                num_samples=setting.samples,
                max_new_tokens=setting.max_tokens,
            )
            for problem, steps, _ in cases
        ]
        sampling = SamplingConfig(temperature=0.3)
        found = policy.sample(contexts, sampling, seed=setting.seed)
        named: list[tuple[str, bool, bool, int]] = []
        for (problem, steps, wrong), completions in zip(cases, found, strict=True):
            for completion in completions:
                reply = policy.codec.decode(completion.token_ids)
                step = named_step(reply, len(steps))
                is_named = step > 1 or names_one(reply)
                named.append((problem.problem_id, is_named, step == wrong, step))
        chance = sum(1 / len(steps) for _, steps, _ in cases) / len(cases)
        ones = sum(step == 1 for *_, step in named) / len(named)
        by_problem = [item[0] for item in named]
        yield (
            {
                "wording": name,
                "chains": len(cases),
                "in_range": _interval([item[1] for item in named], by_problem),
                "right": _interval([item[2] for item in named], by_problem),
                "chance": round(chance, 3),
                "says_one": round(ones, 3),
            }
        )
        _show(setting, name, [policy.codec.decode(own[0].token_ids) for own in found])


def names_one(reply: str) -> bool:
    r"""Whether a reply that counts as step 1 names it, and does not merely name nothing.

    >>> names_one("Step 1 is wrong"), names_one(r"\boxed{1}"), names_one("all right")
    (True, True, False)
    """
    return re.search(r"\\boxed\{\s*(?:step\s*)?1\s*\}|step\s*1\b", reply, re.IGNORECASE) is not None


def broken_chain(
    problem: Problem, rng: random.Random
) -> tuple[Problem, tuple[str, ...], int] | None:
    """A reference solution with one result changed, and the 1-based number of that step."""
    places = [at for at, step in enumerate(problem.solution) if _RESULT.search(step)]
    if len(problem.solution) < 2 or not places:
        return None
    at = rng.choice(places)
    steps = list(problem.solution)
    match = list(_RESULT.finditer(steps[at]))[-1]
    changed = int(match[1]) + rng.choice((-3, -2, 2, 3, 10))
    steps[at] = f"{steps[at][: match.start(1)]}{max(0, changed)}{steps[at][match.end(1) :]}"
    return problem, tuple(steps), at + 1


def _worded(base: EnvConfig, policy: LanguageModelPolicy, kind: str, wording: str) -> EnvConfig:
    template = read_template(base.resolved(policy.codec).template)
    prompt = replace(template.prompt, guidance=dict(template.prompt.guidance) | {kind: wording})
    own: Template = replace(template, prompt=prompt)
    return replace(base, template=own.to_json(), num_examples=None)


def _env(config: EnvConfig, policy: LanguageModelPolicy) -> ReasonEnv:
    return reason_env_of(config.make(policy.codec))


def _episodes(
    setting: Setting,
    config: EnvConfig,
    policy: LanguageModelPolicy,
    start_of: Callable[[ReasonState], ReasonState],
) -> list[Trajectory]:
    env = config.make(policy.codec)
    inner = reason_env_of(env)
    states = [start_of(inner.initial_state(problem)) for problem in inner.problems]
    starts = [
        Start(
            state=state,
            num_samples=setting.samples,
            learn_from=state,
            group=state.problem.problem_id,
            role="probe",
        )
        for state in states
    ]
    sampling = SamplingConfig(temperature=setting.temperature)
    batch = collect(starts, env=env, policy=policy, sampling=sampling, seed=setting.seed)
    return list(batch.trajectories)


def _row(name: str, episodes: Sequence[Trajectory], setting: Setting) -> Row:
    outcomes: dict[str, int] = {}
    for item in episodes:
        outcomes[item.outcome] = outcomes.get(item.outcome, 0) + 1
    _show(setting, name, [item.final_state.text for item in episodes])
    return {
        "wording": name,
        "success": _mean([item.is_success for item in episodes], episodes),
        "tokens": round(sum(len(item.sampled_ids) for item in episodes) / len(episodes)),
        "outcomes": outcomes,
    }


def _show(setting: Setting, name: str, texts: Sequence[str]) -> None:
    for text in texts[:: max(1, len(texts) // max(1, setting.show))][: setting.show]:
        sys.stdout.write(f"--- {name}\n{text}\n")


def _mean(values: Sequence[bool], episodes: Sequence[Trajectory]) -> str:
    return _interval(values, [item.final_state.problem.problem_id for item in episodes])


def _interval(values: Sequence[bool], problems: Sequence[str]) -> str:
    by_problem: dict[str, list[float]] = {}
    for problem, value in zip(problems, values, strict=True):
        by_problem.setdefault(problem, []).append(float(value))
    if not by_problem:
        return "none"
    means = [sum(own) / len(own) for own in by_problem.values()]
    return str(bootstrap_mean(means, rng=np.random.default_rng(0)))


_KINDS: Mapping[str, Callable[[Setting, EnvConfig, LanguageModelPolicy], Iterator[Row]]] = {
    "answer": _answer_rows,
    "mistakes": _mistake_rows,
    "partial_solution": _partial_rows,
    "localisation": _localisation_rows,
}


def main() -> None:
    """Measure, and print a line a wording."""
    setting = tyro.cli(Setting)
    for row in measure(setting):
        sys.stdout.write(json.dumps(row) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
