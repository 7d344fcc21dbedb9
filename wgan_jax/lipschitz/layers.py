"""Layers that critics are composed of, and Lipschitz bounds of their chains."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from wgan_jax.lipschitz.norms import convolution_norm, gram_norm, round_up, schur_norm
from wgan_jax.networks.convolution import Geometry

_LARGEST = 4096


class LipschitzBound(NamedTuple):
    """Certified bounds of |f(x) - f(y)| / |x - y|; `value` is the smallest of the others.

    Attributes:
      value: the bound to use.
      norms: the product of bounds of the layers' operator norms.
      absolute: the norm of the product of absolute weights; inf if not applicable.
      box: bound for any weights no larger than the largest one of each layer.
    """

    value: float
    norms: float
    absolute: float
    box: float


@dataclasses.dataclass(frozen=True)
class Linear:
    """A linear map x -> x @ matrix, [inputs, outputs].

    Example:
      >>> import numpy as np
      >>> round(bound_of_layers([Linear(2 * np.eye(3))]).value, 3)
      2.0
    """

    matrix: np.ndarray


@dataclasses.dataclass(frozen=True)
class Convolution:
    """A zero-padded convolution of images with kernel [a, b, i, o].

    Example:
      >>> import numpy as np
      >>> from wgan_jax.networks.convolution import Geometry
      >>> one_pixel = Geometry(image=(8, 8), window=(1, 1), stride=1, padding=0)
      >>> round(bound_of_layers([Convolution(np.full((1, 1, 1, 1), 3.0), one_pixel)]).value, 3)
      3.0
    """

    kernel: np.ndarray
    geometry: Geometry


@dataclasses.dataclass(frozen=True)
class Scale:
    """A factor per channel, the last axis.

    Example:
      >>> import numpy as np
      >>> round(bound_of_layers([Scale(np.array([0.5, -2.0]))]).value, 3)
      2.0
    """

    factors: np.ndarray


@dataclasses.dataclass(frozen=True)
class Bounded:
    """Any map with a known Lipschitz constant; excluded from products of absolute weights.

    Example:
      >>> round(bound_of_layers([Bounded(1.5), Bounded(2.0)]).value, 3)
      3.0
    """

    constant: float


@dataclasses.dataclass(frozen=True)
class Sum:
    """A sum of parallel chains, as in a residual block; an empty chain is the identity.

    Example:
      >>> round(bound_of_layers([Sum(([], [Bounded(2.0)]))]).value, 3)
      3.0
    """

    chains: tuple[list[Layer], ...]


Layer = Linear | Convolution | Scale | Bounded | Sum


def bound_of_layers(layers: list[Layer]) -> LipschitzBound:
    """Bounds of a chain of layers with 1-Lipschitz activations between them.

    Example:
      >>> import numpy as np
      >>> chain = [Linear(np.eye(2)), Linear(np.array([[1.0], [-1.0]]))]
      >>> round(bound_of_layers(chain).value, 3)
      1.414
    """
    norms = round_up(_product(_norm, layers))
    box = round_up(_product(_box, layers))
    absolute = _absolute(layers)
    return LipschitzBound(min(norms, absolute, box), norms, absolute, box)


def _norm(layer: Layer) -> float:
    match layer:
        case Linear(matrix):
            return gram_norm(matrix)
        case Convolution(kernel, geometry):
            return convolution_norm(kernel, geometry.stride)
        case Scale(factors):
            return float(np.abs(factors).max())
        case Bounded(constant):
            return constant
        case Sum(chains):
            return sum(_product(_norm, chain) for chain in chains)


def _box(layer: Layer) -> float:
    """The largest norm of a layer with weights no larger than its largest one."""
    match layer:
        case Linear(matrix):
            return float(np.abs(matrix).max(initial=0)) * matrix.size**0.5
        case Convolution(kernel, geometry):
            full = np.full_like(kernel, np.abs(kernel).max(initial=0))
            return schur_norm(full, geometry.stride)
        case Sum(chains):
            return sum(_product(_box, chain) for chain in chains)
        case _:
            return _norm(layer)


def _product(bound: Callable[[Layer], float], layers: list[Layer]) -> float:
    return math.prod(bound(layer) for layer in layers)


def _absolute(layers: list[Layer]) -> float:
    """| |W_1| |W_2| ... |W_L| |: activations with slopes in [-1, 1] cannot exceed it."""
    product: np.ndarray | None = None
    for layer in layers:
        if not isinstance(layer, Linear) or max(layer.matrix.shape) > _LARGEST:
            return math.inf
        weights = np.abs(layer.matrix).astype(np.float64)
        product = weights if product is None else product @ weights
    return math.inf if product is None else gram_norm(product)
