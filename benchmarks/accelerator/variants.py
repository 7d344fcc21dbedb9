"""What competes: our precisions and chunk lengths, and PyTorch in five ways."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from benchmarks.speed.workloads import Workload


class Variant(NamedTuple):
    """One way to run a workload.

    Attributes:
      label: what the table calls it.
      package: "ours" or "torch".
      precision: "float32", "TF32" or "bf16".
      options: the chunk length of ours; the options of `PyTorch`.
    """

    label: str
    package: str
    precision: str
    options: dict[str, Any]


def variants(workload: Workload, gpu: bool, rehearse: bool) -> list[Variant]:
    """Return what can run, the most informative first, since time may run out."""
    lengths = (10, 100) if workload.image[0] or workload.seeds > 1 else (100, 1_000)
    short, long = (1, 4) if rehearse else lengths
    fused = {"fused": True, "channels_last": bool(workload.image[0])}
    rows = [
        ("ours", "TF32", {"chunk": short}),
        ("graphs", "TF32", fused | {"graphs": True}),
        ("graphs", "bf16", fused | {"graphs": True}),
        ("ours", "bf16", {"chunk": short}),
        ("compiled graphs", "TF32", fused | {"compiled": True, "graphs": True}),
        ("compiled graphs", "bf16", fused | {"compiled": True, "graphs": True}),
        ("eager", "float32", {}),
        ("ours", "float32", {"chunk": short}),
        ("ours", "TF32", {"chunk": long}),
        ("compiled", "TF32", fused | {"compiled": True}),
        ("compiled", "bf16", fused | {"compiled": True}),
        ("fused", "TF32", fused),
        ("fused", "bf16", fused),
    ]
    found = dict[str, Variant]()
    for name, precision, options in rows:
        if not gpu:  # without TF32 and CUDA graphs
            if "graphs" in name:
                continue
            precision = "float32" if precision == "TF32" else precision
        if name == "ours":
            label = f"ours {precision}, {options['chunk']} a call"
        else:
            label = f"torch {name} {precision}"
        package = "ours" if name == "ours" else "torch"
        found[label] = Variant(label, package, precision, options)
    return list(found.values())


def contender(variant: Variant, workload: Workload) -> Any:
    """Return the contender of a variant; build and run it within `precision_of`."""
    if variant.package == "ours":
        from benchmarks.speed.ours import Ours

        dtype = "bfloat16" if variant.precision == "bf16" else "float32"
        return Ours(workload, variant.options["chunk"], dtype)
    import torch

    from benchmarks.speed.pytorch import PyTorch

    half = {"dtype": torch.bfloat16} if variant.precision == "bf16" else {}
    return PyTorch(workload, **variant.options, **half)


@contextlib.contextmanager
def precision_of(variant: Variant) -> Iterator[None]:
    """Set the precision of matrix products and convolutions."""
    if variant.package == "ours":
        import jax

        from benchmarks.accelerator.peaks import JAX_PRECISION

        with jax.default_matmul_precision(JAX_PRECISION[variant.precision]):
            yield
        return
    import torch

    for switch in (torch.backends.cuda.matmul, torch.backends.cudnn):
        switch.allow_tf32 = variant.precision != "float32"
    yield
