#!/usr/bin/env bash
# Measures this library on an accelerator, in one command and at most 8 minutes:
#
#     benchmarks/accelerator.sh                     all rows; writes accelerator.json and accelerator.md
#     benchmarks/accelerator.sh --rows W1           one row, in about a minute
#     benchmarks/accelerator.sh --rehearse          tiny sizes on a CPU, in a few minutes
#     benchmarks/accelerator.sh --cifar10 DIR       2,000 iterations on CIFAR-10 as well
#
# Needs jax, flax, optax and numpy, and torch for its rows. PYTHON selects another interpreter.
set -eu
cd "$(dirname "$0")/.."
exec "${PYTHON:-python}" -m benchmarks.accelerator "$@"
