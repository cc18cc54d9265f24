"""token_energies(): where the variance of the policy gradient comes from.

The energy of a token is its expected part of the squared norm of the gradient of log pi in the
logits, over what could be drawn there:

    E_{y ~ p} |e_y - p|^2 = 1 - sum_a p(a)^2

A token without choice has none, one of 26 equally likely letters has 0.96. All responses of an
episode are multiplied by the same return, so tokens that do not matter for it add noise in
proportion to their energy. Temperature 1.
"""

from collections.abc import Sequence

import torch

from reason_env.agents.engines import evaluating
from reason_env.agents.policy import LanguageModelPolicy


@torch.inference_mode()
def token_energies(
    policy: LanguageModelPolicy, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]
) -> list[tuple[float, ...]]:
    """Compute the energy of each response token of some (prompt, response) pairs of ids."""
    found: list[tuple[float, ...]] = []
    with evaluating(policy.model):
        for prompt, response in pairs:
            ids_BT = torch.tensor([[*prompt, *response]], device=policy.device)
            is_token_BT = torch.ones_like(ids_BT, dtype=torch.bool)
            wanted_BT = is_token_BT.clone()
            wanted_BT[:, : len(prompt)] = False
            passed = policy.predict(ids_BT, is_token_BT, action_mask_BT=wanted_BT)
            p_TV = passed.logits(passed.row_of_each).softmax(dim=-1)
            found.append(tuple(map(float, 1 - p_TV.square().sum(dim=-1))))
    return found
