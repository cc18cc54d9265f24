"""The methods, one file each, and the registry that finds them by name."""

from reason_env.agents.methods.adaback import AdaBack, AdaBackConfig
from reason_env.agents.methods.compose import Composed
from reason_env.agents.methods.dapo import DAPO, DAPOConfig
from reason_env.agents.methods.exp_dpo import ExPDPO, ExPDPOConfig
from reason_env.agents.methods.explanation import ExplanationRule
from reason_env.agents.methods.expo import ExPO, ExPOConfig
from reason_env.agents.methods.failure_prefix import FailurePrefix, FailurePrefixConfig
from reason_env.agents.methods.grpo import GRPO, GRPOConfig
from reason_env.agents.methods.intervention import InT, InTConfig
from reason_env.agents.methods.localiser import named_step, step_in_reply
from reason_env.agents.methods.lte import LTE, LTEConfig
from reason_env.agents.methods.opsd import OPSD, OPSDConfig
from reason_env.agents.methods.pipeline import Part, is_problem_group
from reason_env.agents.methods.pope import POPE, POPEConfig
from reason_env.agents.methods.prefix_sampling import PrefixSampling, PrefixSamplingConfig
from reason_env.agents.methods.prefixrl import PrefixRL, PrefixRLConfig
from reason_env.agents.methods.protocol import (
    Method,
    MethodBase,
    MethodConfig,
    ReferenceIds,
    check_names,
    group_key,
    numbered_starts,
    problem_starts,
)
from reason_env.agents.methods.reference import kept_states
from reason_env.agents.methods.registry import (
    AnyMethodConfig,
    ComposedConfig,
    MethodEntry,
    build_method,
    method_config,
    method_entry,
    method_name,
    method_names,
    parts_of,
    register_method,
    sb3_names,
)
from reason_env.agents.methods.rounds import CollectBatch, collect_rounds
from reason_env.agents.methods.row import UNSAID, Row
from reason_env.agents.methods.rrpo import RRPO, RRPOConfig
from reason_env.agents.methods.sage import SAGE, SAGEConfig
from reason_env.agents.methods.sb3 import (
    ActorCriticConfig,
    SB3A2CConfig,
    SB3Config,
    SB3GRPOConfig,
    SB3MaskablePPOConfig,
    SB3PPOConfig,
)
from reason_env.agents.methods.sdpo import SDPO, SDPOConfig
from reason_env.agents.methods.segment_tree import SPOTree, SPOTreeConfig
from reason_env.agents.methods.services import (
    CountedServices,
    NumberedState,
    Scorer,
    ServiceCounts,
    Services,
)
from reason_env.agents.methods.sft import SFT, SFTConfig
from reason_env.agents.methods.spo import SPO, SPOConfig
from reason_env.agents.methods.srpo import LOCALISE, SRPO, SRPOConfig
from reason_env.agents.methods.table import (
    COLUMNS,
    Columns,
    PaperNumber,
    columns_of,
    numbers_of,
    own_numbers,
    row_of,
)
from reason_env.agents.methods.treerl import TreeRL, TreeRLConfig
from reason_env.agents.methods.vineppo import VinePPO, VinePPOConfig
from reason_env.agents.methods.vppo import VPPO, VPPOConfig

__all__ = [
    "COLUMNS",
    "DAPO",
    "GRPO",
    "LOCALISE",
    "LTE",
    "OPSD",
    "POPE",
    "RRPO",
    "SAGE",
    "SDPO",
    "SFT",
    "SPO",
    "SRPO",
    "UNSAID",
    "VPPO",
    "ActorCriticConfig",
    "AdaBack",
    "AdaBackConfig",
    "AnyMethodConfig",
    "CollectBatch",
    "Columns",
    "Composed",
    "ComposedConfig",
    "CountedServices",
    "DAPOConfig",
    "ExPDPO",
    "ExPDPOConfig",
    "ExPO",
    "ExPOConfig",
    "ExplanationRule",
    "FailurePrefix",
    "FailurePrefixConfig",
    "GRPOConfig",
    "InT",
    "InTConfig",
    "LTEConfig",
    "Method",
    "MethodBase",
    "MethodConfig",
    "MethodEntry",
    "NumberedState",
    "OPSDConfig",
    "POPEConfig",
    "PaperNumber",
    "Part",
    "PrefixRL",
    "PrefixRLConfig",
    "PrefixSampling",
    "PrefixSamplingConfig",
    "RRPOConfig",
    "ReferenceIds",
    "Row",
    "SAGEConfig",
    "SB3A2CConfig",
    "SB3Config",
    "SB3GRPOConfig",
    "SB3MaskablePPOConfig",
    "SB3PPOConfig",
    "SDPOConfig",
    "SFTConfig",
    "SPOConfig",
    "SPOTree",
    "SPOTreeConfig",
    "SRPOConfig",
    "Scorer",
    "ServiceCounts",
    "Services",
    "TreeRL",
    "TreeRLConfig",
    "VPPOConfig",
    "VinePPO",
    "VinePPOConfig",
    "build_method",
    "check_names",
    "collect_rounds",
    "columns_of",
    "group_key",
    "is_problem_group",
    "kept_states",
    "method_config",
    "method_entry",
    "method_name",
    "method_names",
    "named_step",
    "numbered_starts",
    "numbers_of",
    "own_numbers",
    "parts_of",
    "problem_starts",
    "register_method",
    "row_of",
    "sb3_names",
    "step_in_reply",
]
