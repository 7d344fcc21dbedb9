"""Weights of PyTorch networks, as the variables of ours. Needs NumPy only.

Each function takes a state dict as arrays, in PyTorch's order,

    {name: tensor.numpy() for name, tensor in network.state_dict().items()}

and returns {"params": ..., "batch_stats": ...}. Names of single layers do not matter, their
order does; layers of a residual block are known by the path that they share.

| PyTorch (NCHW)                           | here (NHWC)                              |
|------------------------------------------|------------------------------------------|
| Conv2d [o, i, h, w]                      | Conv [h, w, i, o]                        |
| ConvTranspose2d [i, o, h, w]             | ConvTranspose [h, w, o, i]               |
| ConvTranspose2d of a 1x1 image           | Dense, outputs in the order h, w, o      |
| Conv2d of a whole image                  | Dense, inputs in the order h, w, i       |
| Linear [o, i]                            | Dense [i, o]                             |
| BatchNorm2d                              | BatchNorm                                |
| GroupNorm(1, channels)                   | LayerNorm over height, width, channels   |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

State = Mapping[str, np.ndarray]
Group = dict[str, np.ndarray]


def dcgan_generator(state: State) -> dict[str, Any]:
    """`DCGANGenerator` from the reference code's DCGAN_G, extra layers included.

    Example:
      >>> import numpy as np
      >>> state = {"0.weight": np.ones((10, 8, 4, 4)), "1.weight": np.ones((8, 3, 4, 4))}
      >>> {name: w["kernel"].shape for name, w in dcgan_generator(state)["params"].items()}
      {'Dense_0': (10, 128), 'ConvTranspose_0': (4, 4, 3, 8)}
    """
    first, *rest = _groups(state).values()
    builder = _Builder()
    builder.add(
        "Dense", {"kernel": first["weight"].transpose(0, 2, 3, 1).reshape(len(first["weight"]), -1)}
    )
    for group in rest:
        is_transpose = group["weight"].ndim == 4 and group["weight"].shape[2] == 4
        builder.add_torch(group, "ConvTranspose" if is_transpose else "Conv")
    return builder.variables()


def dcgan_critic(state: State) -> dict[str, Any]:
    """`DCGANCritic` from the reference code's DCGAN_D, extra layers included."""
    *rest, last = _groups(state).values()
    builder = _Builder()
    for group in rest:
        builder.add_torch(group)
    builder.add("Dense", {"kernel": last["weight"].transpose(2, 3, 1, 0).reshape(-1, 1)})
    return builder.variables()


def resnet_generator(state: State) -> dict[str, Any]:
    """`ResNetGenerator` from: Linear to [c, 4, 4], blocks, norm, convolution.

    A block is a submodule with norm, convolution, norm, convolution and the
    1x1 convolution of its shortcut, in this order.
    """
    return _resnet(state, image_first=True)


def resnet_critic(state: State) -> dict[str, Any]:
    """`ResNetCritic` from: at 64 pixels a convolution; blocks; a Linear.

    Blocks as for `resnet_generator`; the first at 32 pixels has no norms, and
    blocks that keep the shape have no shortcut. At 64 pixels the Linear takes [c, 4, 4].
    """
    return _resnet(state, image_first=False)


class _Builder:
    """Numbers layers by kind, as Linen names them."""

    def __init__(self) -> None:
        self.params: dict[str, Any] = {}
        self.stats: dict[str, Any] = {}
        self.counts: dict[str, int] = {}

    def name(self, kind: str) -> str:
        number = self.counts.get(kind, 0)
        self.counts[kind] = number + 1
        return f"{kind}_{number}"

    def add(self, kind: str, params: Group, stats: Group | None = None) -> None:
        name = self.name(kind)
        self.params[name] = params
        if stats:
            self.stats[name] = stats

    def add_torch(self, group: Group, convolution: str = "Conv") -> None:
        weight = group["weight"]
        bias = {"bias": group["bias"]} if "bias" in group else {}
        if weight.ndim == 4:
            self.add(convolution, {"kernel": weight.transpose(2, 3, 1, 0), **bias})
        elif "running_mean" in group:
            stats = {"mean": group["running_mean"], "var": group["running_var"]}
            self.add("BatchNorm", {"scale": weight, **bias}, stats)
        else:
            self.add("LayerNorm", {"scale": weight, **bias})

    def add_block(self, block: _Builder) -> None:
        self.add("ResidualBlock", block.params, block.stats)

    def variables(self) -> dict[str, Any]:
        return {"params": self.params} | ({"batch_stats": self.stats} if self.stats else {})


def _resnet(state: State, *, image_first: bool) -> dict[str, Any]:
    builder, block, path = _Builder(), _Builder(), ""
    channels = 0
    for name, group in _groups(state).items():
        parent = name.rpartition(".")[0]
        if parent != path:
            if path:
                builder.add_block(block)
            block, path = _Builder(), parent
        weight = group["weight"]
        if parent:
            block.add_torch(group)
        elif weight.ndim != 2:
            builder.add_torch(group)
        elif image_first:
            image = (-1, 4, 4, weight.shape[1])
            kernel = weight.reshape(image).transpose(3, 1, 2, 0).reshape(weight.shape[1], -1)
            bias = group["bias"].reshape(-1, 4, 4).transpose(1, 2, 0).reshape(-1)
            builder.add("Dense", {"kernel": kernel, "bias": bias})
        else:
            kernel = weight.T
            if weight.shape[1] != channels:
                kernel = weight.reshape(1, -1, 4, 4).transpose(2, 3, 1, 0).reshape(-1, 1)
            builder.add("Dense", {"kernel": kernel, "bias": group["bias"]})
        channels = weight.shape[0]
    return builder.variables()


def _groups(state: State) -> dict[str, Group]:
    """The arrays of each layer, layers in order."""
    groups: dict[str, Group] = {}
    for name, array in state.items():
        layer, _, leaf = name.rpartition(".")
        groups.setdefault(layer, {})[leaf] = np.asarray(array)
    return groups
