"""The report in a real browser: Debian's Chromium, headless. Skipped without one."""

import json
import logging
import shutil

import numpy as np
import pytest

from reason_env.agents.report import write_report
from reason_env.agents.train import TrainConfig

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium found: apt-get install chromium"),
]
_log = logging.getLogger(__name__)
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


def test_the_page_shows_the_numbers_of_the_metrics(comparison, open_page):
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


def test_hostile_text_is_shown_as_text_and_not_executed(build, tmp_path, open_page):
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


def test_the_tree_merges_prefixes_and_marks_the_start_of_resets(comparison, open_page):
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
        ("asked for the wrong step", 1),
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


def test_hinted_branches_show_the_ratio_of_probabilities_under_both_prompts(comparison, open_page):
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


def test_the_keyboard_moves_through_the_tree_and_updates_its_aria_state(comparison, open_page):
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
    # The dialog is removed by its close event, a moment after the key press.
    page.locator("dialog").wait_for(state="detached", timeout=10_000)
    page.keyboard.press("c")
    assert page.locator("input[name=coloring]:checked").get_attribute("value") == "advantage"


def test_steps_are_coloured_by_advantage_and_hovering_shows_log_probs_and_ratios(
    comparison, open_page
):
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


# What a reader does, frame by frame: the tree is moved, and the time to the next frame is taken.
# `idle` does nothing: what this machine and this browser need for a frame anyway. `boxes` writes a
# hundred plain boxes of text, about as many as the tree shows: what this machine needs for those.
FRAMES = """async ({what, num_frames}) => {
    const box = document.querySelector(".tree-viewport");
    const most = box.scrollHeight - box.clientHeight;
    const press = (key) => box.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
    const keys = ["ArrowDown", "ArrowRight", "PageDown", "ArrowLeft", "End", "PageUp", "Home"];
    const names = Object.keys(COLORINGS);
    const plain = document.body.appendChild(document.createElement("div"));
    plain.style.cssText = "position:fixed; inset:0 auto auto 0; width:0; height:0; z-index:9";
    const boxOf = (at, number) => {
        const own = document.createElement("div");
        own.textContent = `box ${number} of frame ${at}`;
        own.style.cssText = `position:absolute; left:${200 * (number % 4)}px;
            top:${27 * Math.floor(number / 4)}px; width:180px; height:23px; background:#eee`;
        return own;
    };
    const acts = {
        idle: () => {},
        boxes: (at) => {
            plain.replaceChildren(...Array.from({length: 100}, (_, number) => boxOf(at, number)));
        },
        scroll: (at) => { box.scrollTop = (most * at) / num_frames; },
        keys: (at) => { press(keys[at % keys.length]); },
        colours: (at) => {
            document.querySelector(`input[value=${names[at % names.length]}]`).click();
        },
    };
    const tasks = [];
    const observer = new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) tasks.push(entry.duration);
    });
    observer.observe({type: "longtask"});
    const frame = () => new Promise((done) => requestAnimationFrame(done));
    let [before, nodes] = [await frame(), 0];
    const frames = [];
    for (let at = 1; at <= num_frames; at++) {
        acts[what](at);
        const now = await frame();
        frames.push(now - before);
        before = now;
        nodes = Math.max(nodes, document.querySelectorAll(".node").length);
    }
    await frame();
    plain.remove();
    observer.disconnect();
    return {frames, tasks, nodes, most, end: box.scrollTop};
}"""
NUM_FRAMES = 120


@pytest.fixture(scope="module")
def big_page(browser, tmp_path_factory, builders):
    """A report with 2,000 episodes of one problem, the most that it embeds, and its window."""
    folder = tmp_path_factory.mktemp("big")
    rng = np.random.default_rng(0)
    rows = builders["written"](builders["some_episodes"](rng, 1, 2000, ("base",)))
    builders["write_run"](folder / "run", TrainConfig(), iterations=1, episodes=rows)
    path = write_report([folder / "run"], folder / "report.html")
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]", timeout=60_000)
    yield page
    page.close()


