"""Families that are made for one mechanism: whether a model on them has what it needs."""
