import random
import re
from collections import Counter

import pytest
import torch

from reason_env.agents.pretraining import PretrainConfig, pretrain
from reason_env.agents.pretraining.demonstrations import PADDED, DemonstrationConfig, demonstrate
from reason_env.agents.pretraining.formats import (
    CHECK_RATES,
    ERROR_RATES,
    FAMILIES,
    FORMATS,
    SECOND_TRY,
    localise,
)
from reason_env.codec import ByteCodec
from reason_env.errors import ConfigError, TrainingError
from reason_env.problem import Problem
from reason_env.problems.families.family import split_of
from reason_env.state import PromptTemplate, ReasonState, localisation_guidance

CODEC = ByteCodec()
NAMES = sorted(FAMILIES)
PROBLEM = Problem(
    problem_id="chain/test/0",
    question="x=3 y=7 z=1\nA:x+4 B:y*3",
    answer="711",
    solution=("A:3+4 x=7", "B:7*3 y=1"),
)
READING = Problem(
    # x: right 7, from the left 25, from the right -5, sums first 49; modulo ten
    problem_id="precedence/test/0",
    question="x=9-2*3+4 y=1+1 z=1+1",
    answer="722",
    solution=("x=9-6+4", "x=3+4", "x=7", "y=2", "z=2"),
    level=7,
)


def small(**changes):
    arguments = {
        "num_batches": 40, "batch_size": 16, "hidden_size": 32, "num_layers": 1,
        "warmup_batches": 5, "learning_rate": 1e-2,
    }  # fmt: skip
    return PretrainConfig(**(arguments | changes))


def shown(form, family, problem, count):
    rng = random.Random(0)
    return [FORMATS[form](family, problem, rng) for _ in range(count)]


def near(found: int, total: int, share: float) -> bool:
    """Within four standard deviations of a binomial."""
    return abs(found - total * share) < 4 * (total * share * (1 - share)) ** 0.5


def test_a_plain_demonstration_has_the_familys_error_rates_and_some_ramble():
    pairs = shown("plain", "chain", PROBLEM, 1500)
    assert all(guidance == () for guidance, _ in pairs)
    lines = [response.split("\n") for _, response in pairs]
    steps = [[line for line in own if not line.startswith("~")] for own in lines]
    products = [own[1] for own in steps]
    assert all(product.startswith("B:7*3 y=") for product in products)
    # (7+1)*3 ends in 4: the slip, 0.35, and one ninth of the other errors, 0.15.
    assert near(products.count("B:7*3 y=4"), 1500, 0.35 + 0.15 / 9)
    assert near(products.count("B:7*3 y=1"), 1500, 0.5)
    assert near(sum(own[0] != "A:3+4 x=7" for own in steps), 1500, 0.01)
    assert all(own[2] == f"#### {own[0][-1]}{own[1][-1]}1" for own in steps)
    # An aside before each of the two steps with probability 0.6, in 0.12 of the texts.
    rambling = [own for own in lines if any(line.startswith("~") for line in own)]
    assert near(len(rambling), 1500, 0.12 * (1 - 0.4**2))
    asides = [line[1:] for own in rambling for line in own if line.startswith("~")]
    assert all(aside.isascii() and aside.islower() for aside in asides)
    assert {len(aside) for aside in asides} == set(range(2, 10))
    assert not any(own[-2].startswith("~") for own in lines)


def test_an_explanation_of_a_given_answer_is_the_reference():
    guidance, response = FORMATS["answer"]("chain", PROBLEM, random.Random(0))
    assert [(piece.kind, piece.pieces) for piece in guidance] == [("answer", ("711",))]
    assert response == "A:3+4 x=7\nB:7*3 y=1\n#### 711"


