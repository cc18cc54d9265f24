"""The report's content security policy: its own script runs, and no other."""

import base64
import hashlib
import re
import shutil

import pytest

from reason_env.agents.report import write_report
from reason_env.agents.report.report import page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DATA = {"title": "</title><script>window.pwned=1</script>", "episodes": None}


def policy_of(text):
    return re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]


def test_the_policy_names_the_hash_of_the_only_script_and_allows_no_other():
    text = page(DATA)
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(scripts) == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    parts = dict(part.strip().split(" ", 1) for part in policy_of(text).split(";"))
    assert parts["script-src"] == f"'sha256-{digest}'"
    assert parts["default-src"] == parts["base-uri"] == parts["form-action"] == "'none'"
    assert set(parts) == {
        "default-src", "script-src", "style-src", "img-src", "base-uri", "form-action",
    }  # fmt: skip


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium found: apt-get install chromium")
def test_a_script_that_came_from_data_does_not_run_and_the_page_does(command, tmp_path):
    from playwright.sync_api import sync_playwright

    status, _, error = command(
        "train", "grpo", "--size", "2", "--levels", "3", "--problems-per-iteration", "1",
        "--group-size", "2", "--max-tokens", "16", "--iterations", "1", "--eval.num-problems", "1",
        "--eval.samples", "1", "--eval.k", "1", "--eval.greedy", "False",
        "--out", str(tmp_path / "run"),
    )  # fmt: skip
    assert status == 0, error
    report = write_report([tmp_path / "run"], tmp_path / "report.html")
    whole = report.read_text(encoding="utf-8")
    # As if the escaping had failed: markup and scripts of data in the middle of the page.
    bad = (
        "<script>window.pwned=1</script><img src=x onerror='window.pwned=1'>"
        "<a id=link href='javascript:window.pwned=1'>x</a><iframe src='data:text/html,x'></iframe>"
        "<script src='https://192.0.2.1/x.js'></script><base href='https://192.0.2.1/'>"
    )
    report.write_text(whole.replace("<footer>", f"{bad}<footer>", 1), encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        own = browser.new_page()
        blocked: dict[str, str] = {}
        own.on("requestfailed", lambda asked: blocked.update({asked.url: asked.failure}))
        own.goto(report.as_uri())
        own.wait_for_selector("html[data-ready]", timeout=60_000)
        own.click("#link")
        own.click("#theme")
        assert own.evaluate("window.pwned") is None
        assert own.inner_text("#title")
        assert blocked["https://192.0.2.1/x.js"] == "csp"
        browser.close()
