"""Generated problem families, each with reference solutions and a step checker."""
