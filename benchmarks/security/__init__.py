"""Whether what others wrote can do more than be refused."""
