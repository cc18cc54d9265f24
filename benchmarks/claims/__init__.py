"""The papers' claims, one file each: a plan, its gates, what is compared, and a verdict.

    python -m benchmarks.claims                       every claim: gates, then what is missing
    python -m benchmarks.claims cpi_monotone          one of them
    python -m benchmarks.claims --preset quick        one seed, a tenth of the tokens: no verdict
    python -m benchmarks.claims --published           scores the published rows; runs nothing
    python -m benchmarks.claims --pilot cpi_monotone     chooses rates and seeds: many runs
    python -m benchmarks.claims --design cpi_monotone    writes the design that the pilot decides

The order is: a plan (the claim's file), its gates, a pilot on seeds of its own, a design (a file,
committed), runs, a verdict.

* What a claim presumes is measured on the base model before training (`gates.py`). If it is not
  there, the claim is "not testable here", with the figure.
* A design says how large an effect its seeds can see (`power.py`). "Absent" means that the interval
  excludes the smallest effect of interest; else the verdict is "inconclusive" (`verdict.py`).
* Each arm has the learning rate that its pilot chose, at least 100 updates, and as many generated
  tokens as the others within 5 %. Each seed has problems of its own (`design.py`, `pilot.py`).
* Rows hold the hash of their design, which was committed before they began (`registry.py`).

Claims that are not here yet have only their first designs: `benchmarks.claims.first`.
"""
