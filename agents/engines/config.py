"""EngineConfig: selects the engine, its resources, and how far it may differ from the trainer.

All engines share one dataclass, so that changing `kind` moves a run to another engine. A field that
only some engines read says so.
"""

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal
from urllib.parse import urlsplit

import tyro

from reason_env.errors import ConfigError

ENGINES = ("torch", "vllm", "vllm_server", "ray")


@dataclass(frozen=True, slots=True, kw_only=True)
class MismatchConfig:
    """How each iteration compares the sampler's log-probabilities with the trainer's.

    Raises:
        ConfigError: A number is outside its range.
    """

    sequences: int = 8
    """Episodes of each iteration that are compared at least; 0 is off. Those that the update trains
    are scored by it anyway, and all count; missing ones are scored apart before it, four of a
    group."""
    limit: float = 0.05
    """Mean |trainer - sampler|, nats a token, above which the alarm is raised. Rounding gives 1e-6
    in float32, and 1e-5 to 0.02 in bf16-mixed, by model and device; stale weights or another
    temperature give more."""
    alarm: Literal["warn", "stop"] = "warn"
    """What the alarm does besides setting `rollout/mismatch_alarm`: log a warning, or end the
    run."""

    def __post_init__(self) -> None:
        if self.sequences < 0:
            raise ConfigError(f"sequences must be at least 0, got {self.sequences!r}; 0 is off")
        if not 0 < self.limit < math.inf:
            raise ConfigError(f"limit must be above 0 and finite, got {self.limit!r}; use 0.05")
        if self.alarm not in ("warn", "stop"):
            raise ConfigError(f"alarm must be warn or stop, got {self.alarm!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """Which engine samples for the policy: torch in this process, vLLM (`docs/vllm.md`), or torch
    in actors of a Ray cluster (`docs/scale.md`).

    Raises:
        ConfigError: A number is outside its range, or fields contradict each other.

    >>> EngineConfig(kind="vllm", kv_cache_gb=4.0).is_vllm
    True
    """

    kind: Annotated[
        Literal["torch", "vllm", "vllm_server", "ray"],
        tyro.conf.arg(name="engine", prefix_name=False),
    ] = "torch"
    """torch: in this process. vllm: vLLM's LLM in a separate process on this machine.
    vllm_server: vLLM's HTTP server, on another GPU or machine. ray: torch in actors of a Ray
    cluster. torch reads only --engine.mismatch.* of the other flags, ray those that name it or no
    engine, the vLLM engines all the others."""
    deadline_s: float = 600.0
    """Seconds for one call of `sample`, including its weight update; a slower engine, or actor,
    counts as hung."""
    start_s: float = 600.0
    """Seconds for the engine or its actors to start, or for the server to become healthy."""
    max_restarts: int = 2
    """Restarts within one call of `sample`; one more failure ends the run with an error. Actors
    that are lost together count once."""
    actors: int = 1
    """ray: actors, each a torch engine with the whole model; a call is shared among them."""
    actor_gpus: float = 0.0
    """ray: GPUs of each actor; 0: it samples on a CPU, with `threads`."""
    ray_address: str | None = None
    """ray: address of a running cluster, such as host:6379, or auto; None: one of this process."""
    graders: int = 0
    """ray: actors, each with a CPU, that grade the answers of training and evaluation that take
    sympy; 0: workers of this process do."""
    max_staleness: int = 0
    """ray: changes of the weights that training episodes may be behind. Weights are sent only when
    those of the actors are older, and the loss corrects for the difference by importance
    weights."""
    kv_cache_gb: float | None = None
    """GiB of the KV cache; None: 1 on a CPU, on a GPU what `gpu_memory_fraction` leaves."""
    gpu_memory_fraction: float = 0.4
    """Fraction of the GPU's memory that vLLM takes; leave room for the trainer if they share it."""
    block_size: int = 32
    """Tokens in a block of the KV cache; the prefix cache shares whole blocks."""
    max_context_tokens: int | None = None
    """Longest context including its new tokens; None: what the model can read. The KV cache must
    hold at least one such sequence."""
    prefix_caching: bool = True
    """Compute prefixes that contexts share only once; every weight update clears the cache."""
    threads: int = 1
    """CPU threads of an engine that runs on the CPU."""
    devices: str | None = None
    """CUDA_VISIBLE_DEVICES of the engine's process; None: the same as this process."""
    sync_dir: str | None = None
    """Folder for the weights that the engine loads; the engine must see it under the same path.
    None: a temporary folder. A folder in memory (/dev/shm) is fastest."""
    server_url: str | None = None
    """vllm_server: address of a running server, such as http://host:8000; None starts one here."""
    mismatch: MismatchConfig = field(default_factory=MismatchConfig)

    def __post_init__(self) -> None:
        if self.kind not in ENGINES:
            raise ConfigError(f"engine must be one of {', '.join(ENGINES)}, got {self.kind!r}")
        for name in ("deadline_s", "start_s", "kv_cache_gb"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"{name} must be above 0 and finite, got {value!r}")
        lowest = {
            "max_restarts": 0, "block_size": 1, "threads": 1, "max_context_tokens": 2, "actors": 1,
            "max_staleness": 0, "graders": 0,
        }  # fmt: skip
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
        self._check_ray()

    def _check_server(self) -> None:
        if self.server_url is None:
            return
        if self.kind != "vllm_server":
            raise ConfigError(
                f"server_url must be used with engine vllm_server, got engine {self.kind!r}; "
                "use --engine vllm_server"
            )
        if not self.server_url.startswith(("http://", "https://")):
            raise ConfigError(
                f"server_url must begin with http:// or https://, got {self.server_url!r}"
            )
        address = urlsplit(self.server_url)
        if address.username or address.password or address.query or address.fragment:
            # It is written to config.json and shown in reports.
            raise ConfigError(
                "server_url must hold neither a user nor a password nor a query, got one at "
                f"{address.hostname!r}; serve on a network that needs none, or through a proxy"
            )
        if self.sync_dir is None:
            raise ConfigError(
                "sync_dir must be given with server_url, got None; name a folder that this "
                "process can write and the server can read under the same path"
            )

    def _check_ray(self) -> None:
        if not 0 <= self.actor_gpus < math.inf:
            raise ConfigError(
                f"actor_gpus must be at least 0 and finite, got {self.actor_gpus!r}; 0 samples on "
                "CPUs"
            )
        plain = {
            "actors": 1, "actor_gpus": 0.0, "ray_address": None, "max_staleness": 0, "graders": 0,
        }  # fmt: skip
        for name, default in plain.items():
            value = getattr(self, name)
            if self.kind != "ray" and value != default:
                raise ConfigError(
                    f"{name} must be {default!r} with engine {self.kind!r}, got {value!r}; use "
                    "--engine ray"
                )
        if self.ray_address is not None and "//" in self.ray_address:
            raise ConfigError(
                f"ray_address must be host:port or auto, got {self.ray_address!r}; run on a node "
                "of the cluster, not through Ray's client"
            )

    @property
    def is_vllm(self) -> bool:
        """Whether a vLLM engine samples."""
        return self.kind in {"vllm", "vllm_server"}
