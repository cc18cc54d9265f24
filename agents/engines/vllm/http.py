"""An HTTP client for vLLM's server, and parsers for its answers. Standard library only."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException, HTTPResponse, IncompleteRead
from typing import Any

from reason_env.agents.engines.vllm.requests import Choice, EngineFailure
from reason_env.errors import EngineError

COMPUTED = "vllm:request_prefill_kv_computed_tokens_sum"
"""Counter in `/metrics` of context tokens run through the model."""
HEALTH_S = 5.0
# Ignore proxy variables in the environment: requests go straight to the server.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class HttpClient:
    """Talks to one server; turns errors of the network or the server into `EngineFailure`."""

    def __init__(self, url: str) -> None:
        """Take the server's address, such as http://host:8000."""
        self.url = url.rstrip("/")

    def is_healthy(self) -> bool:
        """Return whether the server and its engine respond."""
        try:
            self._request("/health", None, method="GET", timeout=HEALTH_S)
        except EngineFailure:
            return False
        return True

    def get_text(self, path: str, *, deadline: float) -> str:
        """GET a path; return the text."""
        return self._request(path, None, method="GET", timeout=_remaining_s(deadline))

    def get_json(self, path: str, *, deadline: float) -> dict[str, Any]:
        """GET a path; return the JSON object."""
        return _object(self.get_text(path, deadline=deadline))

    def post(self, path: str, body: Mapping[str, Any] | None, *, deadline: float) -> dict[str, Any]:
        """POST a JSON object; return the answer's JSON object, or `{}` for any other answer.

        Raises:
            EngineFailure: No answer came before the deadline, or the server failed.
            EngineError: The server rejects the path or the request (status 4xx).
        """
        text = self._request(path, body, method="POST", timeout=_remaining_s(deadline))
        return _object(text) if text.startswith("{") else {}

    def _request(
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
            ends = time.monotonic() + timeout
            with _OPENER.open(request, timeout=timeout) as response:
                return _read(response, ends).decode()
        except urllib.error.HTTPError as error:
            with error:
                text = error.read().decode(errors="replace")
            if 400 <= error.code < 500:
                raise _rejection(path, error.code, text) from error
            raise EngineFailure(f"{path} returned status {error.code}: {text[:500]}") from error
        except (OSError, HTTPException) as error:
            raise EngineFailure(f"no answer from {path} ({error!r})") from error


def _read(response: HTTPResponse, ends: float) -> bytes:
    """Read a body until `ends`: the timeout of a socket begins again with every byte.

    Raises:
        TimeoutError: The body is not complete then.
        IncompleteRead: The server ended before its body did.
    """
    parts: list[bytes] = []
    # `read1` returns with what is there, so that the time is looked at.
    while part := response.read1(2**20):
        parts.append(part)
        if time.monotonic() > ends:
            raise TimeoutError("the answer did not end before the deadline")
    if response.length:
        raise IncompleteRead(b"".join(parts), response.length)
    return b"".join(parts)


def read_choices(answer: Mapping[str, Any]) -> tuple[Choice, ...]:
    """Parse an answer of `/inference/v1/generate`; return its completions in order of `index`.

    Raises:
        EngineFailure: The answer has another form.
    """
    try:
        choices = sorted(answer["choices"], key=lambda choice: int(choice["index"]))
        return tuple(_choice(choice) for choice in choices)
    except (KeyError, TypeError, ValueError) as error:
        raise EngineFailure(f"cannot read the server's answer ({error!r})") from error


def num_prefilled(metrics: str) -> int:
    r"""Parse `/metrics`; return the context tokens that the server has run since it started.

    >>> num_prefilled('# HELP x\n' + COMPUTED + '{engine="0"} 40.0\n' + COMPUTED + '{e="1"} 2.0')
    42

    Raises:
        EngineFailure: The counter is missing.
    """
    lines = [line for line in metrics.splitlines() if line.startswith(COMPUTED)]
    if not lines:
        raise EngineFailure(f"/metrics has no counter {COMPUTED}")
    return int(sum(float(line.rsplit(" ", 1)[1]) for line in lines))


def _choice(choice: Mapping[str, Any]) -> Choice:
    token_ids = tuple(int(token) for token in choice["token_ids"])
    content = choice["logprobs"]["content"]
    scored = tuple(int(item["token_id"]) for item in content)
    if scored != token_ids:
        raise ValueError("the log-probabilities belong to other tokens than the sampled ones")
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
        raise EngineFailure(f"the answer is not JSON: {text[:200]!r}") from error
    if not isinstance(value, dict):
        raise EngineFailure(f"the answer is not a JSON object: {text[:200]!r}")
    return value


def _remaining_s(deadline: float) -> float:
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise EngineFailure("no answer before the deadline")
    return remaining


def _rejection(path: str, status: int, text: str) -> EngineError:
    """Build the error for a request that the server rejects; repeating it would not help."""
    hint = "start it with VLLM_SERVER_DEV_MODE=1" if status == 404 else "see the server's log"
    return EngineError(f"the server must accept {path}, got status {status} ({text[:300]}); {hint}")
