import pytest

from reason_env.verdict import Outcome
from reason_env.verify import grade, is_gradable

EQUAL = [
    # expressions
    ("x^2+2x+1", "(x+1)^2"),
    ("(x-2)(x+3)", "x^2+x-6"),
    (r"\frac{x}{7}+\frac{2}{7}", r"\frac{x+2}{7}"),
    (r"1+\tan^2 x", r"\sec^2 x"),
    (r"2\sin x\cos x", r"\sin(2x)"),
    (r"\ln 8", r"3\ln 2"),
    (r"\frac{1}{\sqrt[3]{4}}", "2^{-2/3}"),
    (r"\frac{10\sqrt{10.5}}{27}", r"\frac{5\sqrt{42}}{27}"),
    ("sqrt(8)", r"2\sqrt{2}"),
    ("pi/6", r"\frac{\pi}{6}"),
    (r"e^{i\pi}+x", "x-1"),
    (r"\frac{\sqrt{5}-1}{2}", r"\frac{-1+\sqrt{5}}{2}"),
    (r"n!\,(n+1)", "(n+1)!"),
    (r"\binom{n}{2}", r"\frac{n(n-1)}{2}"),
    (r"\int_0^1 t^2\,dt", r"\int_0^1 x^2\,dx"),
    (r"\frac{n(n+1)}{2}", r"\sum_{k=1}^n k"),
    # numbers
    (r"0.1\overline{6}", r"\frac16"),
    ("0.(3)", r"\frac13"),
    ("3.1e5", "310000"),
    (r"2 \times 10^{-10}", "2 * 10^(-10)"),
    (r"6\frac{1}{64}", r"\frac{385}{64}"),
    ("6 1/2", "6.5"),
    (r"\frac{3}{3}", "1"),
    # lists, tuples, sets
    ("3, 2, 1", "1,2,3"),
    (r"\{1,2\}", "2, 1"),
    (r"1 \text{ and } 3", "3 and 1"),
    (r"1 \pm \sqrt{19}", r"1-\sqrt{19}, 1+\sqrt{19}"),
    (r"(\pm 1, 2)", "(1,2),(-1,2)"),
    ("(p,q)=(3,2)", "(3,2)"),
    ("(5,2),(7,2)", "p=5,q=2;p=7,q=2"),
    ("x=1, y=2", "y=2, x=1"),
    ("2, -1, -18", "a=2, h=-1, k=-18"),
    # intervals and inequalities
    (r"(-\infty, 5)", "x<5"),
    ("5 > x", "x < 5"),
    ("-x > -1", "x < 1"),
    (r"x \in [-2,7]", r"-2 \le x \le 7"),
    (r"\{x \mid -1 < x < 1\}", "(-1,1)"),
    (r"x \ne 2", r"(-\infty,2)\cup(2,\infty)"),
    (r"(2,3)\cup(0,1)", r"(0,1)\cup(2,3)"),
    (r"1\le |z| \le 2", r"[-2,-1]\cup[1,2]"),
    (r"a \le -2 \text{ or } a = 1", r"(-\infty,-2]\cup\{1\}"),
    # equations
    ("y=2x+1", "2x-y+1=0"),
    ("-x-y=-3", "x+y=3"),
    (r"\frac{6}{x}", "xy=6"),
    ("2x+1", "y=2x+1"),
    ("f(m)=2m+1", "f(n)=2n+1"),
    ("x=3", "3"),
    ("3 = x", "3"),
    # matrices
    (r"\begin{bmatrix}1&2\\3&4\end{bmatrix}", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"),
    ("(-7,16,5)", r"\begin{pmatrix}-7\\16\\5\end{pmatrix}"),
    (r"2\begin{pmatrix}1&0\\0&1\end{pmatrix}", r"\begin{pmatrix}2&0\\0&2\end{pmatrix}"),
    # units, angles, ratios, words, choices
    (r"100\text{ cm}", r"1\text{ m}"),
    (r"15", r"15\text{ cm}^2"),
    (r"2 \text{ hours}", r"120\text{ minutes}"),
    (r"30^\circ", r"\frac{\pi}{6}"),
    ("45", r"45^\circ"),
    (r"60^\circ 30'", r"60.5^\circ"),
    ("14:6", "7:3"),
    (r"\frac{5}{8}", "5:8"),
    (r"\text{no solution}", r"\text{no solutions}"),
    ("odd", r"\text{Odd}"),
    ("(C)", r"\text{C}"),
    ("204_5", "204_5"),
    (r"\frac{27}{59}", "0.458"),
    ("0.0833333333333333", r"\frac{1}{12}"),
    ("the answer is 12", "12"),
    (r"n=2k, k \in \mathbb{Z}", "n=2k"),
    (r"x > 1 \text{ and } x < 3", "(1,3)"),
    (r"\frac{1}{3x^{2/3}}", r"\frac{1}{3\sqrt[3]{x}^2}"),
    ("-x-y > -3", "x+y < 3"),
    (r"10000\text{ cm}^2", r"1\text{ m}^2"),
    ("2 hours 30 minutes", "150 minutes"),
    ("3:30 p.m.", "3:30 PM"),
    (r"\textbf{(B) } 5", "B"),
    (r"\emptyset", r"\text{no solution}"),
    (r"\text{all real numbers}", r"\mathbb{R}"),
    (r"\$5 \text{ million}", "5000000"),
    ("1,000,000", "10^6"),
    (r"f^{-1}(x)=\frac{x-1}{2}", r"\frac{x-1}{2}"),
    (r"\overline{AB}", "AB"),
    ("9.8 m/s^2", "9.8"),
    (r"\{2\pi n \mid n \in \mathbb{Z}\}", r"2\pi k"),
    ("x \\bmod 3", "x \\mod 3"),
    (r"\frac{(n+1)!}{n!}", "n+1"),
    (r"\sqrt{-4}", r"2\sqrt{-1}"),
    ("3 > x > 1", "(1,3)"),
    ("|x| < 2", "(-2,2)"),
    (r"x \ge 5", r"[5,\infty)"),
    (r"(-\infty,1) \text{ or } \{3\}", r"(-\infty,1)\cup\{3\}"),
    ("x < = 5", r"x \le 5"),
    (r"2 \cdot 3^{1/2}", r"2\sqrt{3}"),
]

UNEQUAL = [
    ("2, -18, -1", "a=2, h=-1, k=-18"),
    ("14:64", "7:32"),
    ("x^2+2x-1", "(x+1)^2"),
    (r"\sqrt{x^2}", "x"),
    ("|x|", "x"),
    ("x+10^{-30}", "x"),
    ("e^{\\pi\\sqrt{163}}", "262537412640768744"),
    (r"\sqrt[3]{2}", r"\sqrt{2}"),
    (r"\frac{e}{\pi}+x", "x+1"),
    ("0.458", r"\frac{27}{59}"),
    ("0.33", r"\frac13"),
    ("5.001", "5"),
    ("50", r"50\%"),
    ("1, 2", "1, 2, 3"),
    ("1, 2, 3, 4", "1, 2, 3"),
    ("(2, 1)", "(1, 2)"),
    ("1, 1", "1, 2"),
    ("[0,1]", "(0,1)"),
    ("(0,1)", "(0,1]"),
    ("x > 5", "x < 5"),
    ("y < 5", "x < 5"),
    (r"x \le 5", "x < 5"),
    ("y=2x+2", "y=2x+1"),
    ("0", "a+3z=0"),
    ("1", "2x+z=1"),
    ("g(n)=2n", "f(n)=2n"),
    ("y=3", "x=3"),
    (r"\begin{pmatrix}1&2\\3&5\end{pmatrix}", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"),
    (r"\begin{pmatrix}1&2&3&4\end{pmatrix}", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"),
    (r"1\text{ cm}", r"1\text{ m}"),
    (r"1\text{ kg}", r"1\text{ m}"),
    ("30", r"\frac{\pi}{6}"),
    ("1:00", "12:00"),
    ("204_6", "204_5"),
    (r"\text{oddd}", "odd"),
    ("D", "C"),
    (r"\text{the}", r"\text{Petya gets the last token}"),
    ("2C", "2c+1"),
    ("x", "n"),
    (r"\int_0^1 t^3\,dt", r"\int_0^1 x^2\,dx"),
    (r"\pm 5", "5"),
    ("5", r"\pm 5"),
    (r"\tan x", r"\sin x"),
    ("3:30 AM", "3:30 PM"),
    (r"7 \approx 8", "7"),
    (r"\{x \mid x \ge 1, x > 1\}", r"[1, \infty)"),
    ("0.4576", "0.458"),
    (r"\frac{23}{50}", "0.458"),
    ("-x-y < -3", "x+y < 3"),
    (r"100\text{ cm}^2", r"1\text{ m}^2"),
    (r"\begin{pmatrix}1&2\end{pmatrix}\begin{pmatrix}1&2\end{pmatrix}", "5"),
    ("x-3", "x+y=3"),
    (r"\{1,2\}", "(1,2)"),
    ("(1,2)", r"\{1,2\}"),
    ("f^{-1}(x)=x", "f(x)=x"),
    (r"\text{(A) 5 (B) 6}", "B"),
    ("x+x(x-1)(x-5) > 0", "x > 0"),
    (r"x<1 \text{ or } y>2", r"(-\infty,1)\cup(2,\infty)"),
    (r"x \ge 5", r"(5,\infty)"),
    ("(7]", "7"),
    (", ".join(str(n) for n in range(300)), ", ".join(str(n + (n == 299)) for n in range(300))),
]


@pytest.mark.parametrize(("response", "reference"), EQUAL)
def test_an_answer_in_another_form_is_correct(response: str, reference: str) -> None:
    assert grade(f"\\boxed{{{response}}}", reference).outcome is Outcome.CORRECT


@pytest.mark.parametrize(("response", "reference"), UNEQUAL)
def test_another_answer_is_incorrect(response: str, reference: str) -> None:
    assert grade(f"\\boxed{{{response}}}", reference).outcome is Outcome.INCORRECT


@pytest.mark.parametrize("reference", [gold for _, gold in EQUAL + UNEQUAL])
def test_every_reference_grades_itself(reference: str) -> None:
    assert is_gradable(reference)


@pytest.mark.parametrize(
    "reference",
    [
        "(",
        "()",
        "-",
        "^",
        r"\frac{}{2}",
        r"\sqrt",
        r"\sin^2",
        "||x|",
        r"\lfloor x",
        r"a\%",
        "7\u200b",
    ],
)
def test_a_malformed_reference_is_not_gradable(reference: str) -> None:
    assert not is_gradable(reference)


def test_a_reference_with_unknown_commands_grades_by_its_text_or_in_the_worker() -> None:
    assert is_gradable(r"\mho(x) \bowtie 3")
    assert not grade(r"\boxed{\mho(x) \bowtie 4}", r"\mho(x) \bowtie 3").is_correct


@pytest.mark.parametrize(
    ("response", "reference"),
    [
        (r"17 \times 23", "391"),
        (r"\sum_{k=1}^{100}k", "5050"),
        ("1=2=3=7", "7"),
        ("x=1=2=3=7", "7"),
        ("A or B or C", "B"),
        (r"\log_2 8", "3"),
        ("5!", "120"),
        ("(3+4, 2)", "(7, 2)"),
        ("99999999^{99999999}", "42"),
        (r"\frac{1}{0}", "42"),
        ("2^{3^2}", "512"),
        (r"\frac{1}{0}", r"\frac{2}{0}"),
        (r"\frac{14}{\frac{4}{2}}", "7"),
        ("e^0", "1"),
        (r"12345 \cdot 10^1", "123450"),
        (r"3.5 \cdot 2^3", "28"),
    ],
)
def test_a_restated_problem_is_not_its_answer(response: str, reference: str) -> None:
    assert grade(f"\\boxed{{{response}}}", reference).outcome is Outcome.INCORRECT


@pytest.mark.parametrize(
    ("response", "reference"),
    [("x = 3+4 = 7", "7"), ("3+4=7", "7"), ("1+1", "1+1"), (r"2^{10}", "1024"), ("10/2", "5")],
)
def test_work_before_the_answer_and_usual_forms_are_accepted(response: str, reference: str) -> None:
    assert grade(f"\\boxed{{{response}}}", reference).outcome is Outcome.CORRECT


def test_work_beyond_the_budget_is_a_timeout_and_not_incorrect() -> None:
    verdict = grade(r"\boxed{x + 9^{9^{9^9}}}", r"x + 9^{9^{9^8}}")
    assert verdict.outcome is Outcome.TIMEOUT
