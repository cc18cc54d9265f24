"""`python -m reason_env.cli`: the same as `reason-env`, for torchrun."""

from reason_env.cli import main

main()
