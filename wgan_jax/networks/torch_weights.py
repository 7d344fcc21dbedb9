"""Conversion of weights from and to PyTorch networks. PyTorch itself is not needed.

| PyTorch (NCHW)                               | here (NHWC)                            |
|----------------------------------------------|----------------------------------------|
| Conv2d [o, i, h, w]                          | Conv [h, w, i, o]                      |
| ConvTranspose2d [i, o, h, w]                 | ConvTranspose [h, w, o, i]             |
| ConvTranspose2d of a 1x1 image, or Linear    | Dense, outputs in the order h, w, c    |
| Conv2d of a full image, or Linear            | Dense, inputs in the order h, w, c     |
| Linear [o, i]                                | Dense [i, o]                           |
| BatchNorm2d                                  | BatchNorm                              |
| GroupNorm(1, channels)                       | LayerNorm over height, width, channels |
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from wgan_jax.networks.torch_layouts import Image, Layer, layers_of
from wgan_jax.types import PyTree

Group = dict[str, np.ndarray]

_COUNTER = "num_batches_tracked"


def from_state_dict(
    module: nn.Module,
    state: Mapping[str, Any],
    *,
    order: Sequence[str] | None = None,
    input_shape: tuple[int, ...] | None = None,
) -> tuple[PyTree, PyTree]:
    """Convert the weights of a PyTorch network to those of `module`, which computes the same.

    Names do not matter. Layers are identified by their shapes, and layers of equal shape by
    their order in `network.state_dict()`. Names in a safetensors file are sorted instead;
    numbers in them then determine the order.

    Args:
      module: a `DCGANGenerator`, `DCGANCritic`, `ResNetGenerator`, `ResNetCritic` or `MLP`,
        with neither labels nor spectral norm.
      state: arrays or tensors by name.
      order: names of all layers (without `.weight`) in order, if a file does not preserve it.
      input_shape: `[height, width, channels]` of the images that an `MLP` takes; PyTorch
        flattens them channels first.

    Returns:
      `(params, stats)`, as `from_linen(module).init` returns them.

    Raises:
      ValueError: a layer is missing, left over or of another shape, or the order is lost.

    Example:
      >>> import numpy as np
      >>> from wgan_jax import MLP
      >>> torch = {"0.weight": np.ones((8, 2)), "0.bias": np.ones(8)}
      >>> torch |= {"2.weight": np.ones((1, 8)), "2.bias": np.ones(1)}
      >>> params, stats = from_state_dict(MLP(features=(8,)), torch)
      >>> params["Dense_0"]["kernel"].shape
      (2, 8)
    """
    params, stats = dict[tuple[str, ...], np.ndarray](), dict[tuple[str, ...], np.ndarray]()
    groups = _groups(state)
    for layer, name in _match(layers_of(module, input_shape), groups, order):
        group = groups[name]
        is_norm = layer.kind in ("BatchNorm", "LayerNorm")
        kernel = group["weight"] if is_norm else _kernel(layer, group["weight"])
        params[*layer.path, "scale" if is_norm else "kernel"] = kernel
        if layer.has_bias:
            # A missing bias is zero.
            bias = group.get("bias", np.zeros(kernel.shape[-1], np.float32))
            params[*layer.path, "bias"] = _reorder(bias, layer.image_out, to_torch=False)
        if layer.kind == "BatchNorm":
            stats["batch_stats", *layer.path, "mean"] = group["running_mean"]
            stats["batch_stats", *layer.path, "var"] = group["running_var"]
    own = jax.tree.map(jnp.array, (params, stats))  # copies, independent of PyTorch's memory
    return unflatten_dict(own[0]), unflatten_dict(own[1])


def to_state_dict(
    module: nn.Module,
    params: PyTree,
    stats: PyTree = None,
    *,
    like: Mapping[str, Any] | None = None,
    input_shape: tuple[int, ...] | None = None,
) -> dict[str, np.ndarray]:
    """Convert the weights of `module` to the state dict of a PyTorch network.

    Load them with `network.load_state_dict({k: torch.from_numpy(v) for k, v in ....items()})`.

    Args:
      module: as for `from_state_dict`.
      params: its parameters.
      stats: its running statistics, if it has batch norm.
      like: state dict of the network that will load them, for its names and shapes.
        By default the names are those of layers in one `nn.Sequential` called `main`, as
        in PyTorch's own DCGAN example; residual blocks hold `norm1`, `conv1`, `norm2`,
        `conv2` and `shortcut`.
      input_shape: as for `from_state_dict`.

    Returns:
      Arrays of float32 by name, and batch counters for batch norm.

    Raises:
      ValueError: layers of `like` do not match; statistics are missing; a nonzero bias
        has no counterpart.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from wgan_jax import MLP
      >>> module = MLP(features=(8,))
      >>> params = module.init(jax.random.key(0), jnp.ones((1, 2)))["params"]
      >>> {name: array.shape for name, array in to_state_dict(module, params).items()}
      {'main.0.weight': (8, 2), 'main.0.bias': (8,), 'main.2.weight': (1, 8), 'main.2.bias': (1,)}
    """
    layers = layers_of(module, input_shape)
    weights, running = flatten_dict(params), flatten_dict((stats or {}).get("batch_stats", {}))
    groups = None if like is None else _groups(like)
    names = [(layer, layer.name) for layer in layers] if groups is None else _match(layers, groups)
    state: dict[str, np.ndarray] = {}
    for layer, name in names:
        for path in ((*layer.path, "mean"),) if layer.kind == "BatchNorm" else ():
            if path not in running:
                raise ValueError(f"the running statistics of {'/'.join(layer.path)} are missing")
        shape = layer.shapes[0] if groups is None else groups[name]["weight"].shape
        arrays = _torch_arrays(layer, weights, running, shape)
        if groups is not None and "bias" not in groups[name]:
            bias = arrays.pop("bias", None)
            if bias is not None and bias.any():
                raise ValueError(f"{name} has no bias, but that of {'/'.join(layer.path)} is not 0")
        state |= {f"{name}.{leaf}": array for leaf, array in arrays.items()}
    if like is None:
        return state
    counters = {name: np.asarray(0, np.int64) for name in like if name.endswith(_COUNTER)}
    return {name: (state | counters)[name] for name in like}


def _torch_arrays(layer: Layer, params: Any, stats: Any, shape: tuple) -> Group:
    if layer.kind in ("BatchNorm", "LayerNorm"):
        arrays = {"weight": params[*layer.path, "scale"], "bias": params[*layer.path, "bias"]}
    else:
        kernel = np.asarray(params[*layer.path, "kernel"], np.float32)
        arrays = {"weight": _weight(layer, kernel, len(shape))}
        if layer.has_bias:
            bias = np.asarray(params[*layer.path, "bias"], np.float32)
            arrays["bias"] = _reorder(bias, layer.image_out, to_torch=True)
    if layer.kind == "BatchNorm":
        arrays["running_mean"] = stats[*layer.path, "mean"]
        arrays["running_var"] = stats[*layer.path, "var"]
    # Copies, which PyTorch may write to.
    own = {leaf: np.array(array, np.float32, order="C") for leaf, array in arrays.items()}
    counter = {_COUNTER: np.asarray(0, np.int64)} if layer.kind == "BatchNorm" else {}
    return own | counter


def _kernel(layer: Layer, weight: np.ndarray) -> np.ndarray:
    """Convert PyTorch's weight to our kernel."""
    if layer.kind != "Dense":
        return weight.transpose(2, 3, 1, 0)
    if weight.ndim == 4 and layer.image_out:  # ConvTranspose2d [i, c, h, w]
        return weight.transpose(0, 2, 3, 1).reshape(weight.shape[0], -1)
    matrix = weight.reshape(weight.shape[0], -1)  # [o, i]
    matrix = _reorder(matrix, layer.image_out, to_torch=False)
    return _reorder(matrix.T, layer.image_in, to_torch=False)


