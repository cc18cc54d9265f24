"""A small HTTP server that answers the engine's requests as vLLM 0.32.0's server does.

Tests control it: `Fake.fail` sets the status of a path's next answers; `Fake.drop` makes the server
forget its weights, as after a restart; samples are sent with `Fake.pause_s` seconds before each
byte, or cut off after `Fake.cut` of them.
"""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Fake:
    def __init__(self):
        self.version, self.weights, self.adapters = "default", "start", []
        self.asked, self.fail, self.resets, self.prefilled = [], {}, 0, 0
        self.reset_succeeds, self.vllm = True, "0.32.0"
        self.change = lambda answer: answer
        self.pause_s, self.cut = 0.0, []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_GET(self):
                self.reply(*fake.get(self.path))

            def do_POST(self):
                text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.reply(*fake.post(self.path, json.loads(text) if text else None))

            def reply(self, status, body):
                data = (body if isinstance(body, str) else json.dumps(body)).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if fake.cut and self.path == "/inference/v1/generate":
                    self.wfile.write(data[: fake.cut.pop()])
                    self.close_connection = True
                elif fake.pause_s and self.path == "/inference/v1/generate":
                    for at in range(len(data)):
                        time.sleep(fake.pause_s)
                        self.wfile.write(data[at : at + 1])
                else:
                    self.wfile.write(data)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,))
        self.thread.start()

    def close(self):
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()

    def drop(self):
        self.version, self.weights = "default", "start"

    def failure(self, path):
        statuses = self.fail.get(path, [])
        return (statuses.pop(0), "as the test wanted") if statuses else None

    def get(self, path):
        if failure := self.failure(path):
            return failure
        pages = {
            "/health": "",
            "/version": {"version": self.vllm},
            "/metrics": "# TYPE x histogram\n"
            "vllm:request_prefill_kv_computed_tokens_bucket"
            '{engine="0",le="1.0",model_name="policy"} 1.0\n'
            "vllm:request_prefill_kv_computed_tokens_sum"
            f'{{engine="0",model_name="policy"}} {float(self.prefilled)}\n',
        }
        return (200, pages[path]) if path in pages else (404, {"detail": "Not Found"})

    def post(self, path, body):
        self.asked.append((path, body))
        if failure := self.failure(path):
            return failure
        if path == "/collective_rpc":
            self.weights = body["kwargs"]["weights_path"]
            return 200, {"results": [None]}
        if path == "/reset_prefix_cache":
            self.resets += 1
            return 200, {"success": self.reset_succeeds}
        if path == "/update_weight_version":
            self.version = body["new_version"]
            return 200, {"success": True, "new_version": self.version}
        if path == "/v1/load_lora_adapter":
            self.adapters.append(body["lora_name"])
            return 200, "Success: LoRA adapter added"
        if path == "/v1/unload_lora_adapter":
            self.adapters.remove(body["lora_name"])
            return 200, "Success: LoRA adapter removed"
        if path == "/inference/v1/generate":
            self.prefilled += len(body["token_ids"])
            return 200, self.change(self.generated(body))
        return 404, {"detail": "Not Found"}

    def generated(self, body):
        params = body["sampling_params"]
        choices = []
        for index in reversed(range(params["n"])):
            ids = [
                3 + (params["seed"] + index + place) % 5 for place in range(params["max_tokens"])
            ]
            content = [
                {
                    "token_id": token,
                    "logprob": -token / 4,
                    "rank": 1,
                    "top_logprobs": [{"token_id": token, "logprob": -token / 4, "rank": 1}],
                }
                for token in ids
            ]
            choices.append(
                {
                    "index": index,
                    "finish_reason": "length",
                    "stop_reason": None,
                    "token_ids": ids,
                    "weight_versions": [{"version": self.version, "start": 0, "end": len(ids)}],
                    "logprobs": {"content": content},
                }
            )
        return {"request_id": "generate-tokens-1", "model": body["model"], "choices": choices}
