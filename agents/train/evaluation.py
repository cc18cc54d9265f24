"""Evaluate a session's policy on held-out problems.

Every evaluation of a run uses the same problems and the same seed, so before and after are paired.
"""

from collections.abc import Mapping

from reason_env.agents.evaluate import EvalReport, evaluate
from reason_env.agents.metrics import Number
from reason_env.agents.train.evaluation_cache import entry_path, read_entry, write_entry
from reason_env.agents.train.fingerprint import evaluation_fingerprint
from reason_env.agents.train.session import RunSession
from reason_env.env import reason_env_of


def evaluate_policy(session: RunSession) -> EvalReport | None:
    """Evaluate the policy in its present state; None if there are no problems to evaluate on."""
    if session.eval_env is None:
        return None
    config = session.config
    ids = [problem.problem_id for problem in reason_env_of(session.eval_env).problems]
    return evaluate(
        session.policy,
        session.eval_env,
        ids[: config.eval.num_problems],
        config=config.eval,
        seed=config.seed_of("evaluation", 0),
        graders=session.graders,
    )


def initial_metrics(session: RunSession) -> Mapping[str, Number]:
    """Evaluate the policy before training, or read the same evaluation from `eval.cache_dir`.

    Raises:
        ConfigError: The cached entry is damaged.
    """
    folder = session.config.eval.cache_dir
    if folder is None or session.eval_env is None:
        return _metrics(session)
    problems = reason_env_of(session.eval_env).problems
    path = entry_path(folder, evaluation_fingerprint(session.config, session.policy, problems))
    known = read_entry(path)
    if known is None:
        known = _metrics(session)
        write_entry(path, known)
    return known


def _metrics(session: RunSession) -> Mapping[str, Number]:
    report = evaluate_policy(session)
    return {} if report is None else report.metrics