def _weight(layer: Layer, kernel: np.ndarray, ndim: int) -> np.ndarray:
    """Convert our kernel to PyTorch's weight with `ndim` axes."""
    if layer.kind != "Dense":
        return kernel.transpose(3, 2, 0, 1)
    if ndim == 4 and layer.image_out:
        return kernel.reshape(-1, *layer.image_out).transpose(0, 3, 1, 2)
    matrix = _reorder(kernel, layer.image_in, to_torch=True).T
    matrix = _reorder(matrix, layer.image_out, to_torch=True)
    if ndim == 4 and layer.image_in:
        height, width, channels = layer.image_in
        return matrix.reshape(-1, channels, height, width)
    return matrix


def _reorder(x: np.ndarray, image: Image | None, *, to_torch: bool) -> np.ndarray:
    """Reorder the first axis, a flattened image, from h, w, c to c, h, w or back."""
    if image is None:
        return x
    height, width, channels = image
    shape = (height, width, channels) if to_torch else (channels, height, width)
    axes = (2, 0, 1) if to_torch else (1, 2, 0)
    rest = tuple(range(3, 2 + x.ndim))
    return x.reshape(*shape, *x.shape[1:]).transpose(*axes, *rest).reshape(x.shape)


def _match(
    layers: list[Layer], groups: dict[str, Group], order: Sequence[str] | None = None
) -> list[tuple[Layer, str]]:
    """Match each layer with the name of its counterpart."""
    if order is not None:
        if sorted(order) != sorted(groups):
            raise ValueError(f"order={list(order)} must name the layers {list(groups)}, each once")
        names = list(order)
    else:
        names = sorted(groups, key=_tokens) if _is_sorted(list(groups)) else list(groups)
    pairs = []
    for layer in layers:
        fitting = [name for name in names if _fits(layer, groups[name])]
        if not fitting:
            left = {name: groups[name]["weight"].shape for name in names}
            wanted = " or ".join(map(str, layer.shapes)).replace("None", "any")
            bias = "" if layer.has_bias else " without a bias"
            raise ValueError(
                f"{'/'.join(layer.path)} needs a {layer.kind} layer with a weight of shape "
                f"{wanted}{bias}, but none is left: {left or 'all are used'}"
            )
        name = fitting[0]
        for other in fitting[1:] if order is None and _is_sorted(list(groups)) else ():
            if not _numbered(name, other):
                raise ValueError(
                    f"the names are sorted, as in a safetensors file, so which of {name} and "
                    f"{other} comes first is lost; pass order=[...], all layers in order"
                )
        names.remove(name)
        pairs.append((layer, name))
    if names:
        raise ValueError(f"layers are left over: {names}")
    return pairs


