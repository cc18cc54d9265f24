"""The engine's own process: vLLM's `LLM`, served over one socket. Run by `vllm_local.py`.

vLLM is imported here and nowhere else, so what it does to a process (threads bound to cores,
`torch.set_num_threads` replaced, environment variables) stays out of the trainer. And the trainer
can wait with a deadline: where vLLM's engine is killed below `LLM.generate`, that call never comes
back (seen with 0.32.0).
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
    """Answers the trainer's messages, one after another."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.llm: Any = None

    def serve(self) -> None:
        """Answers until the trainer says stop, or is gone."""
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
        # The boundary of a process: whatever vLLM raises is told to the trainer, which decides.
        except Exception as error:  # noqa: BLE001
            return {"error": f"{type(error).__name__}: {error}"[:2_000]}

    def start(self, arguments: dict[str, Any], version: str) -> dict[str, Any]:
        """Makes the LLM; its weights get this version."""
        vllm = _module("vllm")
        self.llm = vllm.LLM(**arguments)
        self.llm.update_weight_version(version)
        return {"pid": os.getpid(), "vllm": vllm.__version__}

    def load(self, directory: str, version: str, invalidate: bool) -> dict[str, Any]:
        """Loads the weights of a directory in place; empties the prefix cache with them."""
        self.llm.collective_rpc("reload_weights", kwargs={"weights_path": directory})
        if invalidate and not self.llm.reset_prefix_cache():
            return {"error": "the prefix cache must be emptied with new weights, and was not"}
        self.llm.update_weight_version(version)
        return {}

    def generate(
        self, requests: list[dict[str, Any]], adapter: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Samples; returns the choices of each request, and how many tokens were prefilled."""
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
    """Returns a module of vLLM, which is in no other environment than the engine's."""
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
    """Serves the socket whose file descriptor is the only argument."""
    with socket.socket(fileno=int(sys.argv[1])) as sock:
        Host(Channel(sock)).serve()


if __name__ == "__main__":
    main()
