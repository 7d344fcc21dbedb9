"""Layouts of our networks as ordered lists of PyTorch layers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import flax.linen as nn

from wgan_jax.networks.dcgan import DCGANCritic, DCGANGenerator, stage_filters
from wgan_jax.networks.mlp import MLP
from wgan_jax.networks.resnet import ResNetCritic, ResNetGenerator
from wgan_jax.networks.sizes import halvings, residual_halvings, residual_widths

Kind = Literal["Conv", "ConvTranspose", "Dense", "BatchNorm", "LayerNorm"]
Image = tuple[int, int, int]


class Layer(NamedTuple):
    """One of our layers and its counterpart in PyTorch."""

    path: tuple[str, ...]
    """Path in our parameters."""
    name: str
    """Name in a state dict, unless the network has its own names."""
    kind: Kind
    shapes: tuple[tuple[int | None, ...], ...]
    """Possible shapes of its weight in PyTorch, the usual one first; None is any size."""
    has_bias: bool = True
    image_in: Image | None = None
    """[height, width, channels] if its inputs are a flattened image."""
    image_out: Image | None = None
    """The same for its outputs."""


def layers_of(module: nn.Module, input_shape: tuple[int, ...] | None = None) -> list[Layer]:
    """List the layers of a network in the order of PyTorch's modules.

    Raises:
      ValueError: the network has no counterpart.
    """
    layouts: dict[type, Callable[[Any, _Layers], None]] = {
        DCGANGenerator: _dcgan_generator,
        DCGANCritic: _dcgan_critic,
        ResNetGenerator: _resnet_generator,
        ResNetCritic: _resnet_critic,
        MLP: lambda module, layers: _mlp(module, layers, input_shape),
    }
    name = type(module).__name__
    if type(module) not in layouts:
        known = ", ".join(kind.__name__ for kind in layouts)
        raise ValueError(f"no layout in PyTorch is known for {name}; known: {known}")
    for field, default in (("num_classes", 0), ("spectral_norm", False)):
        value = getattr(module, field, default)
        if value != default:
            raise ValueError(f"{name}({field}={value}) has no usual layout in PyTorch")
    if input_shape is not None and not isinstance(module, MLP):
        raise ValueError(f"input_shape is for an MLP only; {name} has its own")
    layers = _Layers()
    layouts[type(module)](module, layers)
    return layers.layers


class _Layers:
    """List of layers, numbered by kind as in Linen and by position as in `nn.Sequential`."""

    def __init__(self) -> None:
        self.layers: list[Layer] = []
        self.position = 0
        self._scope: tuple[str, ...] = ()
        self._counts: dict[tuple[str, ...], int] = {}

    def add(self, kind: Kind, *shapes: tuple[int | None, ...], name: str = "", **more: Any) -> None:
        if not name:
            name = f"main.{self.position}"
            self.position += 1
        self.layers.append(Layer(self._path(kind), name, kind, shapes, **more))

    def norm(self, kind: str, width: int, name: str = "") -> None:
        if kind != "none":
            self.add("BatchNorm" if kind == "batch" else "LayerNorm", (width,), name=name)

    def block(self, inputs: int, outputs: int, resample: str, norm: str, first: bool) -> None:
        """Add a `ResidualBlock`."""
        middle = inputs if resample == "down" and not first else outputs
        norm, name = "none" if first else norm, f"main.{self.position}"
        self.position += 1
        self._scope = self._path("ResidualBlock")
        self.norm(norm, inputs, f"{name}.norm1")
        self.add("Conv", (middle, inputs, 3, 3), name=f"{name}.conv1")
        self.norm(norm, middle, f"{name}.norm2")
        self.add("Conv", (outputs, middle, 3, 3), name=f"{name}.conv2")
        if resample != "none" or inputs != outputs:
            self.add("Conv", (outputs, inputs, 1, 1), name=f"{name}.shortcut")
        self._scope = ()

    def _path(self, kind: str) -> tuple[str, ...]:
        number = self._counts.get((*self._scope, kind), 0)
        self._counts[*self._scope, kind] = number + 1
        return (*self._scope, f"{kind}_{number}")


def _dcgan_generator(module: DCGANGenerator, layers: _Layers) -> None:
    first, *hidden = reversed(
        stage_filters(module.image_size, module.filters, module.constant_filters)
    )
    plan = halvings(module.image_size)
    shapes = ((None, first, *plan.smallest), (plan.area * first, None))
    layers.add("Dense", *shapes, has_bias=False, image_out=(*plan.smallest, first))
    width = first
    sizes = [("ConvTranspose", 4, w) for w in hidden]
    sizes += [("Conv", 3, module.filters)] * module.extra_layers
    for kind, window, features in sizes:
        layers.norm(module.norm, width)
        layers.position += 1  # ReLU
        _convolve(layers, kind, window, width, features)
        width = features
    layers.norm(module.norm, width)
    layers.position += 1
    _convolve(layers, "ConvTranspose", 4, width, module.channels)


def _dcgan_critic(module: DCGANCritic, layers: _Layers) -> None:
    first, *hidden = stage_filters(module.image_size, module.filters, module.constant_filters)
    _convolve(layers, "Conv", 4, module.channels, first)
    layers.position += 1  # leaky ReLU
    width = first
    sizes = [(3, module.filters)] * module.extra_layers + [(4, w) for w in hidden]
    for window, features in sizes:
        _convolve(layers, "Conv", window, width, features)
        layers.norm(module.norm, features)
        layers.position += 1
        width = features
    plan = halvings(module.image_size)
    shapes = ((1, width, *plan.smallest), (1, plan.area * width))
    layers.add("Dense", *shapes, has_bias=False, image_in=(*plan.smallest, width))


def _convolve(layers: _Layers, kind: Any, window: int, inputs: int, outputs: int) -> None:
    ends = (inputs, outputs) if kind == "ConvTranspose" else (outputs, inputs)
    layers.add(kind, (*ends, window, window), has_bias=False)


def _resnet_generator(module: ResNetGenerator, layers: _Layers) -> None:
    widths = [module.filters * multiple for multiple in residual_widths(module.image_size)]
    width, plan = widths[0], halvings(module.image_size)
    layers.add("Dense", (plan.area * width, None), image_out=(*plan.smallest, width))
    layers.position += 1  # Unflatten
    for features in widths:
        layers.block(width, features, "up", module.norm, first=False)
        width = features
    layers.norm(module.norm, width)
    layers.position += 1
    layers.add("Conv", (module.channels, width, 3, 3))


def _resnet_critic(module: ResNetCritic, layers: _Layers) -> None:
    d, plan = module.filters, halvings(module.image_size)
    count = residual_halvings(module.image_size)
    if plan.is_large:
        layers.add("Conv", (d, module.channels, 3, 3))
        widths = [d * min(8, 2**k) for k in range(count + 1)]
        for inputs, outputs in itertools.pairwise(widths):
            layers.block(inputs, outputs, "down", module.norm, first=False)
        layers.position += 1  # Flatten
        shapes = ((1, plan.area * widths[-1]), (1, widths[-1], *plan.smallest))
        layers.add("Dense", *shapes, image_in=(*plan.smallest, widths[-1]))
        return
    layers.block(module.channels, d, "down", module.norm, first=True)
    for resample in ("down", "none", "none") if count == 2 else ("none", "none"):
        layers.block(d, d, resample, module.norm, first=False)
    layers.position += 3  # ReLU, mean, Flatten
    layers.add("Dense", (1, d))


def _mlp(module: MLP, layers: _Layers, input_shape: tuple[int, ...] | None) -> None:
    outputs = math.prod(module.output_shape)
    inputs = None if input_shape is None else math.prod(input_shape)
    widths = (inputs, *module.features, outputs)
    last = len(widths) - 2
    for i in range(last + 1):
        layers.add(
            "Dense",
            (widths[i + 1], widths[i]),
            image_in=_image(input_shape) if i == 0 else None,
            image_out=_image(module.output_shape) if i == last else None,
        )
        if i < last:
            layers.norm(module.norm, module.features[i])
        layers.position += 1


def _image(shape: tuple[int, ...] | None) -> Any:
    return shape if shape is not None and len(shape) == 3 else None
