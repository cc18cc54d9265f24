"""verl's own functions around the agent loops, the estimator, the losses and the data."""

import asyncio
import doctest
import importlib
import json
import re
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch.nested import as_nested_tensor

from reason_env.agents.engines import Context, SamplingConfig
from reason_env.agents.learning import LossConfig, LossTotals, make_batch, policy_loss
from reason_env.agents.methods import (
    ExPOConfig,
    GRPOConfig,
    LTEConfig,
    POPEConfig,
    SRPOConfig,
    TreeRLConfig,
    build_method,
    method_config,
    method_names,
)
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.agents.policy.load import CODEC_KEY
from reason_env.agents.rollout import TrainingSample
from reason_env.cli import main
from reason_env.codec import load_codec
from reason_env.env import EnvConfig
from reason_env.errors import ConfigError, UnknownNameError
from reason_env.problems import load_problems
from reason_env.state import ReasonState
from reason_env.verdict import Outcome, Verdict
from reason_env.wrappers import Curriculum, PrefixRollin

pytestmark = [
    pytest.mark.interop,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "verl.md"
MAX_TOKENS = 160
LEVEL = 6


@pytest.fixture(scope="module")
def verl():
    return importlib.import_module("reason_env.agents.integrations.verl")


@pytest.fixture(scope="module")
def policy():
    return LanguageModelPolicy.load("base")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The base model with a tokenizer of bytes, as verl needs one: a directory."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("model")
    # Byte-level tokenizers write a byte as a character of their own.
    printed = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printed]
    names = {chr(byte): byte for byte in printed}
    names |= {chr(256 + place): byte for place, byte in enumerate(others)}
    tokenizer = Tokenizer(models.BPE(vocab=names, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<pad>", "<end>"])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>", padding_side="left"
    )
    fast.save_pretrained(folder)
    base = LanguageModelPolicy.load("base").model
    # It names the built-in codec, which the tokenizer replaces.
    delattr(base.config, CODEC_KEY)
    base.save_pretrained(folder)
    return folder


def settings(model, name="reason_env/grpo", **changes):
    """verl's own config under ours, composed as its command does."""
    from hydra import compose, initialize_config_dir

    given = {
        "actor_rollout_ref.actor.policy_loss.loss_mode": name,
        "actor_rollout_ref.model.path": str(model),
        "actor_rollout_ref.actor.loss_scale_factor": MAX_TOKENS,
        "actor_rollout_ref.actor.ppo_mini_batch_size": 64,
        "data.train_batch_size": 4,
        "data.max_response_length": MAX_TOKENS,
    } | changes
    with initialize_config_dir(str(ROOT / "docs"), version_base=None):
        return compose("verl", [f"{key}={value}" for key, value in given.items()])


class Servers:
    """Stands for verl's client of its servers: what is asked in one turn is sampled together."""

    def __init__(self, policy):
        self.policy, self.open, self.calls = policy, [], []

    async def generate(self, request_id, *, prompt_ids, sampling_params):
        from verl.workers.rollout.replica import TokenOutput

        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        if not self.open:
            loop.call_later(0.01, self.flush)
        self.open.append((prompt_ids, sampling_params, answer))
        found = await answer
        return TokenOutput(
            token_ids=list(found.token_ids),
            log_probs=list(found.log_probs),
            extra_fields={"min_global_steps": 3, "max_global_steps": 3},
        )

    def flush(self):
        asked, self.open = self.open, []
        by_settings = defaultdict(list)
        for prompt, params, answer in asked:
            by_settings[params["temperature"], params["top_p"], params["top_k"]].append(
                (prompt, params, answer)
            )
        for (temperature, top_p, top_k), rows in by_settings.items():
            self.calls.append(len(rows))
            contexts = [
                Context(token_ids=tuple(prompt), num_samples=1, max_new_tokens=params["max_tokens"])
                for prompt, params, _ in rows
            ]
            sampling = SamplingConfig(temperature=temperature, top_p=top_p, top_k=max(0, top_k))
            stops = tuple(rows[0][1]["stop_token_ids"])
            found = self.policy.sample(contexts, sampling, seed=len(self.calls), stop_ids=stops)
            for (_, _, answer), (one,) in zip(rows, found, strict=True):
                answer.set_result(one)


def column(fields, name):
    """The values of a field, row by row, whether tensors or not."""
    values = fields.get(name)
    if isinstance(values, torch.Tensor):
        return values.unbind()
    return [values[at].data for at in range(len(fields))]


class Queue:
    """Stands for verl's TransferQueue: fields by key, as rows."""

    def __init__(self):
        self.rows, self.tags = {}, {}

    async def async_kv_batch_put(self, keys, fields, tags, partition_id):
        self.kv_batch_put(keys, partition_id, fields, tags)

    def kv_batch_put(self, keys, partition_id, fields, tags=None):
        del partition_id
        columns = {name: list(column(fields, name)) for name in list(fields.keys())}
        for at, key in enumerate(keys):
            row = {name: values[at] for name, values in columns.items()}
            self.rows.setdefault(key, {}).update(row)
            if tags is not None:
                self.tags[key] = tags[at]
        return SimpleNamespace(keys=list(keys), partition_id="train")

    def kv_batch_get(self, keys, partition_id, select_fields=None):
        del partition_id
        rows = [self.rows[key] for key in keys]
        names = [name for name in (select_fields or rows[0]) if name in rows[0]]
        return as_fields([{name: row[name] for name in names} for row in rows])


def as_fields(rows):
    """Rows as verl's queue gives them: tensors of rows are nested, whatever their lengths."""
    from tensordict import NonTensorStack, TensorDict

    columns = {}
    for name, first in rows[0].items():
        values = [row[name] for row in rows]
        is_tensor = isinstance(first, torch.Tensor)
        columns[name] = (
            as_nested_tensor(values, layout=torch.jagged) if is_tensor else NonTensorStack(*values)
        )
    return TensorDict(columns, batch_size=[len(rows)])


def rows_of(model, *, problems="chain", size=3, level=LEVEL, **changes):
    export = importlib.import_module("reason_env.agents.integrations.export")
    config = EnvConfig(
        problems=problems, size=size, levels=(level, level), max_tokens=MAX_TOKENS,
        max_prompt_tokens=256, template="ours",
    )  # fmt: skip
    return export.verl_rows(config, load_codec(str(model)), **changes)


def worker_of(config, servers):
    """verl's worker without its process: what a row needs of it."""
    from verl.trainer.ppo.v1 import agent_loop_tq
    from verl.utils.dataset.rl_dataset import RLHFDataset
    from verl.utils.tokenizer import hf_tokenizer

    worker_class = agent_loop_tq.AgentLoopWorkerTQ.__ray_metadata__.modified_class
    worker = worker_class.__new__(worker_class)
    worker.config, worker.llm_client = config, servers
    worker.tokenizer = hf_tokenizer(config.actor_rollout_ref.model.path)
    worker.processor = worker.hf_model_type = worker.reward_loop_worker_handles = None
    worker.dataset_cls, worker.tools = RLHFDataset, []
    worker.distillation_enabled = False
    return worker


def sampled(monkeypatch, model, policy, name, rows, **changes):
    """Run rows through verl's worker: its config, queue and keys, and its servers' calls."""
    from verl.trainer.ppo.v1 import agent_loop_tq

    config = settings(model, name, **changes)
    queue, servers = Queue(), Servers(policy)
    monkeypatch.setattr(agent_loop_tq.tq, "async_kv_batch_put", queue.async_kv_batch_put)
    worker = worker_of(config, servers)
    rollout = config.actor_rollout_ref.rollout
    params = {
        "temperature": rollout.temperature, "top_p": rollout.top_p, "top_k": rollout.top_k,
        "repetition_penalty": 1.0, "logprobs": True,
    }  # fmt: skip

    async def all_rows():
        for number, row in enumerate(rows):
            await worker._run_agent_loop(
                dict(params),
                {"step": 1, "sample_index": number, "rollout_n": 0, "validate": False},
                agent_name=row["agent_name"],
                trace=False,
                uid=f"u{number}",
                session_id=0,
                global_steps=1,
                index=number,
                raw_prompt=row["prompt"],
                extra_info=row["extra_info"],
            )

    asyncio.run(all_rows())
    return config, queue, servers


def with_advantages(config, queue, monkeypatch):
    """Let verl's trainer compute the advantages of everything in the queue."""
    from verl.trainer.ppo.v1 import trainer_base

    keys = list(queue.rows)
    for row in queue.rows.values():
        row["old_log_probs"] = row["rollout_log_probs"]
    monkeypatch.setattr(trainer_base.tq, "kv_batch_get", queue.kv_batch_get)
    monkeypatch.setattr(trainer_base.tq, "kv_batch_put", queue.kv_batch_put)

    class Batch(SimpleNamespace):
        def __len__(self):
            return len(self.keys)

    trainer = SimpleNamespace(config=config)
    batch = Batch(keys=keys, partition_id="train")
    trainer_base.PPOTrainer._compute_advantage(trainer, batch, {})
    return keys


def samples_of(rows):
    """Rows of the queue as training samples."""
    found = []
    for row in rows:
        mask = row["response_mask"].bool()
        found.append(
            TrainingSample(
                context_ids=tuple(row["prompts"].tolist()),
                token_ids=tuple(row["responses"].tolist()),
                action_mask=tuple(mask.tolist()),
                behavior_log_probs=tuple(row["rollout_log_probs"].tolist()),
                advantage=tuple((row["advantages"] * mask).tolist()),
                role=row["extra_fields"]["role"],
                group=row["extra_fields"]["group"],
            )
        )
    return found


METHODS = ("grpo", "rrpo", "pope", "lte", "expo", "vineppo", "srpo+lte")
HARD = 12
"""A level of which the base model solves 6 %, so that whole groups fail."""


RUNS = {}


@pytest.fixture
def run_of(verl, model, policy):
    """A method's rows, with advantages, once for all tests: none of them changes one."""

    def run(name):
        if name not in RUNS:
            is_hard = name in ("lte", "srpo+lte", "pope")
            rows = rows_of(model, size=6 if is_hard else 4, level=HARD if is_hard else LEVEL)
            with pytest.MonkeyPatch.context() as patch:
                config, queue, servers = sampled(patch, model, policy, f"reason_env/{name}", rows)
                with_advantages(config, queue, patch)
            RUNS[name] = config, queue, servers, rows
        return RUNS[name]

    return run


def by_group(queue):
    groups = defaultdict(list)
    for row in queue.rows.values():
        groups[row["extra_fields"]["group"]].append(row)
    return groups


def advantage_of(row):
    """The one advantage of a row's trained tokens."""
    values = row["advantages"][row["response_mask"].bool()]
    assert float(values.max() - values.min()) == 0
    return float(values[0])


def expected_advantages(kind, returns):
    returns = np.array(returns)
    if kind == "mean":
        return returns - returns.mean()
    if np.ptp(returns) == 0:
        return np.zeros_like(returns)
    std = returns.std(ddof=1) + 1e-4 if kind == "grpo" else returns.std()
    return (returns - returns.mean()) / std


def roles(queue):
    return {row["extra_fields"]["role"] for row in queue.rows.values()}


@pytest.mark.parametrize(
    ("name", "kind", "expected_roles"),
    [
        ("grpo", "grpo", {"base"}),
        ("rrpo", "population", {"base", "reset"}),
        ("srpo", "population", {"base", "reset"}),
        ("pope", "mean", {"base", "guided"}),
        ("lte", "grpo", {"base", "hinted"}),
    ],
)
def test_verl_gives_each_row_the_advantage_of_its_group(run_of, name, kind, expected_roles):
    _, queue, servers, _ = run_of(name)
    assert roles(queue) - {"untrained"} == expected_roles
    num_with_signal = 0
    for rows in by_group(queue).values():
        trained = [row for row in rows if row["extra_fields"]["role"] != "untrained"]
        if not trained:
            continue
        returns = [row["extra_fields"]["episode_return"] for row in trained]
        expected = expected_advantages(kind, returns)
        found = [advantage_of(row) for row in trained]
        assert found == pytest.approx(list(expected), abs=1e-6)
        num_with_signal += bool(np.ptp(returns))
    assert num_with_signal
    # Episodes of a round are asked for together.
    assert max(servers.calls) >= 5
    assert all(tag["min_global_steps"] == 3 for tag in queue.tags.values())


def test_a_reset_trains_its_suffix_under_the_problem_s_prompt(run_of, model):
    _, queue, _, rows = run_of("rrpo")
    codec = load_codec(str(model))
    prompts = {codec.decode(row["prompts"].tolist()) for row in queue.rows.values()}
    assert prompts == {row["prompt"][0]["content"] for row in rows}
    num_kept = 0
    for row in queue.rows.values():
        mask = row["response_mask"].tolist()
        begin = mask.index(1)
        assert set(mask[:begin]) <= {0}
        assert begin == 0 or row["extra_fields"]["role"] == "reset"
        num_kept += begin
        outside = row["response_mask"] == 0
        assert not row["advantages"][outside].any()
        assert not row["rollout_log_probs"][outside].any()
    assert num_kept > 20
    for group, own in by_group(queue).items():
        if group.endswith("/reset"):
            begin = own[0]["response_mask"].tolist().index(1)
            prefixes = {tuple(row["responses"][:begin].tolist()) for row in own}
            assert len(own) == 4
            assert len(prefixes) == 1


def test_hinted_rows_are_trained_without_the_hint_that_they_were_sampled_with(
    run_of, model, policy
):
    _, queue, _, rows = run_of("lte")
    samples = samples_of(queue.rows.values())
    hinted = [at for at, one in enumerate(samples) if one.role == "hinted"]
    plain = [at for at, one in enumerate(samples) if one.role == "base"]
    assert hinted
    codec = load_codec(str(model))
    assert {codec.decode(one.context_ids) for one in samples} <= {
        row["prompt"][0]["content"] for row in rows
    }
    scores = policy_log_probs(policy, samples)
    mask = make_batch(samples, pad_id=256).action_mask_BT
    behavior = make_batch(samples, pad_id=256).behavior_log_probs_BT
    gap = ((scores - behavior).abs() * mask).amax(dim=1)
    # Unhinted rows have the sampler's context; the hint moves the log-probabilities of the others.
    assert float(gap[plain].max()) < 1e-3
    assert float(gap[hinted].min()) > 1e-2


def policy_log_probs(policy, samples):
    batch = make_batch(samples, pad_id=256)
    with torch.no_grad():
        found, _ = policy.token_log_probs(
            batch.token_ids_BT, batch.attention_mask_BT, action_mask_BT=batch.action_mask_BT
        )
    return torch.where(batch.action_mask_BT, found, 0.0)


def data_of(rows, log_probs, old, *, num_tokens, num_rows, devices=1):
    """The rows as verl's worker gets them, and the model's output, both nested."""
    from verl.utils import tensordict_utils as tu

    names = ("prompts", "responses", "response_mask", "advantages", "rollout_is_weights")
    fields = [{name: row[name] for name in names if name in row} for row in rows]
    output = []
    for row, field, own, before in zip(rows, fields, log_probs, old, strict=True):
        length = len(row["responses"])
        field["old_log_probs"] = before[:length]
        # The model's output stands one place to the left.
        ahead = torch.zeros(len(row["prompts"]) - 1, dtype=own.dtype)
        output.append(torch.cat([ahead, own[:length], torch.zeros(1, dtype=own.dtype)]))
    data = as_fields(fields)
    totals = {"batch_num_tokens": num_tokens, "global_batch_size": num_rows}
    tu.assign_non_tensor(data, dp_size=devices, **totals)
    return {"log_probs": as_nested_tensor(output, layout=torch.jagged)}, data


def responses_of(batch_BT, samples):
    """Cut the responses out of [B, T] with contexts."""
    starts = [len(one.context_ids) for one in samples]
    return [
        row[start : start + len(one.token_ids)]
        for row, start, one in zip(batch_BT, starts, samples, strict=True)
    ]


def loss_by_verl(config, rows, log_probs, old, **totals):
    from verl.utils.config import omega_conf_to_dataclass
    from verl.workers.utils.losses import ppo_loss

    actor = omega_conf_to_dataclass(config.actor_rollout_ref.actor)
    output, data = data_of(rows, log_probs, old, **totals)
    found, _ = ppo_loss(actor, output, data)
    return found


def loss_by_us(name, samples, log_probs_BT, old_BT, num_problems):
    """The method's losses by role, with the denominators of the page."""
    method = build_method(method_config(name), lambda problem, steps: None)
    batch = make_batch(samples, pad_id=256, dtype=torch.float64)
    all_tokens, num_rows = int(batch.action_mask_BT.sum()), len(samples)
    total = torch.zeros((), dtype=torch.float64)
    for role in sorted({one.role for one in samples}):
        loss = method.role_losses.get(role, method.loss)
        own_B = torch.tensor([one.role == role for one in samples])
        advantages = batch.advantages_BT
        totals = LossTotals(num_tokens=all_tokens, num_sequences=num_rows, max_tokens=MAX_TOKENS)
        if loss.separate_normaliser:
            # The share of a row was in its advantages: here they are beta again.
            lengths = batch.action_mask_BT.sum(dim=1, keepdim=True)
            advantages = advantages * num_problems * lengths
            totals = LossTotals(num_tokens=1, num_sequences=num_problems, max_tokens=MAX_TOKENS)
        found = policy_loss(
            log_probs_BT, old_BT, advantages, batch.action_mask_BT & own_B[:, None],
            config=loss, totals=totals, behavior_log_probs_BT=batch.behavior_log_probs_BT,
        )  # fmt: skip
        total = total + found.loss
    return total


@pytest.mark.parametrize("name", METHODS)
def test_the_loss_of_verl_s_worker_is_the_method_s_own(run_of, policy, name):
    from verl.trainer.ppo.padding_utils import construct_minimal_padding_template

    config, queue, _, _ = run_of(name)
    rows = [row for row in queue.rows.values() if row["response_mask"].any()]
    samples = samples_of(rows)
    # The trained policy has moved away from the old one, past the clip range on some tokens.
    scores = policy_log_probs(policy, samples).double()
    noise = torch.randn(scores.shape, generator=torch.Generator().manual_seed(1)).double()
    mask = make_batch(samples, pad_id=256).action_mask_BT
    leaf = (scores + 0.3 * noise * mask).requires_grad_()
    num_tokens, num_rows = int(mask.sum()), len(samples)
    given = {"num_tokens": num_tokens, "num_rows": num_rows}
    assert len({one.role for one in samples}) >= (1 if name in ("grpo", "vineppo") else 2)
    expected = loss_by_us(name, samples, leaf, scores, num_problems=4)
    (expected_gradient,) = torch.autograd.grad(expected, leaf)
    assert float(expected_gradient.abs().max()) > 1e-5

    own, old = responses_of(leaf, samples), responses_of(scores, samples)
    found = loss_by_verl(config, rows, own, old, **given)
    (gradient,) = torch.autograd.grad(found, leaf)
    assert float(found.detach()) == pytest.approx(float(expected), abs=1e-9)
    assert float((gradient - expected_gradient).abs().max()) < 1e-9

    # verl averages the gradients of its devices, so each has their number times its share.
    doubled = loss_by_verl(config, rows, own, old, devices=2, **given)
    assert float(doubled.detach()) == pytest.approx(2 * float(expected), abs=1e-9)

    # Micro-batches add up, also with a row that verl has added, copied from one of another length.
    half = num_rows // 2
    padding, _ = construct_minimal_padding_template(rows[0], {}, 257)
    padding["advantages"] = torch.zeros(1)
    empty = torch.zeros(1, dtype=torch.float64)
    parts = [
        loss_by_verl(config, rows[:half], own[:half], old[:half], **given),
        loss_by_verl(
            config, [*rows[half:], padding], [*own[half:], empty], [*old[half:], empty], **given
        ),
        loss_by_verl(config, [padding], [empty.clone().requires_grad_()], [empty], **given),
    ]
    assert float(sum(parts).detach()) == pytest.approx(float(expected), abs=1e-9)


def test_the_example_of_the_page_names_a_composition(verl):
    from verl.trainer.ppo.core_algos import get_policy_loss_fn

    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(code, "docs/verl.md", "exec"), {})
    assert callable(get_policy_loss_fn("srpo-lte-wide"))


