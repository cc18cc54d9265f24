"""Actor-critic policies of Stable-Baselines3 that begin as a language model.

The features are the decoder's hidden state after the last token of an observation, and the actor's
logits are those of the model's own head: before the first update the policy *is* the language
model, restricted to the ids that may be sampled. The critic is a linear layer that begins at 0.

The weights are part of the algorithm's `save`; loading one builds the named model first, for its
architecture and codec. Rollouts run the whole prefix at each step, without a cache of keys and
values.

Axis letters: B observations, T ids of an observation, C channels, V vocabulary.
"""

# Stable-Baselines3 and Gymnasium's spaces are partly untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from typing import Any, Literal, get_args

import gymnasium as gym
import torch
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn
from torch.nn.functional import linear

from reason_env.agents.policy import LanguageModelPolicy, last_hidden_states, load_model
from reason_env.codec import Codec
from reason_env.errors import ConfigError, did_you_mean, shown

Weights = Literal["pretrained", "random"]
NEVER = -1e8
"""Logit of an id that may not be sampled: its probability is 0, and the entropy stays finite."""


class LanguageModelExtractor(BaseFeaturesExtractor):
    """The hidden state of a language model after the last id of an observation, [B, C]."""

    def __init__(
        self,
        observation_space: gym.spaces.Box,
        model: str = "base",
        weights: Weights = "pretrained",
    ) -> None:
        """Load the model.

        Args:
            observation_space: Of token ids, as `MathReason-v0` has with format "tokens".
            model: As for `LanguageModelPolicy.load`.
            weights: "pretrained", or "random" for the architecture alone.

        Raises:
            ConfigError: The observations are no ids of the model's codec.
            ModelError: The model cannot be loaded.
        """
        if weights not in get_args(Weights):
            raise ConfigError(
                f"weights must be one of {', '.join(get_args(Weights))}, got {weights!r}"
                f"{did_you_mean(str(weights), get_args(Weights))}"
            )
        loaded, codec = load_model(model)
        _check_space(observation_space, codec, model)
        super().__init__(observation_space, features_dim=int(loaded.config.hidden_size))
        if weights == "random":
            loaded = type(loaded)(loaded.config)
        self.model: Any = loaded.eval()
        self.codec = codec

    def forward(self, observations: Tensor) -> Tensor:
        """Compute the features of observations of ids, right-padded, [B, T].

        Raises:
            ConfigError: They are not ids, because something scaled them.
        """
        ids_BT = observations.long()
        if not torch.equal(ids_BT.to(observations.dtype), observations):
            raise ConfigError(
                "observations of a language model must be token ids, got numbers that are not "
                "whole; use VecNormalize with norm_obs=False"
            )
        places_T = torch.arange(1, ids_BT.shape[1] + 1, device=ids_BT.device)
        lengths_B = ((ids_BT != self.codec.pad_id) * places_T).amax(dim=1).clamp(min=1)
        return last_hidden_states(self.model, ids_BT[:, : int(lengths_B.max())], lengths_B)

    def train(self, mode: bool = True) -> "LanguageModelExtractor":
        """Keep the model's dropout off: a ratio compares two policies, not two masks."""
        super().train(mode)
        self.model.eval()
        return self


class LanguageModelHead(nn.Module):
    """The logits of the codec's ids by the model's own head, those never sampled at -1e8."""

    def __init__(self, extractor: LanguageModelExtractor) -> None:
        """Share the head's weights, which may be those of the embedding too."""
        super().__init__()
        codec = extractor.codec
        self.head = extractor.model.get_output_embeddings()
        is_sampled_V = torch.ones(codec.vocab_size, dtype=torch.bool)
        is_sampled_V[codec.pad_id] = codec.pad_id in codec.end_ids
        self.is_sampled_V: Tensor
        self.register_buffer("is_sampled_V", is_sampled_V, persistent=False)

    def forward(self, hidden_BC: Tensor) -> Tensor:
        """Compute the logits, [B, V]."""
        size = len(self.is_sampled_V)
        bias = None if self.head.bias is None else self.head.bias[:size]
        logits_BV = linear(hidden_BC, self.head.weight[:size], bias)
        return torch.where(self.is_sampled_V, logits_BV, NEVER)


