"""TRL's own trainer around the rollouts."""

import importlib
import re
from pathlib import Path
from types import SimpleNamespace

import gymnasium as gym
import pytest
import torch

import reason_env  # noqa: F401 - registers the ids
from reason_env.agents.policy import LanguageModelPolicy
from reason_env.codec import ByteCodec
from reason_env.env import reason_env_of
from reason_env.errors import ConfigError
from reason_env.state import steps_of_fraction
from reason_env.wrappers import Curriculum, PrefixRollin

pytestmark = [
    pytest.mark.interop,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
PAGE = Path(__file__).parents[2] / "docs" / "trl.md"
NUM_GENERATIONS = 8
NUM_ROWS = 16


@pytest.fixture(scope="module")
def module():
    return importlib.import_module("reason_env.agents.integrations.trl")


@pytest.fixture(scope="module")
def trl():
    return importlib.import_module("trl")


def stack(codec, *, fraction=0.25, **changes):
    env = gym.make(
        "MathReason-v0",
        **{
            "problems": "chain", "size": 8, "levels": (8, 8), "max_tokens": 160,
            "granularity": "response", "format": "tokens", "codec": codec,
        } | changes,
    )  # fmt: skip
    return PrefixRollin(env, fraction=(fraction, fraction))


def settings(trl, folder, **changes):
    own = {
        "output_dir": str(folder), "use_cpu": True, "bf16": False, "gradient_checkpointing": False,
        "per_device_train_batch_size": NUM_ROWS, "num_generations": NUM_GENERATIONS, "beta": 0.0,
        "max_completion_length": 160, "max_steps": 1, "logging_steps": 1, "save_strategy": "no",
        "report_to": "none", "disable_tqdm": True, "seed": 3,
        # A step whose result can be computed: weights less rate times gradient.
        "optim": "sgd", "learning_rate": 0.5, "lr_scheduler_type": "constant",
        "max_grad_norm": 1e9, "loss_type": "dapo", "scale_rewards": "none",
    }  # fmt: skip
    return trl.GRPOConfig(**own | changes)


def trained(module, trl, folder, *, policy=None, env=None, **changes):
    """Train a step; give the trainer, what its rollouts returned, and the policy."""
    policy = policy or LanguageModelPolicy.load("base")
    args = settings(trl, folder, **changes)
    arguments = module.trainer_arguments(env or stack(policy.codec), policy.codec, args)
    outputs = []
    rollout = arguments["rollout_func"]

    def noted(prompts, trainer):
        outputs.append({"prompts": list(prompts), **rollout(prompts, trainer)})
        return {key: value for key, value in outputs[-1].items() if key != "prompts"}

    trainer = trl.GRPOTrainer(policy.model, args=args, **arguments | {"rollout_func": noted})
    trainer.train()
    return trainer, outputs, policy


def gradient_of(model, found, masks):
    """Compute the gradient of the mean over masked tokens of -(r - mean of the group) log pi."""
    returns = torch.tensor(found["episode_return"]).view(-1, NUM_GENERATIONS)
    advantages = (returns - returns.mean(dim=1, keepdim=True)).flatten()
    total = torch.zeros(())
    rows = zip(found["prompt_ids"], found["completion_ids"], masks, advantages, strict=True)
    for prompt, completion, mask, advantage in rows:
        ids = torch.tensor([prompt + completion])
        log_probs = model(ids).logits[0].log_softmax(dim=-1)
        own = log_probs[len(prompt) - 1 : -1].gather(1, torch.tensor(completion)[:, None])[:, 0]
        total = total - advantage * (own * torch.tensor(mask)).sum()
    model.zero_grad()
    (total / sum(map(sum, masks))).backward()
    return torch.cat([weight.grad.flatten() for weight in model.parameters()])


def test_a_step_of_trl_trains_the_sampled_tokens_of_a_response_and_no_prefix(module, trl, tmp_path):
    _, (found,), policy = trained(module, trl, tmp_path)
    fresh = LanguageModelPolicy.load("base").model
    before, after = (
        torch.cat([weight.detach().flatten() for weight in model.parameters()])
        for model in (fresh, policy.model)
    )
    moved = (before - after) / 0.5
    expected = gradient_of(fresh, found, found["env_mask"])
    assert float(expected.norm()) > 0.02
    assert float((moved - expected).norm()) < 1e-3 * float(expected.norm())
    # Prefixes have weight: with them the step is another one.
    whole = gradient_of(fresh, found, [[1] * len(mask) for mask in found["env_mask"]])
    assert float((moved - whole).norm()) > 0.1 * float(expected.norm())


def test_completions_of_a_problem_begin_in_one_state_and_its_prefix_is_masked(
    module, trl, tmp_path
):
    trainer, (found,), policy = trained(module, trl, tmp_path)
    problems = {own.problem_id: own for own in reason_env_of(stack(policy.codec)).problems}
    assert len(found["prompts"]) == NUM_ROWS
    for at in range(0, NUM_ROWS, NUM_GENERATIONS):
        rows = range(at, at + NUM_GENERATIONS)
        (name,) = {found["prompts"][row] for row in rows}
        steps = problems[name].solution
        given = steps[: steps_of_fraction(0.25, len(steps))]
        prefix = list(policy.codec.encode("".join(f"{own}\n" for own in given)))
        assert prefix
        for row in rows:
            completion, mask = found["completion_ids"][row], found["env_mask"][row]
            assert completion[: len(prefix)] == prefix
            assert mask[: len(prefix)] == [0] * len(prefix)
            assert mask[len(prefix)] == 1
            assert len(completion) == len(mask)
            pairs = list(zip(found["logprobs"][row], mask, strict=True))
            assert all(number == 0 for number, own in pairs if not own)
            assert min(number for number, own in pairs if own) < 0
    assert len(set(map(tuple, found["completion_ids"]))) > NUM_ROWS / NUM_GENERATIONS
    log = trainer.state.log_history[0]
    assert log["reward"] == pytest.approx(sum(found["episode_return"]) / NUM_ROWS)
    assert log["success"] == pytest.approx(sum(found["is_success"]) / NUM_ROWS)
    assert log["completions/mean_length"] == pytest.approx(
        sum(map(sum, found["env_mask"])) / NUM_ROWS
    )


def test_a_later_step_draws_other_starts_and_an_equal_run_the_same(module, trl, tmp_path):
    runs = []
    for name in ("a", "b"):
        policy = LanguageModelPolicy.load("base")
        env = PrefixRollin(stack(policy.codec, fraction=0.0).env, fraction=(0.0, 0.9))
        _, outputs, _ = trained(
            module, trl, tmp_path / name, policy=policy, env=env, max_steps=2,
            per_device_train_batch_size=NUM_GENERATIONS,
        )  # fmt: skip
        runs.append(outputs)
    assert runs[0] == runs[1]
    first, second = runs[0]
    assert first["completion_ids"] != second["completion_ids"]
    lengths = {mask.index(1) for own in runs[0] for mask in own["env_mask"]}
    assert len(lengths) > 1


class Process:
    """What the rollouts read of a trainer, in one of several processes."""

    def __init__(self, model, index, way="MULTI_CPU"):
        self.accelerator = SimpleNamespace(
            unwrap_model=lambda model: model,
            device=torch.device("cpu"),
            process_index=index,
            distributed_type=SimpleNamespace(name=way),
        )
        self.state = SimpleNamespace(global_step=5)
        self.model = model


def test_parts_of_a_group_on_two_processes_begin_in_one_state_and_differ(module, trl, tmp_path):
    policy = LanguageModelPolicy.load("base")
    env = PrefixRollin(stack(policy.codec).env, fraction=(0.0, 0.9))
    ids = [problem.problem_id for problem in reason_env_of(env).problems]
    args = settings(trl, tmp_path)
    rollouts = [module.Rollout(env, policy.codec, args, seed=1) for _ in range(2)]
    # The problem has another place in each process.
    prompts = ([ids[1]] * 3, [ids[0], *[ids[1]] * 3])
    first, second = (
        rollout(own, Process(policy.model, index))
        for index, (rollout, own) in enumerate(zip(rollouts, prompts, strict=True))
    )
    begins = [mask.index(1) for mask in (*first["env_mask"], *second["env_mask"][1:])]
    assert len(set(begins)) == 1
    rows = [*first["completion_ids"], *second["completion_ids"][1:]]
    assert len({tuple(row[: begins[0]]) for row in rows}) == 1
    assert first["logprobs"] != second["logprobs"][1:]


def test_a_trainer_without_all_weights_is_refused(module, trl, tmp_path):
    policy = LanguageModelPolicy.load("base")
    env = stack(policy.codec)
    rollout = module.Rollout(env, policy.codec, settings(trl, tmp_path), seed=1)
    with pytest.raises(ConfigError, match="every process must have all weights, got FSDP"):
        rollout(["chain/train/0"], Process(policy.model, 0, way="FSDP"))
    policy.model.peft_config = {}
    with pytest.raises(ConfigError, match="must train all weights, got an adapter"):
        rollout(["chain/train/0"], Process(policy.model, 0))


def test_the_tokenizer_of_the_built_in_codec_decodes_as_the_codec_does(module):
    codec = ByteCodec()
    text = "x=\u221a2, 12*3=36\n"
    ids = [*codec.encode(text), codec.eos_id]
    tokenizer = module.tokenizer_of(codec)
    assert tokenizer.batch_decode([ids], skip_special_tokens=True) == [codec.decode(ids)] == [text]
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (codec.pad_id, codec.eos_id)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"min_p": 0.1}, r"min_p must be None, got 0.1; give temperature"),
        ({"repetition_penalty": 1.1}, r"repetition_penalty must be 1.0, got 1.1"),
        ({"generation_kwargs": {"min_new_tokens": 3}}, r"generation_kwargs must be None, got"),
        ({"mask_truncated_completions": True}, r"mask_truncated_completions must be False"),
        ({"max_completion_length": 159}, r"must hold the environment's 160 tokens .*, got 159"),
    ],
)
def test_settings_that_would_train_other_tokens_are_refused(
    module, trl, tmp_path, changes, message
):
    codec = ByteCodec()
    with pytest.raises(ConfigError, match=message):
        module.trainer_arguments(stack(codec), codec, settings(trl, tmp_path, **changes))


def test_a_stack_that_does_not_fit_is_refused(module, trl, tmp_path):
    args = settings(trl, tmp_path)
    with pytest.raises(ConfigError, match="env and codec must agree, got"):
        module.trainer_arguments(stack(ByteCodec()), ByteCodec("\n\n"), args)
    env = Curriculum(stack(ByteCodec()).env)
    with pytest.raises(ConfigError, match="must leave the choice of problems to TRL"):
        module.trainer_arguments(env, ByteCodec(), args)


def test_the_example_of_the_page_runs(module, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]
    names = {}
    exec(compile(code, "docs/trl.md", "exec"), names)
    capsys.readouterr()
    steps = [row["step"] for row in names["trainer"].state.log_history if "reward" in row]
    assert steps == [1, 2, 3]