def test_every_method_that_verl_can_run_has_a_name_and_the_others_a_reason(verl):
    from verl.experimental.agent_loop.agent_loop import _agent_loop_registry
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn, get_policy_loss_fn

    served = [name for name in method_names() if verl.refusal(method_config(name)) is None]
    assert set(served) | {"srpo+lte"} == set(verl.SERVED_METHODS)
    for name in verl.SERVED_METHODS:
        assert callable(get_policy_loss_fn(f"reason_env/{name}"))
    assert get_adv_estimator_fn("reason_env") is verl.given_advantages
    assert {"reason_env", "reason_env_evaluation"} <= set(_agent_loop_registry)
    assert not any(f"reason_env/{name}" in _agent_loop_registry for name in served)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (method_config("dapo"), "got dapo: dapo remembers problems between iterations"),
        (method_config("exp-dpo"), "exp-dpo trains pairs of responses"),
        (method_config("sdpo"), "sdpo learns from a teacher"),
        (TreeRLConfig(uncertainty="entropy"), "treerl needs the entropy at each token"),
        (method_config("adaback"), "adaback trains in a wrapper that remembers"),
        (method_config("sft"), "sft chooses among the problems before it trains"),
        (method_config("grpo+expo+pope"), r"got grpo\+expo\+pope: pope leaves problems out"),
        (method_config("sb3-ppo"), "sb3-ppo steps the environment itself"),
        (SRPOConfig(localiser="checker"), "step checker"),
        (POPEConfig(search="before"), "search 'before' measures all problems before training"),
        (ExPOConfig(refresh="once"), "refresh 'once' remembers explanations"),
        (ExPOConfig(explanations="expert"), "'expert' chooses the problems"),
        (ExPOConfig(beta_iterations=3), "beta_iterations counts iterations"),
        (LTEConfig(normaliser="separate"), "averaged alone, and verl does not count them"),
        (GRPOConfig(loss=LossConfig(kl_coefficient=0.1)), "KL term; leave it to verl's"),
        (GRPOConfig(loss=LossConfig(entropy_coefficient=0.1)), "entropy term; leave it to"),
    ],
)
def test_a_method_that_verl_cannot_run_is_refused_when_it_is_named(verl, method, message):
    with pytest.raises(ConfigError, match=message):
        verl.serve("mine", method)


