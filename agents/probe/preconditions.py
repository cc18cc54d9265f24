"""The preconditions of each method: a table of gates, each with its reason.

The gates are what the methods' own papers assume or measure; thresholds are our choice and are
defended in each gate's reason. A package adds the gates of its own method through the entry-point
group `reason_env.preconditions` (name: the method's; value: a sequence of `Gate`);
`register_preconditions` adds them in this process. A method that declares none is not judged.
"""

from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Any, cast

from reason_env.agents.probe.config import ProbeConfig
from reason_env.agents.probe.gates import Gate
from reason_env.errors import ConfigError, shown

ENTRY_POINTS = "reason_env.preconditions"
"""Entry-point group in which packages declare the preconditions of their methods."""

SIGNAL = Gate(
    rule="some groups hold both successes and failures",
    figures=("success/signal",),
    above=0.1,
    reason="A group of equal returns has no gradient. Below one group in ten, three problems of an "
    "iteration of 32 decide the update.",
)
FINISHED = Gate(
    rule="most responses end with an answer",
    figures=("success/unfinished",),
    below=0.5,
    reason="A response without an answer counts as a failure whatever its reasoning was; if half "
    "are, the reward teaches to stop. Raise max_tokens or show the answer's format.",
)
ROOM = Gate(
    rule="something is left to learn",
    figures=("success/pass_at_1",),
    below=0.9,
    reason="Above nine in ten, nearly every group is all correct.",
)
CHAINS = Gate(
    rule="failed responses of several steps exist",
    figures=("success/failed_chain",),
    above=0.25,
    reason="Resets and corrections cut a failed response between two steps. Problems without one "
    "get a plain group, so below a quarter the method is mostly GRPO.",
)
RESET_SIGNAL = Gate(
    rule="some groups from a reset hold both successes and failures",
    figures=("localisation/reset_signal",),
    above=0.1,
    reason="Each reset is compared with its own group; without spread its tokens buy nothing.",
)
IN_RANGE = Gate(
    rule="the policy names a step of its chain when it is asked",
    figures=("localisation/in_range",),
    above=0.5,
    reason="Every other reply means the first step: a reset is GRPO's, a prefix is empty, and a "
    "correction begins anew. If half do, the method is mostly GRPO.",
)
LOCALISES = Gate(
    rule="the step that it names is better than a random one",
    figures=("localisation/above_chance", "localisation/gain"),
    above=0.0,
    reason="Against RRPO, SRPO gains only by naming better cuts. With a step checker: accuracy "
    "above chance; without: success from the named cut above success from a uniform cut.",
)
CREDITS = Gate(
    rule="the step that it names is the first wrong one more often than a random one is",
    figures=("localisation/above_chance", "localisation/gain"),
    above=0.0,
    reason="VPPO rewards what is before the named step and penalises the rest; named at random, it "
    "rewards errors and penalises right steps. With a step checker: accuracy above chance; "
    "without: success from the named cut above success from a uniform cut.",
)
UNCERTAIN = Gate(
    rule="the policy hesitates at some tokens",
    figures=("entropy/mean",),
    above=0.02,
    reason="Segments and branches begin at tokens of low probability, and SPO trains only these. A "
    "choice of 0.9 to 0.1 has 0.33 nats, so 0.02 nats a token is one such choice in 16 tokens.",
)
SOLUTIONS = Gate(
    rule="most problems have a reference solution that fits a response",
    figures=("success/solutions",),
    above=0.5,
    reason="Problems without one are left out of training; below half, the method sees other "
    "problems than those asked for.",
)
HARD = Gate(
    rule="some problems are unsolved",
    figures=("success/unsolved",),
    above=0.1,
    reason="The method acts on problems without a success in a group; below one in ten it is GRPO "
    "on nearly every problem.",
)
AVOIDS = Gate(
    rule="listed wrong answers are given less often than without the list",
    figures=("mistakes/avoided",),
    above=0.0,
    reason="If the policy ignores the list, a hinted retry is a plain retry that is trained with a "
    "wrong ratio.",
)
RETRIES = Gate(
    rule="hinted retries succeed more often than plain retries",
    figures=("mistakes/gain",),
    above=0.0,
    reason="The paper's control arm spends the same tokens on plain retries; LTE pays only if it "
    "beats that.",
)
EXPLAINS = Gate(
    rule="explanations end in the answer without betraying that it was given",
    figures=("explanations/kept",),
    above=0.25,
    reason="Only these are trained on; below a quarter, four explanations are sampled for one.",
)
PAIRS = Gate(
    rule="problems give such an explanation and a wrong response",
    figures=("explanations/pairs",),
    above=0.25,
    reason="A pair needs both; below a quarter, most sampled tokens give none.",
)
LIKELIER = Gate(
    rule="explanations are no less likely than reference solutions",
    figures=("explanations/likelier",),
    above=-0.1,
    reason="The paper's first property: likely samples move the policy's own behaviour. A tenth of "
    "a nat is allowed, because references in the policy's own words are as likely as anything it "
    "says. It compares with imitation: without reference solutions nothing depends on it.",
    is_needed=False,
)
LEADS_ON = Gate(
    rule="explanations make the answer likelier than ordinary chains do",
    figures=("explanations/leads_on",),
    above=0.0,
    reason="The paper's second property: otherwise the explanation justifies the answer without "
    "leading to it.",
)
RESOLUTION = Gate(
    rule="CPI's test can see an advantage of two hundredths",
    figures=("success/cpi_resolution",),
    below=0.02,
    reason="An update whose advantage is below the half-width of the test's interval is rejected, "
    "and one of GRPO's at a default learning rate gained two hundredths on SmolLM2. Raise "
    "--cpi.num-restarts, or take larger steps.",
)


