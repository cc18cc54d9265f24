"""The theory on small MDPs: exact values, sampled estimates, ablations. Needs only numpy."""
