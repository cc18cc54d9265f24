"""`reason-env doctor`: what this machine has and lacks. Needs neither torch, rich nor tyro."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from reason_env.doctor import Finding, diagnose
from reason_env.errors import did_you_mean

HELP = """usage: reason-env doctor [--json]

Versions, devices, folders, and which extras are missing and how to get them. Nothing is sent. Exit
status 1 if something that is there is broken.

  --json    Print the findings as JSON: topic, name, status (ok, missing, broken), value, advice."""


def run(words: Sequence[str]) -> None:
    """Look at the machine and print what was found."""
    if list(words) in (["-h"], ["--help"]):
        print(HELP)
        return
    for word in words:
        if word != "--json":
            near = did_you_mean(word, ["--json"]) if word.startswith("--") else ""
            print(
                f"reason-env: error: reason-env doctor has no flag {word!r}{near}; see: "
                "reason-env doctor --help",
                file=sys.stderr,
            )
            sys.exit(2)
    findings = diagnose()
    if words:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        _show(findings)
    if any(finding.status == "broken" for finding in findings):
        sys.exit(1)


def _show(findings: Sequence[Finding]) -> None:
    width = max(len(finding.name) for finding in findings)
    for topic in dict.fromkeys(finding.topic for finding in findings):
        print(topic)
        for finding in findings:
            if finding.topic == topic:
                print(f"  {finding.line(width)}")
    count = {
        status: sum(item.status == status for item in findings) for status in ("missing", "broken")
    }
    print(f"{count['broken']} broken, {count['missing']} missing")