class _BeginsAsLanguageModel(BasePolicy):
    """What `TokenPolicy` and `MaskableTokenPolicy` change of their base classes."""

    def __init__(
        self,
        observation_space: gym.spaces.Space[Any],
        action_space: gym.spaces.Space[Any],
        lr_schedule: Schedule,
        *,
        model: str = "base",
        weights: Weights = "pretrained",
        **settings: Any,
    ) -> None:
        """Build the policy.

        Args:
            observation_space: Of token ids.
            action_space: Of token ids.
            lr_schedule: The learning rate as a function of the remaining share of the run.
            model: As for `LanguageModelPolicy.load`.
            weights: "pretrained", or "random" for the architecture alone.
            settings: As for the base class.

        Raises:
            ConfigError: The settings contradict that the actor is the language model, or the
                observations are no ids of the model's codec.
            ModelError: The model cannot be loaded.
        """
        named = {"model": model, "weights": weights}
        super().__init__(
            observation_space, action_space, lr_schedule, **_settings_of(settings, named)
        )
        self._named = named
        _become_language_model(self, lr_schedule)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | self._named


class TokenPolicy(_BeginsAsLanguageModel, ActorCriticPolicy):
    """A language model as the policy of PPO, A2C and GRPO.

    `policy_kwargs={"model": "base"}` names the model; "weights": "random" keeps only its
    architecture. Padding is never sampled.
    """


class MaskableTokenPolicy(_BeginsAsLanguageModel, MaskableActorCriticPolicy):
    """`TokenPolicy` for `MaskablePPO`, whose masks come from the environment."""


def language_model_of(policy: Any) -> LanguageModelPolicy:
    """Give the language model in a policy, which shares its weights: to `save` and to evaluate.

    Raises:
        ConfigError: The policy is another one.
    """
    if not isinstance(policy, (TokenPolicy, MaskableTokenPolicy)):
        raise ConfigError(
            "the policy must be a TokenPolicy or a MaskableTokenPolicy, got "
            f"{type(policy).__name__}; only these hold a language model"
        )
    extractor: Any = policy.pi_features_extractor
    device = str(extractor.model.device)
    return LanguageModelPolicy(extractor.model, extractor.codec, device=device)


def _settings_of(given: dict[str, Any], named: dict[str, Any]) -> dict[str, Any]:
    """Complete the settings of the base class.

    Raises:
        ConfigError: They contradict that the actor is the language model.
    """
    if given.get("ortho_init"):
        raise ConfigError(
            "ortho_init must be False for a language model, got True; it would overwrite the "
            "model's weights"
        )
    net_arch = given.get("net_arch") or []
    layers = net_arch.get("pi", []) if isinstance(net_arch, dict) else net_arch
    if layers:
        raise ConfigError(
            "net_arch must have no layers between a language model and its head, got "
            f"{shown(net_arch)}; use {{'pi': [], 'vf': [...]}} for layers of the critic"
        )
    return given | {
        "net_arch": net_arch,
        "ortho_init": False,
        "features_extractor_class": LanguageModelExtractor,
        "features_extractor_kwargs": dict(named),
    }


def _become_language_model(policy: Any, lr_schedule: Any) -> None:
    """Replace the actor's last layer by the model's head, and begin the critic at 0."""
    policy.action_net = LanguageModelHead(policy.pi_features_extractor)
    nn.init.zeros_(policy.value_net.weight)
    nn.init.zeros_(policy.value_net.bias)
    # The optimizer of the base class holds the replaced layer.
    policy.optimizer = policy.optimizer_class(
        policy.parameters(), lr=lr_schedule(1), **policy.optimizer_kwargs
    )


def _check_space(space: Any, codec: Codec, model: str) -> None:
    highest = codec.vocab_size - 1
    is_of_ids = isinstance(space, gym.spaces.Box) and len(space.shape) == 1
    if not is_of_ids or not ((space.low == 0).all() and (space.high == highest).all()):
        raise ConfigError(
            f"observations of the model {model!r} must be ids in 0..{highest}, got the space "
            f"{shown(space)}; make the environment with granularity='token', format='tokens' and "
            "the model's codec"
        )
