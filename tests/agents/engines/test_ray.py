"""The Ray engine with samplers in this process, which fail on order; tests/interop runs Ray."""

import copy
from dataclasses import replace
from importlib import metadata

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

from reason_env.agents.engines import Context, EngineConfig, SamplingConfig, TorchEngine
from reason_env.agents.engines.ray import RayEngine, SamplerSettings
from reason_env.agents.engines.ray.sampler import Sampler
from reason_env.agents.engines.ray.shares import shares_of
from reason_env.agents.engines.ray.weights import (
    WeightVersions,
    arrays_of,
    filled,
    halves,
    load_arrays,
    skeleton,
)
from reason_env.agents.evaluate import EvalConfig
from reason_env.agents.learning import LearnerConfig, LossConfig
from reason_env.agents.methods import GRPOConfig, method_config
from reason_env.agents.policy import LanguageModelPolicy, LoraConfig
from reason_env.agents.policy.lora import add_lora
from reason_env.agents.train import TrainConfig, build_session, iterate, prepare
from reason_env.agents.train.evaluation import evaluate_policy
from reason_env.env import EnvConfig
from reason_env.errors import ConfigError, EngineError

VOCAB = 11
SIZES = {
    "vocab_size": VOCAB,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
}
SETTINGS = SamplerSettings(
    vocab_size=VOCAB, max_batch_size=256, precision="float32", threads=1, device="cpu"
)
CONTEXTS = [
    Context(token_ids=(1, 2, 3, 4, 5), num_samples=3, max_new_tokens=6),
    Context(token_ids=(4,), num_samples=2, max_new_tokens=12),
    Context(token_ids=(9, 9, 1, 0), num_samples=4, max_new_tokens=9),
    Context(token_ids=(3, 1, 4, 1, 5, 9), num_samples=5, max_new_tokens=7),
    Context(token_ids=(1, 2, 3, 4, 7), num_samples=1, max_new_tokens=30),
]
MAY_BE_STALE = [replace(context, may_be_stale=True) for context in CONTEXTS]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tiny_model(kind="qwen3"):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        if kind == "qwen3":
            config = Qwen3Config(**SIZES, head_dim=8, tie_word_embeddings=True)
            model = Qwen3ForCausalLM(config)
        else:
            model = LlamaForCausalLM(LlamaConfig(**SIZES))
        for weight in model.parameters():
            if weight.ndim > 1:
                torch.nn.init.normal_(weight, std=0.4)
    return model.eval()


class LocalActors:
    """Samplers in this process. Each round of `ask` suffers the next of the faults."""

    def __init__(self, model, *, settings=SETTINGS, faults=()):
        self.model, self.settings, self.faults = model, settings, list(faults)
        self.samplers, self.stored, self.asked, self.stops = {}, [], [], 0

    def put(self, arrays):
        self.stored.append(sorted(arrays))
        return {name: array.copy() for name, array in arrays.items()}

    def start(self, places):
        for place in places:
            if place not in self.samplers:
                self.samplers[place] = Sampler(skeleton(self.model), self.settings, lambda own: own)
        return {}

    def ask(self, requests):
        fault = self.faults.pop(0) if self.faults else {}
        if fault == "interrupt":
            raise KeyboardInterrupt
        self.asked.append(sorted(requests))
        answers, lost = {}, {}
        for place, request in requests.items():
            kind = fault.get(place)
            if kind == "died":
                lost[place] = "ActorDiedError: its process died"
                continue
            answer = self.samplers[place].sample(request)
            if kind == "late":
                lost[place] = "no reply to 'sample' within 3 s"
            elif kind == "stale":
                answers[place] = replace(answer, version=answer.version - 1)
            elif kind == "short":
                answers[place] = replace(answer, completions=answer.completions[1:])
            else:
                answers[place] = answer
        return answers, lost

    def drop(self, places):
        for place in places:
            del self.samplers[place]

    def stop(self):
        self.stops += 1
        self.samplers.clear()


def ray_engine(model, *, actors=2, faults=(), settings=SETTINGS, **numbers):
    config = EngineConfig(kind="ray", actors=actors, **numbers)
    return RayEngine(model, LocalActors(model, settings=settings, faults=faults), config)


def sampled(engine, contexts=CONTEXTS, *, seed=3):
    return engine.sample(contexts, SamplingConfig(), seed=seed, stop_ids=(2,))


def in_process(model, contexts=CONTEXTS, *, seed=3):
    return sampled(TorchEngine(model, vocab_size=VOCAB), contexts, seed=seed)