def test_a_partial_solution_is_restated_unless_the_prompt_forbids_it():
    counts = Counter()
    for guidance, response in shown("partial_solution", "chain", PROBLEM, 1200):
        pieces = guidance[0].pieces
        assert guidance[0].kind == "partial_solution"
        assert pieces in (("A:3+4 x=7\n",), ("A:3+4 x=7\n", "B:7*3 y=1\n"))
        restated = response.startswith("A:")
        told = [piece.pieces for piece in guidance[1:]]
        assert told in ([], [("Do not restate.",)])
        assert bool(told) != restated
        whole = response if restated else "".join(pieces) + response
        assert whole.startswith("".join(pieces))
        *steps, answer = whole.split("\n")
        assert len(steps) == 2
        assert answer == f"#### {steps[0][-1]}{steps[1][-1]}1"
        counts["restated"] += restated
        counts["both shown"] += len(pieces) == 2
        if len(pieces) == 1:
            counts["one shown"] += 1
            counts["wrong after one"] += steps[1] != "B:7*3 y=1"
    assert near(counts["restated"], 1200, 0.75)
    assert near(counts["both shown"], 1200, 0.5)
    assert near(counts["wrong after one"], counts["one shown"], 0.5)


@pytest.mark.parametrize("name", NAMES)
def test_steps_after_a_shown_prefix_are_noisy_and_the_prefix_is_right(name):
    problem = FAMILIES[name].make("test", size=2, levels=(5, 6))[0]
    rng = random.Random(3)
    shown = 2 if name != "countdown" else 1
    traces = [
        FAMILIES[name].demonstration(problem, rng, ERROR_RATES[name], num_right=shown)
        for _ in range(60)
    ]
    assert all(trace.steps[:shown] == problem.solution[:shown] for trace in traces)
    assert len({trace.steps[shown:] for trace in traces}) > 1
    # A beginning that is the whole solution leaves no room, but for a search's further tries.
    whole = FAMILIES[name].demonstration(
        problem, rng, ERROR_RATES[name], num_right=len(problem.solution)
    )
    assert whole.answer == problem.answer


def test_a_search_that_misses_the_shown_prefix_continues_with_the_reference():
    # Five digits have 120 orders and 24 choices of signs: 200 draws seldom hold this one.
    problem = FAMILIES["countdown"].make("hard", size=1, levels=(10, 10))[0]
    rates = {"give up": 1.0}
    rng = random.Random(0)
    found = [
        FAMILIES["countdown"].demonstration(problem, rng, rates, num_right=4) for _ in range(10)
    ]
    assert all(trace.answer == problem.answer for trace in found)


@pytest.mark.parametrize(("name", "symbols"), [("chain", "*"), ("inverse", "/"), ("unlock", "^")])
def test_padding_adds_only_easy_steps(name, symbols):
    for padding in (1, 4):
        rng = random.Random(padding)
        for level in (2, 6):
            _, plain = FAMILIES[name].draw(level, rng)
            _, padded = PADDED[name](level, rng, padding)
            assert len(padded.steps) == len(plain.steps) + padding
            critical = [sum(s[3] in symbols for s in own.steps) for own in (plain, padded)]
            assert critical[0] == critical[1] > 0


def test_padded_precedence_rows_have_the_stated_mix_of_operations():
    rng = random.Random(0)
    products = [PADDED["precedence"](7, rng, 2)[0].count("*") for _ in range(300)]
    # Ten operations of three kinds, plus two sums of padding.
    assert abs(sum(products) / 300 - 10 / 3) < 0.4
    assert {PADDED["precedence"](7, rng, 2)[0].count("=") for _ in range(3)} == {3}
    assert len(PADDED["precedence"](7, rng, 2)[1].steps) == 12


def test_listed_mistakes_are_wrong_answers_that_the_response_avoids():
    told = Counter()
    for guidance, response in shown("mistakes", "chain", PROBLEM, 400):
        answer = response.rpartition("#### ")[2]
        kinds = [piece.kind for piece in guidance]
        assert kinds in ([], ["mistakes"], ["instruction"], ["mistakes", "instruction"])
        for piece in guidance:
            if piece.kind == "instruction":
                assert piece.pieces == ("Be concise.",)
                told["concise"] += 1
                continue
            assert 1 <= len(piece.pieces) <= 8
            assert len(set(piece.pieces)) == len(piece.pieces)
            assert "711" not in piece.pieces
            assert answer not in piece.pieces
            told["mistakes"] += 1
    assert near(told["concise"], 400, 0.2)
    # None is listed where all of the 1 to 8 drawn attempts (0.495 right) are right.
    empty = sum((0.5 * 0.99) ** count for count in range(1, 9)) / 8
    assert near(told["mistakes"], 400, 1 - empty)


