"""LocalBackend: runs vLLM's `LLM` in a process on this machine that can be killed and restarted."""

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
    """The trainer's side of `host.py`."""

    def __init__(
        self,
        config: EngineConfig,
        facts: ModelFacts,
        *,
        command: Sequence[str] = HOST_COMMAND,
    ) -> None:
        """Store the settings; `start` runs the process.

        Args:
            config: Memory, threads and time limits.
            facts: Facts about the model.
            command: The program to run; the number of its socket is added as the last argument.
        """
        self.config, self.facts, self.command = config, facts, tuple(command)
        self.engine_pid: int | None = None
        """Id of the process that runs vLLM; None before it has started."""
        self._process: EngineProcess | None = None
        self._channel: Channel | None = None

    @property
    def group(self) -> int | None:
        """Session of the engine's processes; None if none runs."""
        return None if self._process is None else self._process.group

    def start(self, weights: Weights) -> None:
        """Start the engine with these weights.

        Raises:
            EngineFailure: The engine died or did not start in time.
            EngineError: vLLM rejects the model or the arguments.
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

    def load(self, weights: Weights, *, deadline: float) -> None:
        """Load new weights and clear the prefix cache."""
        self._ask(
            {"op": "load", "directory": str(weights.directory), "version": weights.version},
            deadline=deadline,
        )

    def generate(
        self, requests: Sequence[SampleRequest], weights: Weights, *, deadline: float
    ) -> Answer:
        """Sample completions for the requests."""
        reply = self._ask(
            {
                "op": "generate",
                "requests": [request.to_json() for request in requests],
                "adapter": weights.adapter_json(),
            },
            deadline=deadline,
        )
        return _answer(reply)

    def stop(self) -> None:
        """Stop the engine; return when all of its processes have ended."""
        if self._process is None:
            return
        self._close_channel()
        self._process.stop()
        self._process = None

    def kill(self) -> None:
        """Kill the engine at once."""
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
            raise EngineFailure(f"no answer to {operation!r} before the deadline") from error
        except (OSError, ValueError) as error:
            raise EngineFailure(
                f"the engine died during {operation!r} ({error}); end of its log: "
                f"{self._process.log_tail()}"
            ) from error
        if "error" not in reply:
            return reply
        if operation == "start":
            # vLLM would reject the same arguments again.
            raise EngineError(
                f"vLLM must start with this model and these settings, got {reply['error']}; "
                "see docs/vllm.md for memory and versions"
            )
        raise EngineFailure(f"the engine answered {operation!r} with {reply['error']}")


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
        raise EngineFailure(f"cannot read the engine's answer ({error!r})") from error