def test_a_method_with_other_numbers_has_the_name_that_it_is_given(
    verl, monkeypatch, model, policy
):
    verl.serve("two-and-two", SRPOConfig(num_base=2, num_reset=2))
    rows = rows_of(model, size=2)
    _, queue, _ = sampled(monkeypatch, model, policy, "two-and-two", rows)
    sizes = {len(own) for group, own in by_group(queue).items() if group.endswith("/reset")}
    assert sizes == {2}


def test_pope_measures_a_problem_once_in_a_process(verl, monkeypatch, model, policy):
    verl.serve("pope-twice", POPEConfig(hard_samples=8, probe_samples=4))
    hard, easy = rows_of(model, size=1, level=16)[0], rows_of(model, size=2, level=1)[1]
    rows = [hard, easy, hard]
    _, queue, servers = sampled(monkeypatch, model, policy, "pope-twice", rows)
    by_uid = defaultdict(list)
    for key, row in queue.rows.items():
        by_uid[key[:2]].append(row)
    assert [one["extra_fields"]["role"] for one in by_uid["u1"]] == ["untrained"]
    assert by_uid["u1"][0]["response_mask"].tolist() == [0]
    assert {len(by_uid[uid]) for uid in ("u0", "u2")} == {16}
    # 8 to measure the hard problem, its searched prefixes, its groups; 8 for the easy one; and the
    # second time the groups of the hard one alone.
    assert servers.calls[0] == 8
    assert servers.calls[-3:] == [16, 8, 16]


