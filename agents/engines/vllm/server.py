"""vLLM's HTTP server: started here on a free port, or one that runs elsewhere.

Token ids go in and out by `/inference/v1/generate`. Weights are renewed by vLLM's own
`reload_weights` (through `/collective_rpc`), then the prefix cache is emptied
(`/reset_prefix_cache`) and the weights' version is set (`/update_weight_version`); these three are
there only if the server was started with VLLM_SERVER_DEV_MODE=1. A server must serve this run
alone: its weights change.

A server that someone else runs cannot be restarted from here. When it fails, it is waited for
(`start_s`), given the weights, and asked again. One that was restarted between two waves is found
out by the version on its completions.
"""

import logging
import socket
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from reason_env.agents.engines.config import EngineConfig
from reason_env.agents.engines.vllm.http import HttpClient, num_prefilled, read_choices
from reason_env.agents.engines.vllm.local import adapter_json
from reason_env.agents.engines.vllm.process import EngineProcess
from reason_env.agents.engines.vllm.requests import Answer, Choice, EngineFailure, SampleRequest
from reason_env.agents.engines.vllm.settings import (
    MODEL_NAME,
    SERVER_ONLY,
    ModelFacts,
    environment,
    llm_arguments,
    server_flags,
)
from reason_env.agents.engines.vllm.version import checked_version
from reason_env.agents.engines.vllm.weights import Weights

_log = logging.getLogger(__name__)
SERVER_COMMAND = (sys.executable, "-m", "vllm.entrypoints.openai.api_server")
"""The server itself: `vllm serve` of the CPU build 0.32.0 fails, because it asks for the version
of a distribution named `vllm`, which that build is not."""
MAX_CONNECTIONS = 64
POLL_S = 0.5


class ServerBackend:
    """One server, whoever runs it."""

    def __init__(
        self,
        config: EngineConfig,
        facts: ModelFacts,
        *,
        command: Sequence[str] = SERVER_COMMAND,
    ) -> None:
        """Starts and asks nothing yet.

        Args:
            config: `server_url` says which server; None starts one on 127.0.0.1.
            facts: Of the model.
            command: What is run where there is no `server_url`, followed by flags.
        """
        self.config, self.facts, self.command = config, facts, tuple(command)
        self._process: EngineProcess | None = None
        self._client: HttpClient | None = None
        self._loaded_adapter = ""

    @property
    def group(self) -> int | None:
        """Session of the server's processes; None where it is not ours, or none runs."""
        return None if self._process is None else self._process.group

    def start(self, weights: Weights) -> None:
        """Starts the server, or waits for the one that is named; then gives it the weights.

        Raises:
            EngineFailure: It died or was not there in time.
            EngineError: Its version is not known here.
        """
        arguments = llm_arguments(self.config, self.facts, weights)
        url = self.config.server_url
        if url is None:
            port = _free_port()
            flags = server_flags(arguments, host="127.0.0.1", port=port)
            self._process = EngineProcess(
                [*self.command, *flags, *SERVER_ONLY],
                environment=environment(self.config, is_cpu=self.facts.is_cpu, is_server=True),
            )
            url = f"http://127.0.0.1:{port}"
        else:
            flags = server_flags(arguments, host="HOST", port=8000)
            # A warning, because without it nobody knows what the trainer waits for.
            _log.warning(
                "waiting for %s; it is started with: VLLM_SERVER_DEV_MODE=1 vllm serve %s",
                url,
                " ".join([str(weights.directory), *flags[6:], *SERVER_ONLY]),
            )
        self._client, self._loaded_adapter = HttpClient(url), ""
        deadline = time.monotonic() + self.config.start_s
        self._wait_until_healthy(deadline)
        checked_version(str(self._client.get_json("/version", deadline=deadline)["version"]))
        self.load(weights, invalidate=True, deadline=deadline)

    def load(self, weights: Weights, *, invalidate: bool, deadline: float) -> None:
        """Renews the weights, and empties the prefix cache unless told not to (a test)."""
        client = self._running()
        reload = {"method": "reload_weights", "kwargs": {"weights_path": str(weights.directory)}}
        client.post("/collective_rpc", reload, deadline=deadline)
        if invalidate:
            reply = client.post("/reset_prefix_cache", None, deadline=deadline)
            if reply.get("success") is not True:
                raise EngineFailure(f"its prefix cache was not emptied ({reply})")
        version = {"new_version": weights.version}
        client.post("/update_weight_version", version, deadline=deadline)

    def generate(
        self, requests: Sequence[SampleRequest], weights: Weights, *, deadline: float
    ) -> Answer:
        """Returns what was sampled for the requests, which are sent at once."""
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
        """Ends a server of ours; leaves another one alone."""
        if self._process is not None:
            self._process.stop()
        self._process = self._client = None

    def kill(self) -> None:
        """Ends a server of ours without asking it."""
        if self._process is not None:
            self._process.kill()
        self._process = self._client = None

    def _running(self) -> HttpClient:
        assert self._client is not None, "started first"
        if self._process is not None and not self._process.is_alive:
            raise EngineFailure(f"its process ended; its last words: {self._process.log_tail()}")
        return self._client

    def _served_name(self, weights: Weights, deadline: float) -> str:
        """Returns the name to ask for, after loading the adapter where it is another one."""
        adapter = adapter_json(weights)
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
