"""The papers' claims, one file each: a setting, the runs, a score, and a verdict with its interval.

    python -m benchmarks.claims                    every claim; runs what is missing
    python -m benchmarks.claims --preset quick     one seed, half the tokens: a look, no verdict
                                                   (but on what is measured without training)
    python -m benchmarks.claims pope_lifts lte_gain    some of them
    python -m benchmarks.claims --published        scores the published rows; runs nothing

Claims share experiments (`experiments.py`): arms at equal budgets of generated tokens, paired
seeds, run by `reason-env compare`'s own machinery, so an interrupted run goes on where it stopped.
A claim is *reproduced* if the 95 % interval of the paired difference over seeds lies on its side of
zero, *opposite* if it lies on the other, else *not reproduced*. docs/results.md discusses those
that did not reproduce; docs/results_tables.md has the tables of all arms.
"""