def test_the_evaluation_loop_samples_one_episode_whose_return_is_the_reward(
    verl, monkeypatch, model, policy
):
    rows = rows_of(model, size=6, level=3, agent_loop="reason_env_evaluation")
    _, queue, servers = sampled(monkeypatch, model, policy, "reason_env/lte", rows)
    assert servers.calls == [1] * 6
    found = list(queue.rows.values())
    correct = [row["extra_fields"]["reward_extra_info"]["acc"] for row in found]
    assert [float(row["rm_scores"].sum()) for row in found] == correct
    assert 0 < sum(correct) < 6
    codec = load_codec(str(model))
    for row, given, is_right in zip(found, rows, correct, strict=True):
        score = verl.compute_score(
            "chain", codec.decode(row["responses"].tolist()), "", given["extra_info"]
        )
        assert score == {"score": is_right, "acc": is_right, "undecided": 0.0}


def test_the_command_s_file_is_read_by_verl_s_data_set(verl, model, tmp_path, monkeypatch):
    import datasets
    from verl.utils.dataset.rl_dataset import RLHFDataset
    from verl.utils.tokenizer import hf_tokenizer

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    path = tmp_path / "train.parquet"
    main(
        [
            "export", "verl", "--problems", "chain", "--size", "5", "--levels", "2", "4",
            "--model", str(model), "--template", "ours", "--max-tokens", "99", "--out", str(path),
        ]
    )  # fmt: skip
    config = settings(model)
    data = RLHFDataset([str(path)], hf_tokenizer(str(model)), config.data)
    problems = load_problems("chain", split="train", size=5, levels=(2, 4))
    assert len(data) == 5
    for number, problem in enumerate(problems):
        row = data[number]
        assert row["agent_name"] == "reason_env"
        assert row["index"] == number
        assert row["reward_model"]["ground_truth"] == problem.answer
        assert problem.question in row["raw_prompt"][0]["content"]
        state = ReasonState.from_json(row["extra_info"]["state"], load_codec(str(model)))
        assert state.problem == problem
        assert json.loads(row["extra_info"]["env"])["max_tokens"] == 99
        assert verl.compute_score("", f"#### {problem.answer}", "", row["extra_info"])["acc"] == 1
        assert verl.compute_score("", "#### none", "", row["extra_info"])["acc"] == 0