def test_a_precedence_demonstration_avoids_the_readings_of_listed_mistakes():
    counts = Counter()
    listed = Counter()
    for guidance, response in shown("mistakes", "precedence", READING, 600):
        wrong = {text for piece in guidance if piece.kind == "mistakes" for text in piece.pieces}
        listed.update(wrong)
        if wrong == {"522"}:
            counts[response.rpartition("#### ")[2]] += 1
    # From the left 5, from the right 5 (-5 modulo ten), sums first 9, right 7. The first two are
    # listed, so the other two share what is left, 0.25 to 0.25.
    total = sum(counts.values())
    assert listed.most_common(1)[0][0] == "522"
    assert total > 200
    assert near(counts["722"], counts["722"] + counts["922"], 0.5)
    assert counts["722"] + counts["922"] > 0.9 * total
    assert SECOND_TRY["precedence"]["right"] == 0.25


def assert_checked(name, problem, place, text, step):
    """A check holds the reference's result; of an operation, that too, and what the chain says."""
    if name in ("countdown", "late"):
        assert text == ""
        return
    expected = (*problem.solution, problem.answer)[place - 1].rpartition("=")[2]
    text, _, found = text.partition(";")
    operation, _, result = text.rpartition("=")
    assert result == expected
    assert bool(found) == bool(operation)
    assert not found or step.endswith(f"={found}")
    if name in ("chain", "inverse", "unlock") and place <= len(problem.solution):
        assert f":{operation} " in problem.solution[place - 1]
    elif name == "sealed" and place <= len(problem.solution):
        assert problem.solution[place - 1][1:] == f"{operation}={result}"
    elif name == "equation" and place < len(problem.solution):
        assert eval(operation) == int(result)
    else:
        assert operation == ""


@pytest.mark.parametrize("name", NAMES)
def test_a_localisation_checks_each_step_and_boxes_the_first_wrong_one(name):
    problem = FAMILIES[name].make("test", size=3, levels=(2, 4))[1]
    with_answer = 0
    for guidance, response in shown("localise", name, problem, 150):
        *before, piece = guidance
        with_answer += bool(before)
        assert [(own.kind, own.pieces) for own in before] in ([], [("answer", (problem.answer,))])
        asked = ReasonState(problem=problem, codec=ByteCodec()).with_guidance(piece)
        *lines, question, _ = PromptTemplate().guidance_text(asked).split("\n")
        assert question == "First wrong step?"
        steps = [line.partition(" ")[2] for line in lines]
        assert [line.partition(" ")[0] for line in lines] == [
            str(index) for index in range(1, len(steps) + 1)
        ]
        wrong = FAMILIES[name].first_wrong_step(problem, steps)
        places = list(range(1, wrong + 1))
        found = re.findall(r"(?:^| )(\d+)(?::(\S+?))?([-+])(?= )", response)
        assert [int(place) for place, _, _ in found] == places
        assert [sign for _, _, sign in found] == ["+"] * (wrong - 1) + ["-"]
        assert response.endswith(f"{found[-1][1]}- \\boxed{{{wrong}}}")
        for place, text, _ in found:
            assert_checked(name, problem, int(place), text, steps[int(place) - 1])
    assert near(with_answer, 150, 0.1)


def test_localisations_have_the_documented_format():
    responses = {response for _, response in shown("localise", "chain", PROBLEM, 40)}
    assert (
        responses
        == {
            *(rf"1:3+4=7;{digit}- \boxed{{1}}" for digit in "012345689"),
            *(rf"1:3+4=7;7+ 2:7*3=1;{digit}- \boxed{{2}}" for digit in "023456789"),
        }
        & responses
    )
    assert {len(response) for response in responses} == {20, 31}
    rng = random.Random(0)
    results = {localise("chain", PROBLEM, rng, "results")[1] for _ in range(40)}
    assert results == {r"1:7- \boxed{1}", r"1:7+ 2:1- \boxed{2}"}


