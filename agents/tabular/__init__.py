"""Exact and sampled ablations of the theory on small MDPs; numpy only."""