def test_a_stack_s_starts_are_drawn_when_the_file_is_written_and_are_not_trained(
    verl, monkeypatch, model, policy
):
    export = importlib.import_module("reason_env.agents.integrations.export")
    codec = load_codec(str(model))
    env = gym.make(
        "MathReason-v0", problems="chain", size=2, levels=(LEVEL, LEVEL), max_tokens=MAX_TOKENS,
        granularity="response", format="tokens", max_prompt_tokens=256, template="ours",
    )  # fmt: skip
    spec = PrefixRollin(env, fraction=(0.5, 0.5)).spec.to_json()
    rows = export.verl_rows(EnvConfig(stack=spec), codec)
    _, queue, _ = sampled(monkeypatch, model, policy, "reason_env/grpo", rows)
    assert len(queue.rows) == 16
    for number, row in enumerate(rows):
        prefix = json.loads(row["extra_info"]["state"])["response"]
        assert prefix
        own = [one for key, one in queue.rows.items() if key.startswith(f"u{number}")]
        for one in own:
            assert one["responses"][: len(prefix)].tolist() == prefix
            assert one["response_mask"].tolist().index(1) == len(prefix)
    chooser = Curriculum(env).spec.to_json()
    with pytest.raises(ConfigError, match="leave the choice of problems to verl"):
        export.verl_rows(EnvConfig(stack=chooser), codec)