def _fits(layer: Layer, group: Group) -> bool:
    weight = group["weight"]
    is_batch_norm = "running_mean" in group
    return (
        any(
            len(shape) == weight.ndim
            and all(a in (None, b) for a, b in zip(shape, weight.shape, strict=True))
            for shape in layer.shapes
        )
        and is_batch_norm == (layer.kind == "BatchNorm")
        and (layer.has_bias or "bias" not in group)
    )


def _is_sorted(names: list[str]) -> bool:
    return names == sorted(names)


def _tokens(name: str) -> list[tuple[int, Any]]:
    """Split a name into text and integers, so that 10 comes after 2."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part)) if part.isdigit() else (1, part) for part in parts]


def _numbered(left: str, right: str) -> bool:
    """Return whether two names first differ in a number."""
    pairs = zip(_tokens(left), _tokens(right), strict=False)
    first = next(((a, b) for a, b in pairs if a != b), ((1, ""), (1, "")))
    return first[0][0] == first[1][0] == 0


def _groups(state: Mapping[str, Any]) -> dict[str, Group]:
    """Group arrays by layer, in order."""
    groups: dict[str, Group] = {}
    for name, value in state.items():
        layer, _, leaf = name.rpartition(".")
        if leaf != _COUNTER:
            tensor = value.detach().cpu().float() if hasattr(value, "detach") else value
            groups.setdefault(layer, {})[leaf] = np.asarray(tensor, np.float32)
    for layer, group in groups.items():
        unknown = sorted(group.keys() - {"weight", "bias", "running_mean", "running_var"})
        if unknown or "weight" not in group:
            raise ValueError(
                f"layer {layer!r} holds {sorted(group)}, not a plain weight with its bias and "
                f"running statistics"
            )
    return groups
