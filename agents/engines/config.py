"""EngineConfig: which engine samples, what it may take, and how far it may differ from the trainer.

One dataclass for all engines, because a run is moved from one to another by one word; fields that
an engine does not read say so.
"""

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from reason_env.errors import ConfigError

ENGINES = ("torch", "vllm", "vllm_server")


@dataclass(frozen=True, slots=True, kw_only=True)
class MismatchConfig:
    """How the sampler's log-probabilities are compared with the trainer's, each iteration.

    Raises:
        ConfigError: A number is outside its range.
    """

    sequences: int = 32
    """Episodes of an iteration that the trainer scores again before its update; 0 is off."""
    limit: float = 0.05
    """Mean |trainer - sampler|, nats a token, above which the alarm is raised. Rounding gives 1e-6
    in float32 and up to about 0.01 in bfloat16; stale weights or another temperature give more."""
    alarm: Literal["warn", "stop"] = "warn"
    """What the alarm does beside `rollout/mismatch_alarm`: a logged warning, or end the run."""

    def __post_init__(self) -> None:
        if self.sequences < 0:
            raise ConfigError(f"sequences must be at least 0, got {self.sequences!r}; 0 is off")
        if not 0 < self.limit < math.inf:
            raise ConfigError(f"limit must be above 0 and finite, got {self.limit!r}; use 0.05")
        if self.alarm not in ("warn", "stop"):
            raise ConfigError(f"alarm must be warn or stop, got {self.alarm!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """What samples for the policy: torch in this process, or vLLM (`docs/vllm.md`).

    Raises:
        ConfigError: A number is outside its range, or fields contradict each other.

    >>> EngineConfig(kind="vllm", kv_cache_gb=4.0).is_vllm
    True
    """

    kind: Annotated[
        Literal["torch", "vllm", "vllm_server"], tyro.conf.arg(name="engine", prefix_name=False)
    ] = "torch"
    """torch: in this process. vllm: vLLM's LLM in a process of its own on this machine.
    vllm_server: vLLM's HTTP server, on another GPU or machine. The fields of --engine.* are those
    of the vLLM engines, but for --engine.mismatch.*"""
    deadline_s: float = 600.0
    """Seconds for one wave (one call of `sample`, its weight update included), after which the
    engine counts as hung."""
    start_s: float = 600.0
    """Seconds for an engine to start, or for a server to be there."""
    max_restarts: int = 2
    """Restarts for one wave; if the engine then fails again, the run ends with an error."""
    kv_cache_gb: float | None = None
    """GiB of the KV cache; None: 1 on a CPU, on a GPU what `gpu_memory_fraction` leaves."""
    gpu_memory_fraction: float = 0.4
    """Share of the GPU that vLLM takes; the trainer needs the rest where they share one."""
    block_size: int = 32
    """Tokens of a block of the KV cache: prefixes are shared by whole blocks."""
    max_context_tokens: int | None = None
    """Longest context with its new tokens that is asked for; None: what the model can read. The KV
    cache must hold at least one such sequence."""
    prefix_caching: bool = True
    """Prefixes that contexts share are run once; emptied with every weight update."""
    threads: int = 1
    """CPU threads of an engine that runs on the CPU."""
    devices: str | None = None
    """CUDA_VISIBLE_DEVICES of the engine's process; None: those of this process."""
    sync_dir: str | None = None
    """Folder through which weights go to the engine, which must see it under the same path; None:
    a temporary one. A folder in memory (/dev/shm) is fastest."""
    server_url: str | None = None
    """vllm_server: a server that runs already, as http://host:8000; None starts one here."""
    mismatch: MismatchConfig = field(default_factory=MismatchConfig)

    def __post_init__(self) -> None:
        if self.kind not in ENGINES:
            raise ConfigError(f"engine must be one of {', '.join(ENGINES)}, got {self.kind!r}")
        for name in ("deadline_s", "start_s", "kv_cache_gb"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"{name} must be above 0 and finite, got {value!r}")
        lowest = {"max_restarts": 0, "block_size": 1, "threads": 1, "max_context_tokens": 2}
        for name, low in lowest.items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise ConfigError(f"{name} must be at least {low}, got {value!r}")
        if not 0 < self.gpu_memory_fraction <= 1:
            raise ConfigError(
                "gpu_memory_fraction must lie in 0 < fraction <= 1, got "
                f"{self.gpu_memory_fraction!r}; 0.4 leaves room for the trainer"
            )
        self._check_server()

    def _check_server(self) -> None:
        if self.server_url is None:
            return
        if self.kind != "vllm_server":
            raise ConfigError(
                f"server_url must stand with engine vllm_server, got engine {self.kind!r}; "
                "use --engine vllm_server"
            )
        if not self.server_url.startswith(("http://", "https://")):
            raise ConfigError(
                f"server_url must begin with http:// or https://, got {self.server_url!r}"
            )
        if self.sync_dir is None:
            raise ConfigError(
                "sync_dir must be given with server_url, got None; name a folder that this "
                "process writes and the server reads under the same path"
            )

    @property
    def is_vllm(self) -> bool:
        """True where vLLM samples."""
        return self.kind != "torch"