@pytest.mark.parametrize("name", ["losses", "served"])
def test_the_examples_of_docstrings_hold(name):
    tried = doctest.testmod(importlib.import_module(f"reason_env.agents.integrations.verl.{name}"))
    assert tried.attempted
    assert not tried.failed


def test_the_page_s_config_composes_and_is_accepted(verl, model):
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import validate_config

    whole = {"data.train_batch_size": 128, "actor_rollout_ref.actor.ppo_mini_batch_size": 1024}
    config = settings(model, "reason_env/srpo", **whole)
    verl.check_settings(config, verl.served_method("x", method_config("srpo")))
    assert config.trainer.use_v1
    assert not need_critic(config)
    assert not need_reference_policy(config)
    validate_config(config=config, use_reference_policy=False, use_critic=False)
    megatron = settings(model, "reason_env/lte", **{"model_engine": "megatron"})
    assert megatron.actor_rollout_ref.actor.strategy == "megatron"
    verl.check_settings(megatron, verl.served_method("x", method_config("lte")))


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("grpo", {"algorithm.adv_estimator": "grpo"}, "adv_estimator must be 'reason_env', got"),
        ("grpo", {"actor_rollout_ref.rollout.n": 4}, "rollout.n must be 1, got 4; one session"),
        (
            "grpo",
            {"actor_rollout_ref.rollout.calculate_log_probs": False},
            "calculate_log_probs must be True, got False",
        ),
        ("grpo", {"algorithm.use_kl_in_reward": True}, "use_kl_in_reward must be False"),
        ("grpo", {"algorithm.rollout_correction.bypass_mode": True}, "bypass_mode must be False"),
        ("lte", {"algorithm.rollout_correction.rollout_is": "token"}, "rollout_is must be None"),
        ("expo", {"actor_rollout_ref.rollout.temperature": 0.7}, "temperature must be 1.0 for"),
        ("pope", {"actor_rollout_ref.actor.loss_scale_factor": "null"}, "response budget for a"),
    ],
)
def test_settings_that_would_train_something_else_end_the_run_before_its_first_episode(
    verl, model, name, changes, message
):
    manager = importlib.import_module("reason_env.agents.integrations.verl.manager")
    config = settings(model, f"reason_env/{name}", **changes)
    with pytest.raises(ConfigError, match=message):
        manager.ReasonLoopManager(config)