def builtin_preconditions(config: ProbeConfig) -> dict[str, tuple[Gate, ...]]:
    """Return method -> its gates, for the built-in methods.

    Args:
        config: Its smallest share of the solution is the one that POPE must gain by.
    """
    share = config.shares[0]
    guided = Gate(
        rule=f"unsolved problems succeed more often with {share:.0%} of the solution shown",
        figures=(f"guided/prompt_{share:g}_gain",),
        above=0.0,
        reason="POPE needs signal on guided copies at small shares: if only large parts help, the "
        "policy learns to finish, not to begin. Compared with fresh unguided episodes.",
    )
    return {
        "grpo": (SIGNAL, FINISHED, ROOM),
        "dapo": (SIGNAL, FINISHED, ROOM),
        "rrpo": (CHAINS, RESET_SIGNAL, FINISHED, ROOM),
        "srpo": (CHAINS, IN_RANGE, LOCALISES, FINISHED, ROOM),
        "pope": (SOLUTIONS, HARD, guided),
        "lte": (HARD, AVOIDS, RETRIES, FINISHED),
        "expo": (EXPLAINS, LIKELIER, LEADS_ON, ROOM),
        "vineppo": (SIGNAL, FINISHED, ROOM),
        "spo": (SIGNAL, UNCERTAIN, FINISHED, ROOM),
        "spo-tree": (SIGNAL, UNCERTAIN, FINISHED, ROOM),
        "treerl": (SIGNAL, UNCERTAIN, FINISHED, ROOM),
        "vppo": (CHAINS, IN_RANGE, CREDITS, FINISHED, ROOM),
        "int": (SOLUTIONS, CHAINS, IN_RANGE, ROOM),
        "exp-dpo": (PAIRS, LIKELIER, LEADS_ON, ROOM),
        "sft": (SOLUTIONS, ROOM),
        "adaback": (SOLUTIONS, ROOM),
        "prefixrl": (SIGNAL, FINISHED, ROOM),
        "prefix-sampling": (SIGNAL, FINISHED, ROOM),
        "cpi": (SIGNAL, RESOLUTION, ROOM),
    }


_REGISTERED: dict[str, tuple[Gate, ...]] = {}


def register_preconditions(method: str, gates: Sequence[Gate]) -> None:
    """Declare the preconditions of a method in this process.

    Raises:
        ConfigError: The method has preconditions, or a value is no gate.
    """
    if method in _REGISTERED or method in builtin_preconditions(ProbeConfig()):
        raise ConfigError(
            f"preconditions must be declared once a method, got {method!r} twice; rename the method"
        )
    _REGISTERED[method] = _checked(method, gates)


def preconditions(method: str, config: ProbeConfig) -> tuple[Gate, ...] | None:
    """Return the gates of a method; None if it declares none.

    Raises:
        ConfigError: A package declares what is no sequence of gates, or fails to load.
    """
    known = builtin_preconditions(config) | _REGISTERED
    if method in known:
        return known[method]
    for point in entry_points(group=ENTRY_POINTS):
        if point.name == method:
            try:
                declared: Any = point.load()
            except (ImportError, AttributeError) as error:
                raise ConfigError(
                    f"the preconditions of {method!r} must load, got {error}; correct "
                    f"{point.value!r}, or uninstall the package"
                ) from error
            return _checked(method, declared)
    return None


def _checked(method: str, declared: object) -> tuple[Gate, ...]:
    is_sequence = isinstance(declared, (list, tuple))
    items = cast("Sequence[object]", declared) if is_sequence else [declared]
    gates = tuple(item for item in items if isinstance(item, Gate))
    if len(gates) < len(items) or not is_sequence:
        raise ConfigError(
            f"preconditions of {method!r} must be a sequence of Gate, got {shown(declared)}"
        )
    return gates
