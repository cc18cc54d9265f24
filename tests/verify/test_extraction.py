import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reason_env.verify import GradeOptions, extract_answer


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (r"\boxed{5}", "5"),
        (r"\boxed{3}, no, wait: \boxed{4}", "4"),
        (r"$\boxed{\frac{1}{2}}$.", r"\frac{1}{2}"),
        (r"\fbox{7}", "7"),
        (r"\boxed {7}", "7"),
        (r"\boxed{\{1,2\}}", r"\{1,2\}"),
        (r"\boxed{a \boxed{b} c}", r"a \boxed{b} c"),
        (r"\boxed 7", "7"),
        (r"so \boxed2.", "2"),
        (r"$\boxed {-12.5}$ or \boxed 34", "-12.5, 34"),
        (r"Write \boxed{x}, with \boxed\nfirst: \boxed{3}", "3"),
        ("1+1=2\n#### 2\n", "2"),
        ("#### 1\n#### 719", "719"),
        ("#### 071", "071"),
        ("**#### 18**\r\n", "18"),
        ("#### **18**", "18"),
        (r"\boxed{20}\% of them", "20"),
        (r"\boxed{1} #### 2", "1"),
        ("The final answer is 12. I hope it is correct.", "12"),
        ("Final Answer: 3.5 apples\nmore", "3.5 apples"),
        ("**Final Answer**\n\n42", "42"),
        (r"<think>\boxed{1}</think>\boxed{2}", "2"),
        (r"\boxed{2}<think>\boxed{1}", "2"),
        (r"\boxed{1}</think>\boxed{2}", "2"),
        (r"\boxed{1} and \boxed{2}", "1, 2"),
        (r"\boxed{1} no no no no no \boxed{2}", "2"),
        (r"\boxed{1}\boxed{2}", "2"),
    ],
)
def test_the_answer_that_counts_is_found(response: str, answer: str) -> None:
    assert extract_answer(response) == answer


@pytest.mark.parametrize(
    "response",
    [
        "",
        "The result is 7.",
        r"so x = 7 and \boxed{12",
        r"7 \boxed{}",
        "#### 7\n####",
        r"<think>\boxed{7}</think>",
        r"<think>\boxed{7}",
        r"<think>a</think> b \boxed{7} </think> c",
        "the final answer is",
        "\\boxed seven",
        r"\boxed{5} and later \boxed{7",
    ],
)
def test_text_outside_the_answer_forms_is_not_extracted(response: str) -> None:
    assert extract_answer(response) is None


def test_a_conclusion_counts_only_if_the_options_allow_it() -> None:
    response = "Therefore, the probability is 2/3. <|im_start|>user"

    assert extract_answer(response) is None
    assert extract_answer(response, GradeOptions(conclusion=True)) == "2/3"


@pytest.mark.parametrize(
    "piece",
    [r"\boxed{", "{", "}", "<think>", "</think>", "####", "final answer ", r"\boxed{}", "\\"],
)
def test_extraction_time_grows_linearly(piece: str) -> None:
    # Eight times the text: 8 times the time if linear, 64 times if quadratic.
    assert processor_time(piece * 160_000) < 24 * processor_time(piece * 20_000)


def processor_time(text: str) -> float:
    """The best of five, in seconds."""
    times: list[float] = []
    for _ in range(5):
        start = time.process_time()
        extract_answer(text)
        times.append(time.process_time() - start)
    return min(times)


PIECES = [*"\\{}<>/#1a\n$ ", "\\boxed{", "<think>", "</think>", "####", "final answer", "\ud800"]


@given(st.lists(st.sampled_from(PIECES)))
def test_extraction_never_raises(pieces: list[str]) -> None:
    answer = extract_answer("".join(pieces))
    assert answer is None or answer.strip() == answer != ""


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (r"\boxed{1} and \boxed{2 \boxed{3}}", r"1, 2 \boxed{3}"),
        (r"\boxed{1}" + ", " * 40 + r"\boxed{2}", "2"),
        (rf"\boxed{{1}}, \text{{{'a' * 30}}} \text{{{'a' * 30}}} \boxed{{2}}", "2"),
        ("the final answer is\n7 8\n9", "7 8"),
        ("final answer is 1. final answer is 2", "2"),
        (r"\boxed{1} so not. But \boxed{2}", "2"),
    ],
)
def test_the_end_of_a_list_of_boxes_or_lines_is_found(response: str, answer: str) -> None:
    assert extract_answer(response) == answer


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        (r"\boxed{7", "7"),
        (r"\boxed{50}\%", r"50\%"),
        (r"\boxed{50\%}\%", r"50\%"),
        (r"\boxed{1} or else \boxed{2}", "1, 2"),
        (r"\boxed{7\} and more", "7"),
        (r"\boxed{\frac{1\} 2", r"\frac{1\} 2"),
    ],
)
def test_a_reference_is_read_with_more_patience(reference: str, answer: str) -> None:
    assert extract_answer(reference, is_reference=True) == answer
