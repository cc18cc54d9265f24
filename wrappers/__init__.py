"""Gymnasium wrappers that choose where an episode starts and what the policy is shown."""
