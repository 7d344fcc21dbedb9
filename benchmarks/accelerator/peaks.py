"""Peak throughput of a device, by its data sheet and by measured matrix products."""

from __future__ import annotations

import time

import jax
import jax.numpy as jnp

# TFLOP/s without sparsity, from data sheets: float32, TF32, bfloat16; 0 if there is no such unit.
# The first entry whose words are all in the device's name applies.
KNOWN = {
    "H100 PCIe": (51, 378, 756),
    "H100": (67, 494, 989),
    "H200": (67, 494, 989),
    "A100": (19.5, 156, 312),
    "L40S": (91.6, 183, 362),
    "L4": (30.3, 60, 121),
    "A10": (31.2, 62.5, 125),
    "RTX 4090": (82.6, 82.6, 165),
    "RTX 3090": (35.6, 35.6, 71),
    "T4": (8.1, 0, 0),
    "TPU v6": (0, 0, 918),
    "TPU v5p": (0, 0, 459),
    "TPU v5 lite": (0, 0, 197),
    "TPU v4": (0, 0, 275),
}
PRECISIONS = ("float32", "TF32", "bf16")
JAX_PRECISION = {"float32": "highest", "TF32": "tensorfloat32", "bf16": "default"}


def known_peak(device: str, precision: str) -> float | None:
    """Return the FLOP/s of the data sheet, or None for a device that is not in the table.

    Example:
      >>> known_peak("NVIDIA H100 80GB HBM3", "bf16")
      989000000000000.0
    """
    words = device.split()
    for name, peaks in KNOWN.items():
        if all(any(word.startswith(part) for word in words) for part in name.split()):
            return peaks[PRECISIONS.index(precision)] * 1e12 or None
    return None


def measured_peak(precision: str, size: int, rounds: int = 5) -> float:
    """Return the FLOP/s of the fastest of several square matrix products."""
    dtype = jnp.bfloat16 if precision == "bf16" else jnp.float32
    with jax.default_matmul_precision(JAX_PRECISION[precision]):
        product = jax.jit(lambda a, b: a @ b)
        # Random, since a GPU multiplies constants faster than data: they take less power.
        a = jax.random.normal(jax.random.key(0), (size, size), dtype)
        jax.block_until_ready(product(a, a))
        seconds = []
        for _ in range(rounds):
            began = time.perf_counter()
            jax.block_until_ready([product(a, a) for _ in range(4)])
            seconds.append((time.perf_counter() - began) / 4)
    return 2 * size**3 / min(seconds)


def peaks(device: str, rehearse: bool) -> dict[str, dict[str, float | None]]:
    """Return both peaks for each precision of the device."""
    gpu = jax.default_backend() == "gpu"
    size = 256 if rehearse or jax.default_backend() == "cpu" else 8_192
    return {
        precision: {
            "known": known_peak(device, precision),
            "measured": measured_peak(precision, size),
        }
        for precision in PRECISIONS
        if gpu or precision != "TF32"
    }