def test_the_checks_setting_decides_whether_a_localisation_writes_operations():
    rng, prompt = random.Random(4), PromptTemplate()
    for checks, has_operation in (("results", False), ("operations", True)):
        config = DemonstrationConfig(
            families={"chain": 1.0}, formats={"localise": 1.0}, checks=checks
        )
        text = CODEC.decode(demonstrate(config, codec=CODEC, prompt=prompt, rng=rng).response_ids)
        assert ("=" in text) == has_operation


def test_the_question_for_the_wrong_step_numbers_the_steps():
    state = ReasonState(problem=PROBLEM, codec=CODEC)
    state = state.with_guidance(localisation_guidance(("A:3+4 x=7\n", "#### 700")))
    text = PromptTemplate().guidance_text(state)
    assert text == "1 A:3+4 x=7\n2 #### 700\nFirst wrong step?\n"


def test_a_concise_demonstration_never_rambles():
    for guidance, response in shown("concise", "chain", PROBLEM, 200):
        assert [(piece.kind, piece.pieces) for piece in guidance] == [
            ("instruction", ("Be concise.",))
        ]
        assert response.count("\n") == 2
        assert "~" not in response


def test_every_family_has_error_rates_and_every_format_a_share():
    assert set(ERROR_RATES) == set(CHECK_RATES) == set(FAMILIES)
    assert set(SECOND_TRY) == {"precedence", "opposed"}
    config = DemonstrationConfig()
    assert set(config.families) == set(config.highest_level)
    assert set(FAMILIES) - set(config.families) == {"late", "sealed", "opposed"}
    assert set(config.formats) == set(FORMATS)


@pytest.mark.parametrize("name", NAMES)
def test_demonstrations_never_hold_a_question_of_another_split(name):
    rng, prompt = random.Random(1), PromptTemplate()
    config = DemonstrationConfig(
        families={name: 1.0}, highest_level={name: 3}, formats={"plain": 0.5, "answer": 0.5}
    )
    kinds = Counter()
    for _ in range(60):
        text = demonstrate(config, codec=CODEC, prompt=prompt, rng=rng)
        body, answered, rest = CODEC.decode(text.prompt_ids).partition("\nAnswer: ")
        question = body if answered else body.removesuffix("\n>")
        assert split_of(question) == "train"
        assert (rest == "") or rest.endswith("\n>")
        assert text.response_ids[-1] == CODEC.eos_id
        assert CODEC.eos_id not in text.response_ids[:-1]
        kinds[answered] += 1
    assert min(kinds.values()) > 12


def test_the_highest_level_rises_with_progress_from_level_two():
    rng, prompt = random.Random(2), PromptTemplate()
    config = DemonstrationConfig(
        families={"chain": 1.0}, highest_level={"chain": 12}, formats={"concise": 1.0}
    )
    for progress, highest in ((0.0, 2), (0.5, 7), (1.0, 12)):
        levels = Counter()
        for _ in range(300):
            text = demonstrate(config, codec=CODEC, prompt=prompt, rng=rng, progress=progress)
            levels[CODEC.decode(text.response_ids[:-1]).count("\n")] += 1
        # Padded problems, 1 to 5 steps longer, come when every level is open: one in five.
        padded = [13, 14, 15, 16, 17] if progress == 1.0 else []
        assert set(levels) == {*range(1, highest + 1), *padded}
        assert not padded or near(sum(levels[length] for length in padded), 300, 0.2)


def test_families_and_formats_occur_with_their_configured_shares():
    rng, prompt = random.Random(3), PromptTemplate()
    config = DemonstrationConfig(
        families={"chain": 0.25, "equation": 0.75},
        highest_level={"chain": 2, "equation": 2},
        formats={"answer": 0.3, "concise": 0.7},
    )
    texts = [
        CODEC.decode(demonstrate(config, codec=CODEC, prompt=prompt, rng=rng).prompt_ids)
        for _ in range(600)
    ]
    assert near(sum("y=" in text for text in texts), 600, 0.25)
    assert near(sum("Answer: " in text for text in texts), 600, 0.3)


