"""The first designs of the claims, one file each: a setting, the runs, a score, and a verdict.

    python -m benchmarks.claims.first                   every claim; runs what is missing
    python -m benchmarks.claims.first --preset quick    one seed, half the tokens: a verdict only on
                                                        claims that are measured without training
    python -m benchmarks.claims.first pope_lifts lte_gain    some of them
    python -m benchmarks.claims.first --published       scores the published rows; runs nothing

These designs have no gates, no power calculation, one learning rate for all arms and about ten
updates an arm, and their settings were chosen on single seeds: a claim that was not reproduced may
not have been testable. `benchmarks.claims` replaces them one by one; their rows stay readable here.

Claims share experiments (`experiments.py`): arms with equal budgets of generated tokens and paired
seeds, run as `reason-env compare` runs them, so an interrupted run goes on where it stopped. A
claim is *reproduced* if the 95 % interval of the paired difference over seeds lies on the claim's
side of zero, *opposite* if it lies on the other side, else *not reproduced*. docs/results.md
discusses the claims that were not reproduced; docs/results_tables.md has the tables of all arms.
"""