def tokens_of(found):
    return [[one.token_ids for one in own] for own in found]


def perturb(model, scale=0.3):
    with torch.no_grad():
        for weight in halves(model)[1].values():
            noise = torch.Generator().manual_seed(weight.numel())
            weight.add_(scale * torch.randn(weight.shape, generator=noise))


@given(
    sizes=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 50)), min_size=1, max_size=12),
    num=st.integers(1, 7),
)
def test_shares_are_runs_of_the_call_and_about_as_large(sizes, num):
    contexts = [
        Context(token_ids=(place,), num_samples=samples, max_new_tokens=most)
        for place, (samples, most) in enumerate(sizes)
    ]
    shares = shares_of(contexts, num)
    assert len(shares) == num
    assert [one for share in shares for one in share] == [
        replace(context, stream=place) for place, context in enumerate(contexts)
    ]
    all_tokens = [samples * most for samples, most in sizes]
    for share in shares:
        tokens = sum(context.num_samples * context.max_new_tokens for context in share)
        assert tokens <= sum(all_tokens) / num + max(all_tokens)


def test_a_share_keeps_the_streams_that_the_call_was_given():
    first = replace(CONTEXTS[0], stream=40)
    (share,) = shares_of([first, CONTEXTS[1]], 1)
    assert [context.stream for context in share] == [40, 1]


@pytest.mark.parametrize("actors", [1, 2, 3, 9])
def test_any_number_of_actors_samples_what_one_process_samples(actors):
    model = tiny_model()
    found, expected = sampled(ray_engine(model, actors=actors)), in_process(model)
    assert tokens_of(found) == tokens_of(expected)
    for one, other in zip(sum(found, ()), sum(expected, ()), strict=True):
        assert one.log_probs == pytest.approx(other.log_probs, abs=2e-5)
        assert (one.is_finished, one.staleness) == (other.is_finished, 0)
    if actors == 1:
        assert found == expected


@pytest.mark.parametrize("kind", ["died", "late", "stale", "short"])
def test_a_lost_share_is_sampled_again_to_the_same_bits_and_counted_once(kind):
    model = tiny_model()
    whole = ray_engine(model, actors=3)
    expected = sampled(whole)
    engine = ray_engine(model, actors=3, faults=[{1: kind, 2: kind}, {2: kind}])
    assert sampled(engine) == expected
    assert engine.actors.asked == [[0, 1, 2], [1, 2], [2]]
    assert engine.num_restarts == 3
    for name in ("num_sampled_tokens", "num_prefill_tokens", "num_reused_tokens"):
        assert getattr(engine, name) == getattr(whole, name), name
    assert engine.num_sampled_tokens == sum(len(one.token_ids) for own in expected for one in own)


def test_more_rounds_with_failures_than_allowed_end_the_call_and_nothing_is_counted():
    model = tiny_model()
    faults = [{0: "died", 1: "late"}, {1: "late"}]
    engine = ray_engine(model, max_restarts=1, faults=faults)
    message = (
        r"answer within 1 restarts, got 2 failures: actor 0: ActorDiedError: its process died; "
        r"actor 1: no reply to 'sample' within 3 s \| actor 1: no reply"
    )
    with pytest.raises(EngineError, match=message):
        sampled(engine)
    assert (engine.num_sampled_tokens, engine.num_prefill_tokens) == (0, 0)
    assert engine.actors.samplers == {}
    assert tokens_of(sampled(engine)) == tokens_of(in_process(model))


def test_an_interrupted_call_leaves_no_actor_at_work():
    engine = ray_engine(tiny_model(), faults=["interrupt"])
    with pytest.raises(KeyboardInterrupt):
        sampled(engine)
    assert (engine.actors.stops, engine.actors.samplers) == (1, {})


def test_changed_weights_are_sent_once_and_unchanged_ones_never():
    model = tiny_model()
    engine = ray_engine(model)
    before = sampled(engine)
    assert sampled(engine) == before
    assert (len(engine.actors.stored), engine.num_weight_updates) == (2, 0)
    perturb(model)
    after = sampled(engine)
    assert tokens_of(after) == tokens_of(in_process(model)) != tokens_of(before)
    trained = sorted(name for name, _ in model.named_parameters())
    assert engine.actors.stored[2:] == [trained]
    assert engine.num_weight_updates == 1
    other = tiny_model("qwen3")
    engine.rebind(other)
    assert sampled(engine) == before