def test_pretraining_lowers_the_loss_and_depends_on_the_seed_alone():
    losses: dict[str, list[float]] = {}
    models = {}
    for name, seed, batches in (("a", 0, 40), ("b", 0, 40), ("c", 1, 3)):
        losses[name] = []
        models[name] = pretrain(
            small(seed=seed, num_batches=batches),
            on_batch=lambda done, loss, own=losses[name]: own.append(loss),
        )
    assert sum(losses["a"][-5:]) < 0.6 * sum(losses["a"][:5])
    a, b, c = (dict(models[name].named_parameters()) for name in "abc")
    assert all(torch.equal(value, b[key]) for key, value in a.items())
    assert not all(torch.equal(value, c[key]) for key, value in a.items())


def test_pretraining_can_start_from_a_saved_model(tmp_path):
    first = pretrain(small(num_batches=2))
    first.save_pretrained(tmp_path)
    for batches, learning_rate, changes in ((1, 0.0, False), (3, 1e-3, True)):
        found = pretrain(
            small(init=str(tmp_path), num_batches=batches, learning_rate=learning_rate)
        )
        same = all(
            torch.equal(value, dict(found.named_parameters())[key])
            for key, value in first.named_parameters()
        )
        assert same != changes


def test_matrix_products_in_bfloat16_train_nearly_the_same():
    losses: dict[bool, list[float]] = {}
    for bf16 in (True, False):
        losses[bf16] = []
        pretrain(
            small(num_batches=20, bf16=bf16),
            on_batch=lambda done, loss, own=losses[bf16]: own.append(loss),
        )
    assert losses[True] != losses[False]
    assert losses[True] == pytest.approx(losses[False], rel=0.02)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_batches": 0}, "num_batches must be at least 1, got 0"),
        (
            {"init": "nowhere"},
            r"init must be a directory with a model \(config.json\), or 'base', got 'now",
        ),
        ({"hidden_size": 30, "num_heads": 4}, "hidden_size must be a multiple of num_heads"),
    ],
)
def test_bad_settings_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        small(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"families": {"chain": 0.6, "inverse": 0.5}}, "^shares must sum to 1, none below 0, got"),
        ({"families": {"chain": 1.5, "inverse": -0.5}}, "^shares must sum to 1, none below 0, got"),
        ({"formats": {"plain": 0.9}}, "^shares must sum to 1, none below 0, got"),
        ({"families": {}}, "^shares must sum to 1, none below 0, got"),
        ({"families": {"chian": 1.0}}, "^families must be among .*, got .'chian'.$"),
        ({"highest_level": {"chian": 3}}, "^highest_level must be among .*, got .'chian'.$"),
        ({"highest_level": {"chain": 3}}, "^highest_level must name every family, missing .'count"),
        ({"formats": {"plian": 1.0}}, "^formats must be among .*, got .'plian'.$"),
        ({"padding": {"chian": 1}}, "^padding must be among .*, got 'chian'$"),
        (
            {"padding": {"chain": 0}},
            r"^padding of 'chain' must be within 1\.\.14, got 0",
        ),
        ({"padding": {"unlock": 14}}, r"^padding of 'unlock' must be within 1\.\.13, got 14"),
        (
            {"families": {"unlock": 1.0}, "highest_level": {"unlock": 11}},
            r"^highest_level of 'unlock' must be within 1\.\.10, got 11$",
        ),
        (
            {"families": {"chain": 1.0}, "highest_level": {"chain": 0}},
            r"^highest_level of 'chain' must be within 1\.\.26, got 0$",
        ),
    ],
)
def test_impossible_mixtures_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        DemonstrationConfig(**changes)


def test_a_loss_that_is_not_finite_stops_the_training_and_names_its_batch():
    with pytest.raises(TrainingError, match=r"the loss must be finite, got nan in batch [23]; low"):
        pretrain(small(num_batches=3, learning_rate=1e30))
