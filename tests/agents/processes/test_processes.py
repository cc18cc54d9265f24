import pytest
import torch
import torch.distributed as dist

from reason_env.agents.processes import (
    ALONE,
    Processes,
    joined_processes,
    shared_state,
    take_device,
    watched,
    whole_state,
    within,
)
from reason_env.errors import ConfigError, ProcessError, TrainingError


@pytest.mark.parametrize("number", [1, 2, 3, 5])
@pytest.mark.parametrize("num_parts", [0, 1, 2, 6, 7])
def test_the_shares_hold_every_part_once_and_none_is_two_smaller_than_another(number, num_parts):
    parts = list(range(num_parts))
    shares = [Processes(rank, number).share(parts) for rank in range(number)]
    assert sorted(part for share in shares for part in share) == parts
    lacking = [Processes(rank, number).lacks_one(num_parts) for rank in range(number)]
    sizes = [len(share) + lacks for share, lacks in zip(shares, lacking, strict=True)]
    assert len(set(sizes)) == 1


def test_a_process_alone_tells_nobody_and_gets_its_own_values():
    ALONE.lead("update", 1)
    assert ALONE.gathered("own") == ["own"]
    assert ALONE.joined([3, 1, 2], 3) == [3, 1, 2]
    values = torch.tensor([1.5])
    ALONE.sum_(values)
    assert values.item() == 1.5
    with joined_processes() as processes:
        assert processes is ALONE
    assert not dist.is_initialized()


def test_results_are_joined_in_the_order_of_the_work(monkeypatch):
    shares = [["a", "d", "g"], ["b", "e"], ["c", "f"]]

    def gather(found, value):
        assert value == ["b", "e"]
        found[:] = shares

    monkeypatch.setattr(dist, "all_gather_object", gather)
    assert Processes(1, 3).joined(["b", "e"], 7) == list("abcdefg")


def test_a_device_is_taken_by_number(monkeypatch):
    take_device("cpu")
    with pytest.raises(
        ConfigError, match=r"device must be cpu or cuda with several .*'cuda:1'; each"
    ):
        take_device("cuda:1")
    monkeypatch.setenv("LOCAL_RANK", "2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(
        ConfigError, match="at most the number of GPUs here, got 2 GPUs and process 2"
    ):
        take_device("cuda")
    taken = []
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    take_device("cuda")
    assert taken == [1]


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[/gloo/transport/tcp/pair.cc:538] Connection closed by peer [127.0.0.1]:1"),
        dist.DistNetworkError("failed to recv, got 0 bytes"),
        dist.DistBackendError("NCCL communicator was aborted"),
    ],
)
def test_the_end_of_another_process_is_one_line(error):
    message = "all processes of a run must live as long as the run"
    with pytest.raises(ProcessError, match=message), watched():
        raise error


@pytest.mark.parametrize("error", [RuntimeError("shape"), TrainingError("gloo"), ProcessError("x")])
def test_other_errors_stay_what_they_are(error):
    with pytest.raises(type(error)) as caught, watched():
        raise error
    assert caught.value is error


def test_nothing_is_gathered_in_a_model_that_is_whole():
    assert within(torch.nn.Linear(2, 2), lambda a, b: a - b, 5, 3) == 2
    state = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.ones(2)}}, "groups": [{}]}
    same = whole_state(state)
    assert same["state"][0]["exp_avg"] is state["state"][0]["exp_avg"]
    parameter = torch.nn.Parameter(torch.zeros(2))
    own = shared_state(state, [parameter])
    assert own["state"][0]["exp_avg"] is state["state"][0]["exp_avg"]
    assert own["groups"] == [{}]
