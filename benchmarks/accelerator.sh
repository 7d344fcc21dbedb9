#!/usr/bin/env bash
# What this library does on an accelerator, in 8 minutes at most and one command:
#
#     benchmarks/accelerator.sh                     all rows; writes accelerator.json and accelerator.md
#     benchmarks/accelerator.sh --rows W1           one row, in about a minute
#     benchmarks/accelerator.sh --rehearse          tiny sizes on a CPU, in some minutes
#     benchmarks/accelerator.sh --cifar10 DIR       2,000 iterations on CIFAR-10 as well
#
# Needs jax, flax, optax and numpy; torch for its rows. PYTHON names another interpreter.
set -eu
cd "$(dirname "$0")/.."
exec "${PYTHON:-python}" -m benchmarks.accelerator "$@"
