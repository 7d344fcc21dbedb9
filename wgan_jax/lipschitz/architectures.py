"""Lipschitz bounds of the critics of this package, as chains of layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.lipschitz.layers import (
    Bounded,
    Convolution,
    Layer,
    Linear,
    LipschitzBound,
    Scale,
    Sum,
    bound_of_layers,
)
from wgan_jax.networks.cones import Cones
from wgan_jax.networks.convolution import Geometry
from wgan_jax.networks.dcgan import DCGANCritic, stage_filters
from wgan_jax.networks.groupsort import GroupSort, orthonormalize
from wgan_jax.networks.mlp import MLP
from wgan_jax.networks.resnet import ResNetCritic
from wgan_jax.networks.sizes import halvings, residual_halvings
from wgan_jax.networks.spectral import COLLECTION

_EPSILON = 1e-5  # of the normalization layers in networks.normalization
_POOL = 0.5  # operator norm of the mean over 2 x 2 pixels


def lipschitz_bound(module: nn.Module, variables: Mapping[str, Any]) -> LipschitzBound:
    """A certified upper bound of the Lipschitz constant of a critic, at inference.

    The smallest of three bounds: the product of operator norms (Gram iteration), the norm of
    the product of absolute weights, and the bound of the weight box. All activations here
    (ReLU, leaky ReLU, tanh, sorting) are 1-Lipschitz and do not enter. Residual branches
    add up. Batch norm with running statistics is a scale per channel. Layer norm divides by
    the standard deviation of the sample, which may be arbitrarily small: its bound,
    1 / sqrt(epsilon) per layer, holds but is loose. Spectrally normalized weights are used
    as applied. The bound assumes float32 and full precision of matrix products, which on GPU
    and TPU means evaluation under `jax.default_matmul_precision("highest")`.

    Args:
      module: an `MLP`, `DCGANCritic`, `ResNetCritic`, `Cones` or `GroupSort`.
      variables: variables of `module`: `params`, and `batch_stats` or `spectral_stats` if any.

    Returns:
      A `LipschitzBound`, in units of score per unit of sample.

    Raises:
      ValueError: an unknown architecture; a conditional critic, which is not a function of
        the sample alone; half precision; batch norm without running statistics; spectral norm
        without its statistics; or weights that are not finite.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> critic = MLP(features=(64, 64))
      >>> variables = critic.init(jax.random.key(0), jnp.ones((1, 2)))
      >>> bound = lipschitz_bound(critic, variables)
      >>> bound.value <= bound.norms
      True

    References:
      Delattre, Barthélemy, Araujo and Allauzen, Efficient bound of Lipschitz
      constant for convolutional layers by Gram iteration, 2023; Combettes and
      Pesquet, Lipschitz certificates for layered network structures, 2020
      (absolute weights).
    """
    for architecture, layers_of in _ARCHITECTURES.items():
        if isinstance(module, architecture):
            for name in ("num_classes", "condition_dim"):
                if value := getattr(module, name, 0):
                    raise ValueError(
                        "a conditional critic is a function of sample and condition; a Lipschitz "
                        f"constant in the sample alone bounds no distance ({name}={value})"
                    )
            _require_single_precision(module, variables)
            variables = jax.tree.map(_finite, dict(variables))
            if getattr(module, "spectral_norm", False):
                variables = {**variables, "params": _applied_weights(variables)}
            return bound_of_layers(layers_of(module, variables))
    known = ", ".join(architecture.__name__ for architecture in _ARCHITECTURES)
    raise ValueError(f"no Lipschitz bound for {type(module).__name__}; known: {known}")


def _require_single_precision(module: nn.Module, variables: Mapping[str, Any]) -> None:
    types = {np.dtype(leaf.dtype) for leaf in jax.tree.leaves(variables) if hasattr(leaf, "dtype")}
    types |= {np.dtype(getattr(module, "dtype", None) or np.float32)}
    for dtype in types:
        if jnp.issubdtype(dtype, jnp.floating) and dtype.itemsize < 4:
            raise ValueError(
                f"{type(module).__name__} in {dtype.name}: its scores change in steps, with slopes "
                "that no bound on the weights covers; certify and evaluate it in float32, as "
                'module.clone(dtype="float32") with its weights as float32'
            )


def _finite(weights: Any) -> np.ndarray:
    w = np.asarray(weights, np.float64)
    bad = np.count_nonzero(~np.isfinite(w))
    if bad:
        raise ValueError(f"weights of shape {w.shape} have {bad} values that are not finite")
    return w


def _applied_weights(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Kernels over their largest singular values, computed from the statistics as in inference."""
    if COLLECTION not in variables:
        raise ValueError(f"a critic with spectral norm needs its {COLLECTION} among the variables")

    def divide(params: Any, stats: Mapping[str, Any]) -> dict[str, Any]:
        applied = dict(params)
        for name, entry in stats.items():
            if name in params:
                applied[name] = divide(params[name], entry)
                continue
            for path, start in entry.items():
                layer, weight, kind = path.split("/")
                if kind == "u":
                    kernel = params[layer][weight]
                    matrix = kernel.reshape(-1, kernel.shape[-1])
                    applied[layer] = {**params[layer], weight: kernel / _sigma(matrix, start)}
        return applied

    return divide(variables["params"], variables[COLLECTION])


