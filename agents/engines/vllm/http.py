"""A small HTTP client for vLLM's server, and the reading of its answers. Standard library only."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any

from reason_env.agents.engines.vllm.requests import Choice, EngineFailure
from reason_env.errors import EngineError

COMPUTED = "vllm:request_prefill_kv_computed_tokens_sum"
"""Counter of the context tokens that were run, in `/metrics`."""
HEALTH_S = 5.0
# Proxies of the environment are for other hosts than an engine's.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class HttpClient:
    """Asks one server; what the network or the server does wrong becomes an `EngineFailure`."""

    def __init__(self, url: str) -> None:
        """Takes the server's address, as http://host:8000."""
        self.url = url.rstrip("/")

    def is_healthy(self) -> bool:
        """Returns whether the server and its engine answer."""
        try:
            self._text("/health", None, method="GET", timeout=HEALTH_S)
        except EngineFailure:
            return False
        return True

    def get_text(self, path: str, *, deadline: float) -> str:
        """Returns a page."""
        return self._text(path, None, method="GET", timeout=_left(deadline))

    def get_json(self, path: str, *, deadline: float) -> dict[str, Any]:
        """Returns a JSON object."""
        return _object(self.get_text(path, deadline=deadline))

    def post(self, path: str, body: Mapping[str, Any] | None, *, deadline: float) -> dict[str, Any]:
        """Sends a JSON object; returns the answer's, `{}` of an answer that is none.

        Raises:
            EngineFailure: No answer came before the deadline, or the server failed.
            EngineError: The server does not know the path, or refuses the request as wrong.
        """
        text = self._text(path, body, method="POST", timeout=_left(deadline))
        return _object(text) if text.startswith("{") else {}

    def _text(
        self, path: str, body: Mapping[str, Any] | None, *, method: str, timeout: float
    ) -> str:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path,
            data=data,
            headers={"Content-Type": "application/json"},
            method=method,
        )
        try:
            with _OPENER.open(request, timeout=timeout) as response:
                return response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                text = error.read().decode(errors="replace")
            if 400 <= error.code < 500:
                raise _refused(path, error.code, text) from error
            raise EngineFailure(f"{path} gave status {error.code}: {text[:500]}") from error
        except (OSError, HTTPException) as error:
            raise EngineFailure(f"{path} gave no answer ({error!r})") from error


def read_choices(answer: Mapping[str, Any]) -> tuple[Choice, ...]:
    """Returns the completions of one answer of `/inference/v1/generate`, in order of `index`.

    Raises:
        EngineFailure: The answer is not of that form.
    """
    try:
        choices = sorted(answer["choices"], key=lambda choice: int(choice["index"]))
        return tuple(_choice(choice) for choice in choices)
    except (KeyError, TypeError, ValueError) as error:
        raise EngineFailure(f"its answer cannot be read ({error!r})") from error


def num_prefilled(metrics: str) -> int:
    r"""Returns the context tokens that the server has run since it started, from `/metrics`.

    >>> num_prefilled('# HELP x\n' + COMPUTED + '{engine="0"} 40.0\n' + COMPUTED + '{e="1"} 2.0')
    42

    Raises:
        EngineFailure: The counter is not there.
    """
    lines = [line for line in metrics.splitlines() if line.startswith(COMPUTED)]
    if not lines:
        raise EngineFailure(f"its /metrics must hold {COMPUTED}")
    return int(sum(float(line.rsplit(" ", 1)[1]) for line in lines))


def _choice(choice: Mapping[str, Any]) -> Choice:
    token_ids = tuple(int(token) for token in choice["token_ids"])
    content = choice["logprobs"]["content"]
    said = tuple(int(item["token_id"]) for item in content)
    if said != token_ids:
        raise ValueError("log-probabilities of other tokens than those sampled")
    return Choice(
        token_ids=token_ids,
        log_probs=tuple(float(item["logprob"]) for item in content),
        finish_reason=choice["finish_reason"],
        versions=tuple(str(span["version"]) for span in choice["weight_versions"]),
    )


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise EngineFailure(f"its answer is no JSON: {text[:200]!r}") from error
    if not isinstance(value, dict):
        raise EngineFailure(f"its answer is no JSON object: {text[:200]!r}")
    return value


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise EngineFailure("it gave no answer in time")
    return left


def _refused(path: str, status: int, text: str) -> EngineError:
    """Returns the error for a request that the server will never take."""
    hint = "start it with VLLM_SERVER_DEV_MODE=1" if status == 404 else "see the server's log"
    return EngineError(f"the server must take {path}, got status {status} ({text[:300]}); {hint}")