def test_with_an_adapter_an_update_sends_the_adapter_alone():
    model = tiny_model("llama")
    add_lora(model, LoraConfig(rank=2), seed=1)
    engine = ray_engine(model)
    before = sampled(engine)
    assert all("lora" not in name for name in engine.actors.stored[0])
    perturb(model)
    after = sampled(engine)
    assert tokens_of(after) == tokens_of(in_process(model)) != tokens_of(before)
    (sent,) = engine.actors.stored[2:]
    assert sent
    assert all("lora_" in name for name in sent)
    with torch.no_grad():
        model.model.norm.weight.mul_(1.5)
    assert tokens_of(sampled(engine)) == tokens_of(in_process(model))
    assert "model.norm.weight" in engine.actors.stored[3]


def test_an_actor_that_starts_late_gets_all_weights():
    model = tiny_model("llama")
    add_lora(model, LoraConfig(rank=2), seed=1)
    engine = ray_engine(model)
    sampled(engine)
    perturb(model)
    sampled(engine)
    engine.actors.drop([1])
    assert tokens_of(sampled(engine)) == tokens_of(in_process(model))


def test_staleness_is_bounded_and_only_where_contexts_allow_it():
    model = tiny_model()
    engine = ray_engine(model, max_staleness=1)
    first = sampled(engine, MAY_BE_STALE)
    perturb(model)
    stale = sampled(engine, MAY_BE_STALE)
    assert stale == [tuple(replace(one, staleness=1) for one in own) for own in first]
    assert tokens_of(sampled(engine)) == tokens_of(in_process(model))
    contents = [copy.deepcopy(model)]
    for expected in (1, 0, 1, 0):
        perturb(model)
        contents.append(copy.deepcopy(model))
        found = sampled(engine, MAY_BE_STALE)
        assert {one.staleness for own in found for one in own} == {expected}
        assert tokens_of(found) == tokens_of(in_process(contents[-1 - expected]))
    perturb(model)
    one_is_fresh = [*MAY_BE_STALE[1:], CONTEXTS[0]]
    assert {one.staleness for own in sampled(engine, one_is_fresh) for one in own} == {0}


def test_a_share_that_is_lost_from_stale_weights_is_sampled_again_from_them():
    model = tiny_model()
    engine = ray_engine(model, max_staleness=2)
    sampled(engine, MAY_BE_STALE)
    perturb(model)
    expected = sampled(engine, MAY_BE_STALE)
    engine.actors.faults = [{0: "died"}]
    assert sampled(engine, MAY_BE_STALE) == expected
    assert engine.num_restarts == 1


def test_without_an_allowance_contexts_that_may_be_stale_are_not():
    model = tiny_model()
    engine = ray_engine(model)
    sampled(engine, MAY_BE_STALE)
    perturb(model)
    found = sampled(engine, MAY_BE_STALE)
    assert tokens_of(found) == tokens_of(in_process(model))
    assert {one.staleness for own in found for one in own} == {0}


def test_no_contexts_need_no_actors():
    engine = ray_engine(tiny_model())
    assert sampled(engine, []) == []
    assert engine.actors.samplers == {}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_a_skeleton_filled_with_the_arrays_is_the_model(kind, dtype):
    model = tiny_model(kind).to(dtype)
    model.model.norm.weight.grad = torch.ones(16, dtype=dtype)
    empty = skeleton(model)
    assert {tensor.device.type for tensor in empty.parameters()} == {"meta"}
    other = filled(empty, "cpu")
    for half in halves(model):
        load_arrays(other, arrays_of(half))
    own, found = model.state_dict(), other.state_dict()
    assert list(own) == list(found)
    assert all(torch.equal(own[name], found[name]) for name in own)
    buffers = dict(other.named_buffers())
    assert buffers
    assert all(torch.equal(value, buffers[name]) for name, value in model.named_buffers())
    is_tied = other.lm_head.weight is other.model.embed_tokens.weight
    assert is_tied == (kind == "qwen3")
    assert other.model.norm.weight.grad is None
    ids = torch.tensor([[1, 5, 3]])
    assert torch.equal(model(ids).logits, other(ids).logits)
    assert model.model.norm.weight.data_ptr() != other.model.norm.weight.data_ptr()