def _sigma(matrix: np.ndarray, start: np.ndarray) -> float:
    """One power iteration from the stored vector, rounded down for float32."""
    v = start @ matrix.T
    v = v / max(np.linalg.norm(v), 1e-12)
    u = v @ matrix
    sigma = float(np.linalg.norm(u))
    return sigma * (1 - 1e-5) if sigma > 0 else 1.0


def _mlp(module: MLP, variables: Mapping[str, Any]) -> list[Layer]:
    params, layers = variables["params"], list[Layer]()
    for k in range(len(module.features)):
        layers.append(Linear(params[f"Dense_{k}"]["kernel"]))
        layers += _norm(module.norm, variables, (), k)
    return [*layers, Linear(params[f"Dense_{len(module.features)}"]["kernel"])]


def _dcgan(module: DCGANCritic, variables: Mapping[str, Any]) -> list[Layer]:
    params, layers = variables["params"], list[Layer]()
    count = module.extra_layers + len(
        stage_filters(module.image_size, module.filters, module.constant_filters)
    )
    size = halvings(module.image_size).sides
    for k in range(count):
        kernel = params[f"Conv_{k}"]["kernel"]
        stride = 1 if 1 <= k <= module.extra_layers else 2
        layers.append(_convolution(kernel, size, stride, 1))
        size = (size[0] // stride, size[1] // stride)
        if k:
            layers += _norm(module.norm, variables, (), k - 1)
    return [*layers, Linear(params["Dense_0"]["kernel"])]


def _resnet(module: ResNetCritic, variables: Mapping[str, Any]) -> list[Layer]:
    params, plan = variables["params"], halvings(module.image_size)
    layers: list[Layer] = []
    small, size = not plan.is_large, plan.sides
    if not small:
        layers.append(_convolution(params["Conv_0"]["kernel"], size, 1, 1))
    for k in range(sum(name.startswith("ResidualBlock_") for name in params)):
        halves = k < residual_halvings(module.image_size)
        layers.append(
            _block(module, variables, f"ResidualBlock_{k}", size, halves, small and k == 0)
        )
        size = (size[0] // 2, size[1] // 2) if halves else size
    if small:
        layers.append(Bounded((size[0] * size[1]) ** -0.5))  # the mean over all pixels
    return [*layers, Linear(params["Dense_0"]["kernel"])]


def _block(
    module: ResNetCritic,
    variables: Mapping[str, Any],
    name: str,
    size: tuple[int, int],
    halves: bool,
    first: bool,
) -> Sum:
    """A residual block and its shortcut."""
    kernels = variables["params"][name]
    norm = "none" if first else module.norm
    branch: list[Layer] = [] if first else _norm(norm, variables, (name,), 0)
    branch.append(_convolution(kernels["Conv_0"]["kernel"], size, 1, 1))
    branch += _norm(norm, variables, (name,), 1)
    branch.append(_convolution(kernels["Conv_1"]["kernel"], size, 1, 1))
    shortcut: list[Layer] = []
    if halves:
        branch.append(Bounded(_POOL))
        shortcut.append(Bounded(_POOL))
    if "Conv_2" in kernels:
        shortcut.append(_convolution(kernels["Conv_2"]["kernel"], size, 1, 0))
    return Sum((branch, shortcut))


def _convolution(
    kernel: np.ndarray, size: tuple[int, int], stride: int, padding: int
) -> Convolution:
    return Convolution(kernel, Geometry(size, kernel.shape[:2], stride, padding))


def _norm(kind: str, variables: Mapping[str, Any], scope: tuple[str, ...], k: int) -> list[Layer]:
    """The k-th normalization within a scope."""
    if kind == "none":
        return []
    name = f"{'BatchNorm' if kind == 'batch' else 'LayerNorm'}_{k}"
    scale = _at(variables["params"], scope)[name]["scale"]
    if kind == "layer":
        return [Bounded(float(np.abs(scale).max()) / _EPSILON**0.5)]
    statistics = _at(variables.get("batch_stats", {}), scope).get(name)
    if statistics is None:
        raise ValueError(
            f"{'/'.join((*scope, name))} has no running statistics: with those of the batch a "
            "critic is not a function of one sample and has no Lipschitz constant; pass "
            "batch_stats, or use another norm"
        )
    return [Scale(scale / np.sqrt(statistics["var"] + _EPSILON))]


def _at(tree: Mapping[str, Any], scope: tuple[str, ...]) -> Mapping[str, Any]:
    for name in scope:
        tree = tree.get(name, {})
    return tree


def _cones(module: Cones, variables: Mapping[str, Any]) -> list[Layer]:
    return [Bounded(1.0)]


def _group_sort(module: GroupSort, variables: Mapping[str, Any]) -> list[Layer]:
    def effective(kernel: np.ndarray) -> np.ndarray:
        return np.asarray(orthonormalize(jnp.asarray(kernel, jnp.float32), module.iterations))

    params = variables["params"]
    kernels = [params[f"kernel_{k}"] for k in range(len(module.features) + 1)]
    return [*(Linear(effective(kernel)) for kernel in kernels), Bounded(1.0)]


LayersOf = Callable[[Any, Mapping[str, Any]], list[Layer]]
_ARCHITECTURES: dict[type[nn.Module], LayersOf] = {
    MLP: _mlp,
    DCGANCritic: _dcgan,
    ResNetCritic: _resnet,
    Cones: _cones,
    GroupSort: _group_sort,
}
