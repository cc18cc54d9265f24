"""What a run costs on 1 to 512 GPUs: arithmetic, and a simulator to hold it against.

    python -m benchmarks.engines.scale              the tables of docs/scale.md
    python -m benchmarks.engines.scale --measure    both against this machine, in about a minute

`sizes.py`: what a model holds and multiplies. `memory.py`: bytes on a device. `rates.py`: seconds
of a decoding step, an update, a transfer. `iteration.py`: seconds of an iteration, from the
distribution of the lengths of responses. `simulate.py`: the same iteration response by response,
with drawn lengths and slots that are refilled. `measure.py`: this machine's own rates.
"""
