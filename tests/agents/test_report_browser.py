"""The report in a real browser: Debian's Chromium, headless. Skipped, saying so, without one."""

import json
import shutil

import numpy as np
import pytest

from reason_env.agents.report import write_report
from reason_env.agents.train_config import TrainConfig

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium found: apt-get install chromium"),
]
ARMS = {
    "grpo": (0.02, ("base",)),
    "srpo": (0.05, ("base", "reset", "localise")),
    "lte": (0.04, ("base", "hinted")),
}
HOSTILE = '</script><img src=x onerror="window.pwned=1"><script>window.pwned=1</script>\u2028'


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield found
        found.close()


@pytest.fixture
def open_page(browser):
    pages = []

    def open_one(path, **options):
        page = browser.new_page(**options)
        pages.append(page)
        page.problems, page.asked = [], []
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.on("console", lambda message: page.problems.append(message.text))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready]", timeout=60_000)
        return page

    yield open_one
    for page in pages:
        assert page.problems == []
        assert len(page.asked) == 1  # the file itself
        page.close()


@pytest.fixture
def comparison(build, tmp_path):
    return build["comparison"](tmp_path / "cmp", ARMS, sources=("chain", "inverse"), num_seeds=2)


def value(page, key):
    return float(page.locator(f'[data-key="{key}"]').get_attribute("data-value"))


