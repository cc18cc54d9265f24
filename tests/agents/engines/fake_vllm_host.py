"""A stand-in for `vllm/host.py` without vLLM: same messages; samples depend only on the seed.

Arguments: a folder, then the socket's number. Files in the folder control it: `die` and `hang` act
on the next `generate` (the file is removed first); `refuse` makes every start fail; `stale` keeps
the version of the first weights. It appends each message to `asked`.
"""

import importlib.util
import json
import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path

import_path = Path(__file__).parents[3] / "agents" / "engines" / "vllm" / "channel.py"
spec = importlib.util.spec_from_file_location("vllm_channel", import_path)
vllm_channel = importlib.util.module_from_spec(spec)
spec.loader.exec_module(vllm_channel)


def choices_of(request, version):
    params = request["sampling_params"]
    found = []
    for index in range(params["n"]):
        rng = random.Random(params["seed"] + index)
        ids = [rng.randrange(3, 8) for _ in range(params["max_tokens"])]
        found.append(
            {
                "token_ids": ids,
                "log_probs": [-0.5 - token / 8 for token in ids],
                "finish_reason": "length",
                "versions": [version],
            }
        )
    return found


def main():
    folder = Path(sys.argv[1])
    channel = vllm_channel.Channel(socket.socket(fileno=int(sys.argv[2])))
    # A child that outlives a killed host; the guard must kill it.
    subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
    version = ""
    while True:
        message = channel.receive()
        operation = message["op"]
        with (folder / "asked").open("a") as file:
            file.write(json.dumps(message) + "\n")
        if operation == "stop":
            return
        if operation == "start" and (folder / "refuse").exists():
            channel.send({"error": "ValueError: no such model"})
            continue
        if operation == "generate" and (folder / "die").exists():
            (folder / "die").unlink()
            os.write(1, b"out of memory, I believe\n")
            os.kill(os.getpid(), 9)
        if operation == "generate" and (folder / "hang").exists():
            (folder / "hang").unlink()
            time.sleep(600)
        if operation == "generate":
            chosen = [choices_of(request, version) for request in message["requests"]]
            channel.send({"choices": chosen, "num_prefill_tokens": 7})
            continue
        if not ((folder / "stale").exists() and version):
            version = message["version"]
        channel.send({"pid": os.getpid()} if operation == "start" else {})


if __name__ == "__main__":
    main()
