import os

# Small models are fastest on one thread, and several test processes share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
