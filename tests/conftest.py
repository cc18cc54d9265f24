import os

from hypothesis import settings

# Small models are fastest on one thread, and several test processes share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A deadline measures the machine: a busy one would fail a property that holds.
settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")
