"""vLLM's LLM on this machine, in a process that can be waited for, killed and started again."""

import socket
import sys
import time
from collections.abc import Sequence
from typing import Any

from reason_env.agents.engines.config import EngineConfig
from reason_env.agents.engines.vllm.channel import Channel
from reason_env.agents.engines.vllm.process import EngineProcess
from reason_env.agents.engines.vllm.requests import Answer, Choice, EngineFailure, SampleRequest
from reason_env.agents.engines.vllm.settings import ModelFacts, environment, llm_arguments
from reason_env.agents.engines.vllm.weights import Weights
from reason_env.errors import EngineError

HOST_COMMAND = (sys.executable, "-m", "reason_env.agents.engines.vllm.host")


class LocalBackend:
    """The trainer's end of `host.py`."""

    def __init__(
        self,
        config: EngineConfig,
        facts: ModelFacts,
        *,
        command: Sequence[str] = HOST_COMMAND,
    ) -> None:
        """Starts nothing yet.

        Args:
            config: Memory, threads and times.
            facts: Of the model.
            command: What is run, with the number of its socket as last argument.
        """
        self.config, self.facts, self.command = config, facts, tuple(command)
        self.engine_pid: int | None = None
        """Process that runs vLLM, once it has started."""
        self._process: EngineProcess | None = None
        self._channel: Channel | None = None

    @property
    def group(self) -> int | None:
        """Session of the engine's processes; None where none runs."""
        return None if self._process is None else self._process.group

    def start(self, weights: Weights) -> None:
        """Starts the engine with these weights.

        Raises:
            EngineFailure: It died or did not start in time.
            EngineError: vLLM refuses the model or the arguments.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = EngineProcess(
                [*self.command, str(theirs.fileno())],
                environment=environment(self.config, is_cpu=self.facts.is_cpu, is_server=False),
                descriptor=theirs.fileno(),
            )
        self._channel = Channel(ours)
        reply = self._ask(
            {
                "op": "start",
                "arguments": llm_arguments(self.config, self.facts, weights),
                "version": weights.version,
            },
            deadline=time.monotonic() + self.config.start_s,
        )
        self.engine_pid = int(reply["pid"])

    def load(self, weights: Weights, *, invalidate: bool, deadline: float) -> None:
        """Renews the weights, and empties the prefix cache unless told not to (a test)."""
        self._ask(
            {
                "op": "load",
                "directory": str(weights.directory),
                "version": weights.version,
                "invalidate": invalidate,
            },
            deadline=deadline,
        )

    def generate(
        self, requests: Sequence[SampleRequest], weights: Weights, *, deadline: float
    ) -> Answer:
        """Returns what was sampled for the requests."""
        reply = self._ask(
            {
                "op": "generate",
                "requests": [request.to_json() for request in requests],
                "adapter": adapter_json(weights),
            },
            deadline=deadline,
        )
        return _answer(reply)

    def stop(self) -> None:
        """Ends the engine; returns when every process of it has ended or been killed."""
        if self._process is None:
            return
        self._close_channel()
        self._process.stop()
        self._process = None

    def kill(self) -> None:
        """Ends the engine without asking it."""
        if self._process is None:
            return
        self._close_channel()
        self._process.kill()
        self._process = None

    def _close_channel(self) -> None:
        if self._channel is not None:
            self._channel.close()
        self._channel, self.engine_pid = None, None

    def _ask(self, message: dict[str, Any], *, deadline: float) -> dict[str, Any]:
        assert self._channel is not None, "started first"
        assert self._process is not None, "started first"
        operation = message["op"]
        try:
            self._channel.send(message, deadline=deadline)
            reply = self._channel.receive(deadline=deadline)
        except TimeoutError as error:
            raise EngineFailure(f"it gave no answer to {operation!r} in time") from error
        except (OSError, ValueError) as error:
            raise EngineFailure(
                f"it died at {operation!r} ({error}); its last words: {self._process.log_tail()}"
            ) from error
        if "error" not in reply:
            return reply
        if operation == "start":
            # The same arguments would be refused again.
            raise EngineError(
                f"vLLM must start with this model and these settings, got {reply['error']}; "
                "see docs/vllm.md for memory and versions"
            )
        raise EngineFailure(f"it answered {operation!r} with {reply['error']}")


def adapter_json(weights: Weights) -> dict[str, Any] | None:
    """Returns how the adapter is named in a request.

    The name is another for each content: it is part of the keys of the prefix cache, so what an
    old adapter computed is never found again.
    """
    if weights.adapter is None:
        return None
    return {
        "name": f"{weights.version}-adapter-{weights.adapter_number}",
        "number": weights.adapter_number,
        "path": str(weights.adapter),
    }


def _answer(reply: dict[str, Any]) -> Answer:
    try:
        return Answer(
            choices=tuple(
                tuple(
                    Choice(
                        token_ids=tuple(item["token_ids"]),
                        log_probs=tuple(item["log_probs"]),
                        finish_reason=item["finish_reason"],
                        versions=tuple(item["versions"]),
                    )
                    for item in choices
                )
                for choices in reply["choices"]
            ),
            num_prefill_tokens=reply["num_prefill_tokens"],
        )
    except (KeyError, TypeError) as error:
        raise EngineFailure(f"its answer cannot be read ({error!r})") from error
