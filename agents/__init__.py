"""The policy that learns: what samples, collects, updates, measures and records."""
