"""Families of generated problems, each with reference solutions and a step checker."""