def test_versions_count_contents_and_each_half_is_stored_when_it_changed():
    model = tiny_model("llama")
    for name, weight in model.named_parameters():
        weight.requires_grad_("norm" in name)
    stored = []
    versions = WeightVersions(model, lambda arrays: stored.append(len(arrays)) or len(stored))
    assert (versions.version, versions.look(), versions.look()) == (0, 1, 1)
    assert versions.store().parts == ((1, 1), (1, 2))
    with torch.no_grad():
        model.model.norm.weight.add_(1.0)
    assert versions.look() == 2
    with torch.no_grad():
        model.model.norm.weight.add_(1.0)
    assert versions.look() == 3
    found = versions.store()
    assert (found.version, found.parts) == (3, ((1, 1), (3, 3)))
    assert versions.store() == found
    num_norms = sum("norm" in name for name, _ in model.named_parameters())
    assert stored[1:] == [num_norms, num_norms]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "ray", "actors": 0}, "actors must be at least 1"),
        ({"kind": "ray", "max_staleness": -1}, "max_staleness must be at least 0"),
        ({"kind": "ray", "actor_gpus": -0.5}, "actor_gpus must be at least 0 and finite, got -0.5"),
        ({"actors": 2}, "actors must be 1 with engine 'torch', got 2; use --engine ray"),
        ({"kind": "vllm", "max_staleness": 1}, "max_staleness must be 0 with engine 'vllm', got 1"),
        ({"actor_gpus": 1.0}, "actor_gpus must be 0.0 with engine 'torch'"),
        ({"ray_address": "auto"}, "ray_address must be None with engine 'torch'"),
        (
            {"kind": "ray", "ray_address": "ray://head:10001"},
            "ray_address must be host:port or auto, got 'ray://head:10001'; run on a node",
        ),
    ],
)
def test_a_wrong_config_of_the_ray_engine_is_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        EngineConfig(**fields)


def test_missing_ray_is_reported_when_the_policy_is_loaded(monkeypatch):
    found = metadata.version

    def version(name):
        if name == "ray":
            raise metadata.PackageNotFoundError(name)
        return found(name)

    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(ConfigError, match=r"must have the package ray installed.*reason-env\[ray"):
        LanguageModelPolicy.load("base", engine=EngineConfig(kind="ray"))


def run_config(name="grpo", **fields):
    own = {"method": GRPOConfig(group_size=4)} if name == "grpo" else {}
    return TrainConfig(
        **{
            "method": method_config(name),
            "env": EnvConfig(size=8, levels=(4, 6)),
            "eval": EvalConfig(num_problems=4, samples=2, k=1),
            "learner": LearnerConfig(learning_rate=2e-3),
            "problems_per_iteration": 4,
            "iterations": 4,
            **own,
            **fields,
        }
    )


STALE = EngineConfig(kind="ray", actors=2, max_staleness=1)


def test_staleness_needs_a_loss_that_corrects_for_it():
    with pytest.raises(ConfigError, match=r"a loss without importance weights, got 1 with rrpo"):
        build_session(run_config("rrpo", engine=STALE))
    uncorrected = GRPOConfig(loss=LossConfig(importance_weight_cap=None))
    with pytest.raises(ConfigError, match=r"give --loss.importance-weight-cap 2"):
        build_session(run_config(method=uncorrected, engine=STALE))


@pytest.mark.parametrize("name", ["exp-dpo"])
def test_staleness_is_refused_where_episodes_must_be_the_policys_own(name):
    with pytest.raises(ConfigError, match=f"max_staleness must be 0 with {name}, got 1"):
        build_session(run_config(name, engine=STALE))


def test_a_run_with_stale_weights_corrects_for_them_and_evaluates_the_current_ones():
    session = build_session(run_config())
    session.config = replace(session.config, engine=STALE)
    policy = session.policy
    settings = replace(SETTINGS, vocab_size=policy.codec.vocab_size)
    policy.engine = RayEngine(policy.model, LocalActors(policy.model, settings=settings), STALE)
    prepare(session)
    rows = [iterate(session) for _ in range(3)]
    assert [row.metrics["rollout/staleness"] for row in rows] == [0.0, 1.0, 0.0]
    assert [item.staleness for item in rows[1].batch.trajectories] == [1] * 16
    # Only the middle one has a gap, and it is no fault of the sampler.
    assert [row.metrics.get("rollout/mismatch_alarm") for row in rows] == [0, None, 0]
    gaps = [row.metrics["update/behavior_gap_mean"] for row in rows]
    assert abs(gaps[0]) < 1e-4 < 1e-3 < abs(gaps[1])
    weights = [row.metrics["update/importance_weight_mean"] for row in rows]
    assert weights[0] == pytest.approx(1.0, abs=1e-4) == weights[2]
    assert abs(weights[1] - 1.0) > 1e-3
    stale_report = evaluate_policy(session)
    policy.engine = TorchEngine(policy.model, vocab_size=policy.codec.vocab_size)
    fresh_report = evaluate_policy(session)
    assert stale_report.metrics == fresh_report.metrics