def test_a_loss_that_is_no_method_s_is_refused_with_the_nearest_name(verl, model):
    manager = importlib.import_module("reason_env.agents.integrations.verl.manager")
    with pytest.raises(UnknownNameError, match="got 'reason_env/srop'; did you mean"):
        manager.ReasonLoopManager(settings(model, "reason_env/srop"))


def test_rows_that_do_not_fit_verl_s_lengths_are_refused(verl, monkeypatch, model, policy):
    rows = rows_of(model, size=1)
    changes = {"data.max_response_length": MAX_TOKENS - 1}
    with pytest.raises(ConfigError, match=f"response_length must hold the {MAX_TOKENS} tokens"):
        sampled(monkeypatch, model, policy, "reason_env/grpo", rows, **changes)
    changes = {"data.max_prompt_length": 255}
    with pytest.raises(ConfigError, match="prompt_length must hold the 256 tokens"):
        sampled(monkeypatch, model, policy, "reason_env/grpo", rows, **changes)
    foreign = [{**rows[0], "extra_info": {"index": 0}}]
    with pytest.raises(ConfigError, match="extra_info must hold env and state, got"):
        sampled(monkeypatch, model, policy, "reason_env/grpo", foreign)


def test_rows_of_other_agent_loops_are_refused_by_the_loss(verl):
    from verl.trainer.ppo.core_algos import get_policy_loss_fn

    one = torch.zeros(1, 2)
    with pytest.raises(ConfigError, match="must get rows of the agent loop 'reason_env'"):
        get_policy_loss_fn("reason_env/grpo")(
            old_log_prob=one, log_prob=one, advantages=one, response_mask=one
        )


