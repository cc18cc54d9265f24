"""The page of a probe: its numbers, hostile text, and a narrow window in Debian's Chromium."""

import re
import shutil

import pytest

from reason_env.agents.probe import Figure, GateResult, Judgement, ProbeReport, Section, page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
HOSTILE = '</style><script>window.pwned=1</script><img src=x onerror="window.pwned=1">'


def report(text="chain"):
    figures = (
        Figure(name="success/pass_at_1", label="pass@1", estimate=0.25, low=0.125, high=0.375,
               num_problems=12),
        Figure(name="guided/gain", label="gain", unit="difference", estimate=-0.5, low=-0.75,
               high=-0.25, num_problems=9),
        Figure(name="speed/sampled", label="sampling", estimate=1234.5, unit="tokens/s"),
    )  # fmt: skip
    gate = GateResult(rule=f"a rule {text}", status="holds", evidence=text, reason="because")
    fails = GateResult(rule="another", status="does not hold", evidence="x: 0.1", reason="because")
    return ProbeReport(
        model=f"model {text}",
        problems=text,
        num_problems=80,
        group_size=8,
        problems_per_iteration=32,
        seed=3,
        minutes=4.56,
        sampled_tokens=98_765,
        notes=(f"a note {text}",),
        judgements=(
            Judgement(method="grpo", status="holds", gates=(gate,), command=f"train {text}"),
            Judgement(method="pope", status="does not hold", gates=(gate, fails), command=None),
        ),
        undeclared=("elsewhere",),
        sections=(
            Section(
                name="success", title=f"Success {text}", figures=figures,
                missing={"other": f"why {text}"}, num_problems=12, num_eligible=20,
                sampled_tokens=4_000, seconds=61.0,
            ),
        ),
        settings={},
    )  # fmt: skip


def test_the_page_has_every_number_its_cost_and_what_was_left_out():
    text = re.sub(r"<[^>]+>", "", page(report()).partition("<body>")[2])
    for part in (
        "model chain on chain", "12 of 80 problems, 8 responses of each, seed 3",
        "98,765 generated tokens, 4.6 minutes", "0.250 [0.125, 0.375]", "1,234 tokens/s",
        "12 problems, 4,000 generated tokens, 61 s; 8 more were left out for lack of time",
        "Not measured: other, because why chain", "grpo holds", "pope does not hold",
        "train chain", "No precondition declared: elsewhere", "a note chain",
    ):  # fmt: skip
        assert part in text, part
    assert text.count("train ") == 1


def test_an_interval_is_drawn_at_its_place_and_a_difference_around_zero():
    text = page(report())
    first, second = re.findall(r'<dd class="range".*?</dd>', text)
    assert "left:12.5%;width:25.0%" in first
    assert "left:25.0%" in first.partition("<b")[2]
    assert "<u>" not in first
    # -0.75 .. -0.25 of -1 .. 1.
    assert "left:12.5%;width:25.0%" in second
    assert "<u></u>" in second


def test_hostile_text_is_escaped_and_nothing_may_run_or_load():
    text = page(report(HOSTILE))
    assert "<script" not in text
    assert "<img" not in text
    assert text.count("</style>") == 1
    assert "default-src 'none'; style-src 'unsafe-inline'" in text
    assert "http" not in text.replace("http-equiv", "")


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium found: apt-get install chromium")
@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_fits_a_narrow_and_a_wide_window(tmp_path, width):
    from playwright.sync_api import sync_playwright

    path = tmp_path / "probe.html"
    path.write_text(page(report(HOSTILE)), encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        own = browser.new_page(viewport={"width": width, "height": 800})
        asked = []
        own.on("request", lambda request: asked.append(request.url))
        own.goto(path.as_uri())
        assert own.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert own.evaluate("window.pwned") is None
        assert own.locator("img").count() == 0
        values = own.locator('[data-figure="success/pass_at_1"] dd').first
        assert values.inner_text() == "0.250 [0.125, 0.375]"
        box = values.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert len(asked) == 1
        browser.close()
