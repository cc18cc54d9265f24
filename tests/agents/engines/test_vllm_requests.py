import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reason_env.agents.engines import Context, SamplingConfig
from reason_env.agents.engines.vllm.requests import (
    Answer,
    Choice,
    EngineFailure,
    read_completions,
    request_seed,
    sample_requests,
)
from reason_env.errors import ConfigError

CONTEXTS = [
    Context(token_ids=(5, 6, 7), num_samples=2, max_new_tokens=4),
    Context(token_ids=(8,), num_samples=1, max_new_tokens=2),
]
SAMPLING = SamplingConfig(temperature=0.7, top_p=0.9, top_k=3)


def requests(*, stop_ids=(2, 9), seed=11):
    return sample_requests(CONTEXTS, SAMPLING, seed=seed, stop_ids=stop_ids)


def choice(*token_ids, finish="stop"):
    numbers = tuple(-0.25 * (place + 1) for place in range(len(token_ids)))
    return Choice(token_ids=token_ids, log_probs=numbers, finish_reason=finish, versions=("1-a",))


GOOD = (
    (choice(3, 4, 2), choice(3, 3, 3, 4, finish="length")),
    (choice(3, 9),),
)


def read(choices):
    answer = Answer(choices=choices, num_prefill_tokens=0)
    return read_completions(answer, requests(), vocab_size=10, version="1-a")


def test_a_request_of_a_part_of_a_call_has_the_seed_of_the_whole():
    part = [replace(CONTEXTS[1], stream=1)]
    (request,) = sample_requests(part, SAMPLING, seed=11, stop_ids=())
    assert (request.context, request.params["seed"]) == (0, request_seed(11, 1))


def test_a_request_carries_ids_and_every_number_of_the_sampling():
    first, second = (item.to_json() for item in requests())
    assert first == {
        "token_ids": [5, 6, 7],
        "sampling_params": {
            "n": 2,
            "max_tokens": 4,
            "seed": request_seed(11, 0),
            "temperature": 0.7,
            "top_p": 0.9,
            "top_k": 3,
            "logprobs": 0,
            "ignore_eos": True,
            "stop_token_ids": [2, 9],
            "detokenize": False,
        },
    }
    assert second["token_ids"] == [8]
    assert [second["sampling_params"][name] for name in ("n", "max_tokens")] == [1, 2]


@given(st.integers(-(2**70), 2**70), st.integers(0, 5000), st.integers(0, 5000))
def test_seeds_fit_vllm_and_no_two_requests_share_a_samples_seed(seed, a, b):
    assert 0 <= request_seed(seed, a) < 2**62
    if a != b:
        assert abs(request_seed(seed, a) - request_seed(seed, b)) > 4096


def test_equal_seeds_give_equal_requests_and_other_seeds_give_others():
    assert requests(seed=4) == requests(seed=4)
    assert requests(seed=4)[0].params["seed"] != requests(seed=5)[0].params["seed"]


def test_a_temperature_that_vllm_refuses_is_refused_before_anything_runs():
    with pytest.raises(ConfigError, match=r"at most 2 with vLLM, got 2\.5; .*--engine torch"):
        sample_requests(CONTEXTS, SamplingConfig(temperature=2.5), seed=1, stop_ids=(2,))
    assert sample_requests(CONTEXTS, SamplingConfig(temperature=2.0), seed=1, stop_ids=(2,))


def test_completions_keep_the_stop_token_and_say_what_ended_them():
    first, second = read(GOOD)
    assert [item.token_ids for item in first] == [(3, 4, 2), (3, 3, 3, 4)]
    assert [item.is_finished for item in first] == [True, False]
    assert first[0].log_probs == (-0.25, -0.5, -0.75)
    assert second[0].token_ids == (3, 9)
    assert second[0].is_finished


def test_a_stop_token_at_the_limit_counts_as_finished_whatever_vllm_calls_it():
    last = choice(3, 9, finish="length")
    assert read((GOOD[0], (last,)))[1][0].is_finished


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (replace(choice(3, 9), versions=("0-b",)), "from weights"),
        (replace(choice(3, 9), versions=("1-a", "0-b")), "from weights"),
        (replace(choice(3, 9), versions=()), "from weights"),
        (choice(3, 9, finish="abort"), "finish reason 'abort'"),
        (choice(), "has 0 ids"),
        (choice(3, 3, 9), "has 3 ids"),
        (replace(choice(3, 9), log_probs=(-0.1,)), "1 log-probabilities"),
        (choice(10, 9), "outside 0..9"),
        (choice(-1, 9), "outside 0..9"),
        (replace(choice(3, 9), log_probs=(-0.1, math.nan)), "not finite"),
        (replace(choice(3, 9), log_probs=(-math.inf, -0.1)), "not finite"),
        (replace(choice(3, 9), log_probs=(-0.1, 0.1)), "above 0"),
        (choice(2, 9), "continues after a stop token"),
        (choice(3, finish="length"), "ended after 1 of 2 tokens"),
    ],
)
def test_a_malformed_completion_is_a_failure_of_the_engine(wrong, message):
    with pytest.raises(EngineFailure, match=message):
        read((GOOD[0], (wrong,)))


def test_missing_requests_and_missing_samples_are_failures():
    with pytest.raises(EngineFailure, match="1 of 2 requests"):
        read(GOOD[:1])
    with pytest.raises(EngineFailure, match="1 of 2 completions"):
        read((GOOD[0][:1], GOOD[1]))


def test_greedy_samples_are_requested_one_by_one_and_grouped_by_context():
    asked = sample_requests(CONTEXTS, SamplingConfig(temperature=0), seed=1, stop_ids=(9,))
    assert [item.token_ids for item in asked] == [(5, 6, 7), (5, 6, 7), (8,)]
    assert {item.params["n"] for item in asked} == {1}
    answer = Answer(
        choices=((choice(3, 9),), (choice(4, 9),), (choice(5, 9),)), num_prefill_tokens=0
    )
    found = read_completions(answer, asked, vocab_size=10, version="1-a")
    assert [[item.token_ids for item in own] for own in found] == [[(3, 9), (4, 9)], [(5, 9)]]
