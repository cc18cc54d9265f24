"""Run as a program: makes entries of every set that is offered, and asks the peer's own scorers.

Reads {"sets": [...], "size": n, "wrong": [...]} and writes [set, answer, entry, said, score] rows.
It is plain reasoning-gym: what is asked is written here and harmless.
"""

import json
import os
import sys
import warnings

from reason_env.verify.scorers.reasoning_gym_scorer import entry_of, generate


def main():
    out = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    warnings.simplefilter("ignore")
    request = json.loads(sys.stdin.read())
    problems = []
    for name in request["sets"]:
        settings = {"levels": None, "options": {}, "seed": 77, "share": [0, 1, 2, 3]}
        reply = generate({"set": name, "size": request["size"], **settings})
        problems += [(name, row["answer"], row["entry"]) for row in reply["rows"]]
    rows = []
    for index, (name, answer, entry) in enumerate(problems):
        other = problems[(index * 7 + 3) % len(problems)][1]
        for said in (answer, other, *request["wrong"]):
            dataset, made_again = entry_of(entry)
            try:
                score = float(dataset.score_answer(said, made_again))
            except ValueError:
                score = ["ValueError"]
            except (ArithmeticError, AttributeError, LookupError, TypeError):
                score = ["other"]
            rows.append([name, answer, entry, said, score])
    json.dump(rows, out)
    out.close()


if __name__ == "__main__":
    main()