def test_the_numbers_on_the_page_are_those_of_the_metrics(comparison, open_page):
    page = open_page(write_report([comparison.path], comparison.path / "report.html"))
    for source in ("chain", "inverse"):
        finals = {}
        for arm in ARMS:
            rows = [
                [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
                for run in comparison.runs
                if (run.source, run.arm) == (source, arm)
            ]
            for name in ("pass_at_1", "pass_at_k"):
                mean = np.mean([own[-1][f"eval/{name}"] for own in rows])
                assert value(page, f"{source}/{arm}/final_{name}") == pytest.approx(mean, abs=1e-12)
            finals[arm] = [own[-1]["eval/pass_at_1"] for own in rows]
            shown = page.locator(f'[data-key="{source}/{arm}/final_pass_at_1"]').inner_text()
            assert shown.startswith(f"{np.mean(finals[arm]):.3f}")
            tokens = np.mean([own[-1]["rollout/sampled_tokens_total"] for own in rows])
            parts = page.locator("#cost figure").nth(["chain", "inverse"].index(source))
            bars = parts.locator(".track").nth(list(ARMS).index(arm)).locator(".part")
            sizes = bars.evaluate_all("own => own.map(e => Number(e.dataset.value))")
            assert sum(sizes) == pytest.approx(tokens)
        for arm in ("srpo", "lte"):
            mean = np.mean(np.subtract(finals[arm], finals["grpo"]))
            found = value(page, f"{source}/{arm}/difference/final_pass_at_1")
            assert found == pytest.approx(mean, abs=1e-12)


def test_a_run_s_page_shows_its_first_and_last_evaluation(build, tmp_path, open_page):
    rows = build["write_run"](tmp_path / "run", TrainConfig())
    page = open_page(write_report([tmp_path / "run"], tmp_path / "report.html"))
    assert value(page, "chain/grpo/first/pass_at_1") == rows[0]["eval/pass_at_1"]
    assert value(page, "chain/grpo/last/pass_at_k") == rows[-1]["eval/pass_at_k"]
    points = page.locator("#learning svg").first.locator("circle").count()
    assert points == sum("eval/pass_at_1" in row for row in rows)


def test_hostile_text_is_text(build, tmp_path, open_page):
    rng = np.random.default_rng(0)
    rows = build["written"](build["some_episodes"](rng, 1, 3, ("base",)))
    for row in rows:
        row["pieces"] = [HOSTILE, *[""] * (len(row["pieces"]) - 1)]
        row["state"]["problem"]["question"] = HOSTILE
        row["state"]["verdict"][1] = HOSTILE
    build["write_run"](tmp_path / "run", TrainConfig(), episodes=rows)
    page = open_page(write_report([tmp_path / "run"], tmp_path / "report.html"))
    assert page.evaluate("window.pwned") is None
    assert page.locator("img").count() == 0
    assert "onerror" in page.locator(".tree-problem").inner_text()
    assert "onerror" in page.locator("#samples pre.response").first.inner_text()


def test_the_tree_merges_prefixes_and_marks_where_resets_begin(comparison, open_page):
    page = open_page(write_report([comparison.path], comparison.path / "report.html"))
    found = page.evaluate(
        """() => {
        const data = JSON.parse(document.getElementById("data").textContent);
        const items = data.episodes.items.filter((i) => i.arm === "srpo" && i.source === "chain"
            && i.iteration === data.episodes.items.find((j) => j.arm === "srpo").iteration);
        const tree = buildTree(data, items);
        const plain = (n) => ({kind: n.kind, text: n.text, visits: n.visits.length, cuts: n.cuts,
            author: n.author, logp: n.logp, ratio: n.ratio, advantage: n.advantage,
            correct: n.numCorrect, graded: n.numGraded, parent: n.parent && n.parent.id,
            rows: [n.firstRow, n.lastRow]});
        return {nodes: tree.nodes.map(plain), rows: tree.rows, items};
        }"""
    )
    items, nodes = found["items"], found["nodes"]
    assert len(items) == 13
    contexts = [node for node in nodes if node["kind"] == "context"]
    assert [(own["text"], own["visits"]) for own in contexts] == [
        ("problem alone", 12),
        ("asked for its wrong step", 1),
    ]
    marks = [node for node in nodes if node["cuts"].get("reset")]
    assert [own["cuts"]["reset"] for own in marks] == [4]
    assert marks[0]["text"].startswith("B:")
    assert marks[0]["visits"] >= 5  # the chain that is cut, and the four that begin there
    # Every prefix of steps is one node.
    prefixes = set()
    for item in items:
        steps = item["text"].split("\n")[:-1]
        for size in range(1, len(steps) + 1):
            prefixes.add((item["context"], tuple(steps[:size])))
    assert len([node for node in nodes if node["kind"] == "step"]) == len(prefixes)
    assert sum(own["visits"] for own in nodes if own["kind"] == "leaf") == 13
    # The log-probability of a first step that the chain which is not reset shares with no one.
    first_steps = [own["text"].split("\n")[0] for own in items]
    for item, step in zip(items, first_steps, strict=True):
        if first_steps.count(step) == 1 and item["role"] == "base":
            node = next(n for n in nodes if n["kind"] == "step" and n["text"] == step)
            assert node["logp"] == pytest.approx(sum(item["logp"][: len(step) + 1]), abs=1e-6)
    assert found["rows"] == max(node["rows"][1] for node in nodes) + 1


def test_hinted_branches_have_the_ratio_between_two_contexts(comparison, open_page):
    page = open_page(write_report([comparison.path], comparison.path / "report.html"))
    ratios = page.evaluate(
        """() => {
        const data = JSON.parse(document.getElementById("data").textContent);
        const items = data.episodes.items.filter((i) => i.arm === "lte" && i.source === "chain");
        const tree = buildTree(data, items.filter((i) => i.iteration === items[0].iteration));
        const of = (role) => tree.nodes.filter((n) => n.kind === "step" && n.ratio !== null
            && n.visits.every((v) => v.item.role === role)).map((n) => n.ratio);
        return {hinted: of("hinted"), base: of("base")};
        }"""
    )
    assert ratios["hinted"]
    assert ratios["hinted"] == pytest.approx([np.exp(0.5)] * len(ratios["hinted"]), abs=1e-3)
    assert ratios["base"] == pytest.approx([1.0] * len(ratios["base"]), abs=1e-3)


def test_the_keyboard_walks_the_tree_and_says_where_it_is(comparison, open_page):
    page = open_page(write_report([comparison.path], comparison.path / "report.html"))
    tree = page.locator(".tree-viewport")
    tree.focus()

    def current():
        name = tree.get_attribute("aria-activedescendant")
        own = page.locator(f"#{name}")
        assert own.get_attribute("aria-selected") == "true"
        return own.get_attribute("aria-level"), own.inner_text()

    assert current()[0] == "1"
    page.keyboard.press("ArrowRight")
    level, first = current()
    assert level == "2"
    page.keyboard.press("ArrowDown")
    assert current()[0] == "2"
    assert current()[1] != first
    page.keyboard.press("ArrowUp")
    assert current() == ("2", first)
    page.keyboard.press("End")
    page.keyboard.press("Home")
    assert current() == ("2", first)
    page.keyboard.press("ArrowLeft")
    assert current()[0] == "1"
    for _ in range(7):
        page.keyboard.press("ArrowRight")
    assert any(sign in current()[1] for sign in ("correct", "✗"))
    assert "Verdict" in page.locator(".tree-details").inner_text()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.className") == "tree-details"
    tree.focus()
    page.keyboard.press("?")
    assert page.locator("dialog").is_visible()
    page.keyboard.press("Escape")
    # A dialog tells of its closing in an event of its own, a moment later.
    page.locator("dialog").wait_for(state="detached", timeout=10_000)
    page.keyboard.press("c")
    assert page.locator("input[name=coloring]:checked").get_attribute("value") == "advantage"


def test_colours_follow_the_advantage_and_pointing_tells_the_numbers(comparison, open_page):
    page = open_page(write_report([comparison.path], comparison.path / "report.html"))
    page.locator("input[value=advantage]").check(force=True)
    colors = page.locator(".node.step").evaluate_all(
        "own => own.map((e) => e.style.getPropertyValue('--n'))"
    )
    assert any("--good" in color for color in colors)
    assert any("--bad" in color for color in colors)
    page.locator(".node.step").first.hover()
    assert "log-prob" in page.locator("#tip").inner_text()
    assert "ratio" in page.locator(".tree-details").inner_text()
    page.locator(".tree-details .token").nth(2).hover()
    assert "log-prob" in page.locator(".token-line").inner_text()


def test_two_thousand_episodes_of_one_problem_stay_smooth(build, tmp_path, open_page):
    rng = np.random.default_rng(0)
    rows = build["written"](build["some_episodes"](rng, 1, 2000, ("base",)))
    build["write_run"](tmp_path / "run", TrainConfig(), iterations=1, episodes=rows)
    page = open_page(write_report([tmp_path / "run"], tmp_path / "report.html"))
    assert "2,000 episodes" in page.locator(".tree-details").inner_text()
    result = page.evaluate(
        """async () => {
        const box = document.querySelector(".tree-viewport");
        const view = [];
        const most = box.scrollHeight - box.clientHeight;
        const original = TreeView.prototype.render;
        TreeView.prototype.render = function () {
            const began = performance.now();
            original.call(this);
            view.push(performance.now() - began);
        };
        let nodes = 0;
        for (let step = 1; step <= 120; step++) {
            box.scrollTop = (most * step) / 120;
            await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
            nodes = Math.max(nodes, document.querySelectorAll(".node").length);
        }
        view.sort((a, b) => a - b);
        return {most, nodes, times: view.length, median: view[Math.floor(view.length / 2)],
            late: view[Math.floor(view.length * 0.95)], end: box.scrollTop};
        }"""
    )
    assert result["most"] > 20_000
    assert result["end"] == pytest.approx(result["most"], abs=2)
    assert result["times"] >= 100
    assert result["nodes"] < 400  # only what is in view is in the document
    assert result["median"] < 16.7, result  # the work of a frame fits a frame at 60 Hz


@pytest.mark.parametrize(
    "options", [{"viewport": {"width": 390, "height": 800}}, {"color_scheme": "dark"}]
)
def test_nothing_is_wider_than_the_window_and_dark_is_dark(comparison, open_page, options):
    page = open_page(write_report([comparison.path], comparison.path / "report.html"), **options)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (light == "rgb(255, 255, 255)") == ("color_scheme" not in options)


def test_it_prints_to_pages_with_every_section(comparison, open_page, tmp_path):
    page = open_page(
        write_report([comparison.path], comparison.path / "report.html"), color_scheme="dark"
    )
    pdf = page.pdf(format="A4", print_background=True)
    assert pdf.startswith(b"%PDF")
    page.emulate_media(media="print")
    assert not page.locator("#contents").is_visible()
    assert page.locator("#findings").is_visible()
