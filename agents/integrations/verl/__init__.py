# pyright: reportMissingImports=false
# verl is in the environment of `make test-interop` only.
"""verl: the methods of language models inside its trainer, on a cluster.

verl imports this module in each of its processes (`actor_rollout_ref.model.external_lib`); what is
imported here is registered by its import: two agent loops, an advantage estimator, and a policy
loss for each method that verl can run (`served.py` says which it cannot, and why). One setting
names the method, `actor_rollout_ref.actor.policy_loss.loss_mode=reason_env/srpo`; a method with
other numbers gets a name by `serve`, in a module that is named as `external_lib` instead of this.

    loop.py      one row of data is one problem: plan, episodes, groups, advantages; one output of
                 the loop for each training sample
    losses.py    the estimator, which gives verl those advantages, and the losses by role
    settings.py  which of verl's settings would train something else; `manager.py` checks them
                 before the first episode

The data is a Parquet file that `reason-env export verl` writes (`agents/integrations/export.py`).
"""

from reason_env.agents.integrations.installed import check_installed

check_installed("verl", extra="verl")

from reason_env.agents.integrations.verl.loop import (  # noqa: E402 - after the check
    EvaluationLoop,
    ReasonLoop,
)
from reason_env.agents.integrations.verl.losses import (  # noqa: E402
    ESTIMATOR,
    given_advantages,
    policy_loss_of,
    serve,
)
from reason_env.agents.integrations.verl.reward import compute_score  # noqa: E402
from reason_env.agents.integrations.verl.served import (  # noqa: E402
    PREFIX,
    SERVED_METHODS,
    Served,
    refusal,
    served_method,
)
from reason_env.agents.integrations.verl.settings import check_settings  # noqa: E402

__all__ = [
    "ESTIMATOR",
    "PREFIX",
    "SERVED_METHODS",
    "EvaluationLoop",
    "ReasonLoop",
    "Served",
    "check_settings",
    "compute_score",
    "given_advantages",
    "policy_loss_of",
    "refusal",
    "serve",
    "served_method",
]