@pytest.mark.slow
@pytest.mark.parametrize("what", ["scroll", "keys", "colours"])
def test_two_thousand_episodes_of_one_problem_stay_smooth(big_page, what):
    assert "2,000 embedded of 2,000" in big_page.locator("#samples .lead").inner_text()
    # The main thread's own processor time: other work on the machine does not count.
    session = big_page.context.new_cdp_session(big_page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def measured(act):
        before = busy_seconds(session)
        found = big_page.evaluate(FRAMES, {"what": act, "num_frames": NUM_FRAMES})
        busy = 1000 * (busy_seconds(session) - before) / NUM_FRAMES
        middle, late, high = np.quantile(found["frames"], [0.5, 0.95, 1])
        longest = max(found["tasks"], default=0.0)
        _log.info(
            "%s: frames of %.1f ms, 95 of 100 below %.1f, at most %.1f; longest task %.0f ms (0: "
            "none over 50); %.1f ms of processor time a frame; %d nodes",
            *(act, middle, late, high, longest, busy, found["nodes"]),
        )
        return found | {"busy": busy, "middle": middle, "late": late, "longest": longest}

    # The clock tells of this page only while an idle one is on time, before and after, and plain
    # boxes are: three tries.
    is_smooth = False
    for _ in range(3):
        idle, own, idle_after = measured("idle"), measured(what), measured("idle")
        boxes = measured("boxes")
        assert own["most"] > 20_000
        if what == "scroll":
            assert own["end"] == pytest.approx(own["most"], abs=2)
        assert own["nodes"] < 400  # only what is in view is in the document
        # In the machine's own measure: a frame's work is that of a few hundred plain boxes.
        assert 0 < own["busy"] < 3 * boxes["busy"], (own, boxes)
        is_smooth = own["middle"] < 34 and own["late"] < 100 and own["longest"] < 300
        if is_smooth or max(idle["late"], idle_after["late"], boxes["middle"]) > 25:
            break
    else:
        pytest.fail(f"frames were late where those of an idle page and of boxes were not: {own}")
    session.detach()
    if not is_smooth:
        _log.warning("%s: idle frames or plain boxes are late here, so none were judged", what)


def test_a_problem_with_two_thousand_episodes_opens_at_once(big_page):
    session = big_page.context.new_cdp_session(big_page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    before = busy_seconds(session)
    took = big_page.evaluate(
        """async () => {
        const began = performance.now();
        document.querySelector(".grow select").dispatchEvent(new Event("change"));
        await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
        return performance.now() - began;
        }"""
    )
    busy = 1000 * (busy_seconds(session) - before)
    session.detach()
    _log.info("opening 2,000 episodes: %.0f ms, %.0f ms of processor time", took, busy)
    assert "2,000 episodes" in big_page.locator(".tree-details").inner_text()
    assert 0 < busy < 1000


def busy_seconds(session):
    """Returns the processor time of the page's tasks so far."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return next(item["value"] for item in metrics if item["name"] == "TaskDuration")


MANY = {
    "grpo": (0.02, ("base",)),
    "srpo+lte:lte.gamma=0.2,learner.learning_rate=0.0001,srpo.num_base=6": (0.05, ("base",)),
} | {f"grpo:group_size={size}": (0.01 * size, ("base",)) for size in range(2, 9)}


def test_nine_arms_have_distinct_line_styles_and_a_legend(build, tmp_path, open_page):
    made = build["comparison"](tmp_path / "cmp", MANY, num_seeds=1)
    page = open_page(write_report([made.path], tmp_path / "report.html"))
    shown = page.locator("#learning .legend").inner_text().split("\n")
    assert [name.strip() for name in shown if name.strip()] == list(MANY)
    lines = page.locator("#learning .legend line").evaluate_all(
        "own => own.map((e) => e.getAttribute('stroke') + ' ' + e.getAttribute('stroke-dasharray'))"
    )
    assert len(set(lines)) == len(MANY)
    assert page.locator("#learning .direct").count() == 0  # names that would be cut


def test_a_few_short_names_label_their_curves_directly(comparison, open_page):
    page = open_page(write_report([comparison.path], comparison.path / "report.html"))
    figure = page.locator("#learning figure").first
    assert figure.locator(".panel").first.locator(".direct").all_text_contents() == list(ARMS)
    assert figure.locator(".legend").count() == 0


def test_panels_without_recorded_metrics_are_replaced_by_a_sentence(build, tmp_path, open_page):
    build["write_run"](tmp_path / "run", TrainConfig())
    file = tmp_path / "run" / "metrics.jsonl"

    def strip(*heads):
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        kept = [{k: v for k, v in row.items() if not k.startswith(heads)} for row in rows]
        file.write_text("".join(json.dumps(row) + "\n" for row in kept))
        return open_page(write_report([tmp_path / "run"], tmp_path / "report.html"))

    page = strip("update/")
    assert page.locator("#signal .panel").count() == 4
    caption = page.locator("#signal figcaption").inner_text()
    assert "Not recorded by these runs: entropy, nats a token; gradient norm." in caption
    page = strip("grade/", "eval/", "advantage/", "rollout/pass", "rollout/comp", "rollout/solved")
    assert "No run has evaluated its policy yet" in page.locator("#learning").inner_text()
    assert "No run has recorded how" in page.locator("#outcomes").inner_text()
    assert "Not recorded by these runs" in page.locator("#signal").inner_text()
    assert page.locator("#learning svg, #signal svg, #outcomes .track").count() == 0


def test_settings_of_only_some_arms_are_folded_away(build, tmp_path, open_page):
    arms = {"grpo": (0.0, ("base",)), "grpo:group_size=4": (0.0, ("base",)), "lte": (0, ("base",))}
    made = build["comparison"](tmp_path / "cmp", arms, num_seeds=1)
    page = open_page(write_report([made.path], tmp_path / "report.html"))
    keys = page.locator("#settings > .scroll tbody th").all_inner_texts()
    assert "method.group_size" in keys
    assert "method.gamma" not in keys
    page.locator("#settings summary").click()
    assert "method.gamma" in page.locator("#settings details tbody th").all_inner_texts()


@pytest.mark.parametrize(
    "options", [{"viewport": {"width": 390, "height": 800}}, {"color_scheme": "dark"}]
)
@pytest.mark.parametrize("kind", ["few", "many"])
def test_the_page_fits_the_window_and_follows_the_colour_scheme(
    build, tmp_path, open_page, options, kind
):
    arms = ARMS if kind == "few" else MANY
    made = build["comparison"](tmp_path / "cmp", arms, sources=("chain", "inverse"), num_seeds=1)
    page = open_page(write_report([made.path], tmp_path / "report.html"), **options)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (light == "rgb(255, 255, 255)") == ("color_scheme" not in options)


def test_the_page_prints_with_its_sections_within_the_paper_s_width(
    comparison, open_page, tmp_path
):
    page = open_page(
        write_report([comparison.path], comparison.path / "report.html"), color_scheme="dark"
    )
    pdf = page.pdf(format="A4", print_background=True)
    assert pdf.startswith(b"%PDF")
    page.emulate_media(media="print")
    assert not page.locator("#contents").is_visible()
    assert page.locator("#findings").is_visible()
    # A4 without its margins, at 96 dots an inch: nothing runs off the paper.
    page.set_viewport_size({"width": 688, "height": 970})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
