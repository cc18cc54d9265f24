"""Theory beside practice: small MDPs whose values, occupancies and bounds are exact. Numpy only."""