def test_a_grader_that_failed_is_counted(verl, monkeypatch, model):
    reward = importlib.import_module("reason_env.agents.integrations.verl.reward")
    failed = Verdict(Outcome.TIMEOUT, "1", "10 s")
    monkeypatch.setattr(reward, "grade", lambda *_: failed)
    (row,) = rows_of(model, size=1)
    found = verl.compute_score("chain", "#### 1", "1", row["extra_info"])
    assert found == {"score": 0.0, "acc": 0.0, "undecided": 1.0}


def test_verl_finds_the_reward_function_by_the_page_s_path(verl, model):
    from verl.trainer.ppo.reward import get_custom_reward_fn

    path = "pkg://reason_env.agents.integrations.verl"
    config = settings(model, **{"reward.custom_reward_function.path": path})
    (row,) = rows_of(model, size=1)
    answer = json.loads(row["extra_info"]["state"])["problem"]["answer"]
    found = get_custom_reward_fn(config)(
        data_source="chain", solution_str=f"#### {answer}", ground_truth=answer,
        extra_info=row["extra_info"],
    )  # fmt: skip
    assert found["score"] == 1.0


def test_the_channel_keeps_log_probabilities_and_numbers(verl):
    losses = importlib.import_module("reason_env.agents.integrations.verl.losses")
    values = [0.0, -1e-12, -0.3333333, -1023.9, 5e-4]
    for number in (0, 1, 5):
        behavior, numbers = losses.unpacked(losses.packed(values, number)[None])
        assert numbers.tolist() == [[number] * 5]
        assert behavior[0].tolist() == pytest.approx([*values[:4], 0.0], abs=1e-11)
    for value in (-1024.0, 0.01, float("nan"), float("-inf")):
        with pytest.raises(ConfigError, match="must lie above -1024 and be at most 0"):
            losses.packed([value], 0)
