"""Where each method beats GRPO: a sweep of problems, and the numbers that decide."""
