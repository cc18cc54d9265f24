"""The engine's process: serves vLLM's `LLM` over one socket. `local.py` runs it with `python -m`.

Only this process imports vLLM, so that vLLM's changes to a process (threads bound to cores, a
replaced `torch.set_num_threads`, environment variables) do not reach the trainer. A separate
process also lets the trainer wait with a deadline: when vLLM's engine core is killed,
`LLM.generate` never returns (seen with 0.32.0).
"""

import importlib
import os
import socket
import sys
from collections.abc import Mapping
from typing import Any

from reason_env.agents.engines.vllm.channel import Channel

_COMPUTED = "vllm:request_prefill_kv_computed_tokens"


class Host:
    """Answers the trainer's messages, one at a time."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.llm: Any = None

    def serve(self) -> None:
        """Answer messages until the trainer sends "stop" or closes the socket."""
        while True:
            try:
                message = self.channel.receive()
            except ConnectionError:
                return
            operation = message.pop("op")
            if operation == "stop":
                return
            self.channel.send(self._answer(operation, message))

    def _answer(self, operation: str, message: dict[str, Any]) -> dict[str, Any]:
        handlers = {"start": self.start, "load": self.load, "generate": self.generate}
        try:
            return handlers[operation](**message)
        # A process boundary: the trainer receives any error of vLLM and decides what to do.
        except Exception as error:  # noqa: BLE001
            return {"error": f"{type(error).__name__}: {error}"[:2_000]}

    def start(self, arguments: dict[str, Any], version: str) -> dict[str, Any]:
        """Build the LLM and set the version of its weights."""
        vllm = _module("vllm")
        self.llm = vllm.LLM(**arguments)
        self.llm.update_weight_version(version)
        return {"pid": os.getpid(), "vllm": vllm.__version__}

    def load(self, directory: str, version: str) -> dict[str, Any]:
        """Load weights in place and clear the prefix cache."""
        self.llm.collective_rpc("reload_weights", kwargs={"weights_path": directory})
        if not self.llm.reset_prefix_cache():
            return {"error": "vLLM did not clear the prefix cache after loading new weights"}
        self.llm.update_weight_version(version)
        return {}

    def generate(
        self, requests: list[dict[str, Any]], adapter: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Sample; return the choices of each request and the number of prefilled tokens."""
        lora = None
        if adapter is not None:
            kind = _module("vllm.lora.request").LoRARequest
            lora = kind(adapter["name"], adapter["number"], adapter["path"])
        params = _module("vllm").SamplingParams
        before = self._num_prefilled()
        outputs = self.llm.generate(
            [{"prompt_token_ids": request["token_ids"]} for request in requests],
            [params(**request["sampling_params"]) for request in requests],
            use_tqdm=False,
            lora_request=lora,
        )
        return {
            "choices": [[_choice(item) for item in output.outputs] for output in outputs],
            "num_prefill_tokens": int(self._num_prefilled() - before),
        }

    def _num_prefilled(self) -> float:
        found = [metric for metric in self.llm.get_metrics() if metric.name == _COMPUTED]
        return sum(metric.sum for metric in found)


def _module(name: str) -> Any:
    """Import a module of vLLM by name, since type checkers run without vLLM."""
    return importlib.import_module(name)


def _choice(output: Any) -> Mapping[str, Any]:
    token_ids = list(output.token_ids)
    return {
        "token_ids": token_ids,
        "log_probs": [
            at[token].logprob for token, at in zip(token_ids, output.logprobs, strict=True)
        ],
        "finish_reason": output.finish_reason,
        "versions": [span.version for span in output.weight_versions or ()],
    }


def main() -> None:
    """Serve the socket whose file descriptor is the only argument."""
    with socket.socket(fileno=int(sys.argv[1])) as sock:
        Host(Channel(sock)).serve()


if __name__ == "__main__":
    main()
