"""The Inception network of the FID, for the weights that published FIDs have used.

Its graph is that of the TensorFlow release of 2015, which differs from later
Inception V3s: average pooling excludes the padding, and the last block uses max
pooling. Parameters have the names of the pytorch-fid port's state dict:

| state dict (NCHW)                        | here (NHWC)                                   |
|------------------------------------------|-----------------------------------------------|
| Mixed_5b.branch1x1.conv.weight [o,i,h,w] | params/Mixed_5b/branch1x1/conv/kernel [h,w,i,o] |
| Mixed_5b.branch1x1.bn.weight, .bias      | params/Mixed_5b/branch1x1/bn/scale, bias      |
| Mixed_5b.branch1x1.bn.running_mean, _var | batch_stats/Mixed_5b/branch1x1/bn/mean, var   |
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.networks.inception_scaling import SCALINGS
from wgan_jax.types import Array

_IGNORED = ("fc.", "AuxLogits.")


class Inception(nn.Module):
    """Images [batch, h, w, channels] in [-1, 1] to features [batch, 2048].

    Grayscale images are repeated in three channels. `inception_variables` converts a state
    dict to variables.

    Raises:
      ValueError: the input is not images of one or three channels, or the scaling is unknown.

    Example:
      >>> import jax
      >>> x = jax.ShapeDtypeStruct((2, 32, 32, 1), "float32")
      >>> network = Inception()
      >>> variables = jax.eval_shape(network.init, jax.random.key(0), x)
      >>> jax.eval_shape(network.apply, variables, x).shape
      (2, 2048)

    References:
      Szegedy et al., Rethinking the Inception Architecture for Computer Vision, 2015;
      Heusel et al., 2017 (use for the FID); mseitzer/pytorch-fid (names).
    """

    scaling: str | None = "pytorch-fid"
    """Program whose scaling of images to 299 x 299 to use: pytorch-fid, clean-fid or tensorflow;
    None takes images of at least 75 x 75 as is."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        if x.ndim != 4 or x.shape[3] not in (1, 3):
            raise ValueError(f"Inception takes images [batch, h, w, 1 or 3], got {x.shape}")
        if x.shape[3] == 1:
            x = jnp.repeat(x, 3, axis=3)
        if self.scaling is not None:
            if self.scaling not in SCALINGS:
                raise ValueError(f"scaling must be one of {[*SCALINGS]}, got {self.scaling!r}")
            x = SCALINGS[self.scaling](x)
        x = ConvBN(32, 3, stride=2, name="Conv2d_1a_3x3")(x)
        x = ConvBN(32, 3, name="Conv2d_2a_3x3")(x)
        x = _halve(ConvBN(64, 3, padding=1, name="Conv2d_2b_3x3")(x))
        x = ConvBN(80, 1, name="Conv2d_3b_1x1")(x)
        x = _halve(ConvBN(192, 3, name="Conv2d_4a_3x3")(x))
        for name, width in (("5b", 32), ("5c", 64), ("5d", 64)):
            x = BlockA(width, name=f"Mixed_{name}")(x)
        x = BlockB(name="Mixed_6a")(x)
        for name, width in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
            x = BlockC(width, name=f"Mixed_{name}")(x)
        x = BlockD(name="Mixed_7a")(x)
        x = BlockE(_average, name="Mixed_7b")(x)
        x = BlockE(_largest, name="Mixed_7c")(x)
        return x.mean((1, 2))


class ConvBN(nn.Module):
    """Convolution, batch norm with running statistics, and ReLU."""

    filters: int
    window: int | tuple[int, int]
    stride: int = 1
    padding: int | tuple[int, int] = 0

    @nn.compact
    def __call__(self, x: Array) -> Array:
        window = (self.window,) * 2 if isinstance(self.window, int) else self.window
        margins = (self.padding,) * 2 if isinstance(self.padding, int) else self.padding
        padding = [(margin, margin) for margin in margins]
        strides = (self.stride, self.stride)
        x = nn.Conv(self.filters, window, strides, padding, use_bias=False, name="conv")(x)
        return nn.relu(nn.BatchNorm(use_running_average=True, epsilon=1e-3, name="bn")(x))


class BlockA(nn.Module):
    pooled: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        one = ConvBN(64, 1, name="branch1x1")(x)
        five = ConvBN(48, 1, name="branch5x5_1")(x)
        five = ConvBN(64, 5, padding=2, name="branch5x5_2")(five)
        three = ConvBN(64, 1, name="branch3x3dbl_1")(x)
        three = ConvBN(96, 3, padding=1, name="branch3x3dbl_2")(three)
        three = ConvBN(96, 3, padding=1, name="branch3x3dbl_3")(three)
        pool = ConvBN(self.pooled, 1, name="branch_pool")(_average(x))
        return jnp.concatenate([one, five, three, pool], -1)


class BlockB(nn.Module):
    @nn.compact
    def __call__(self, x: Array) -> Array:
        three = ConvBN(384, 3, stride=2, name="branch3x3")(x)
        double = ConvBN(64, 1, name="branch3x3dbl_1")(x)
        double = ConvBN(96, 3, padding=1, name="branch3x3dbl_2")(double)
        double = ConvBN(96, 3, stride=2, name="branch3x3dbl_3")(double)
        return jnp.concatenate([three, double, _halve(x)], -1)


class BlockC(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        one = ConvBN(192, 1, name="branch1x1")(x)
        seven = ConvBN(self.width, 1, name="branch7x7_1")(x)
        seven = _row(self.width, "branch7x7_2")(seven)
        seven = _column(192, "branch7x7_3")(seven)
        double = ConvBN(self.width, 1, name="branch7x7dbl_1")(x)
        double = _column(self.width, "branch7x7dbl_2")(double)
        double = _row(self.width, "branch7x7dbl_3")(double)
        double = _column(self.width, "branch7x7dbl_4")(double)
        double = _row(192, "branch7x7dbl_5")(double)
        pool = ConvBN(192, 1, name="branch_pool")(_average(x))
        return jnp.concatenate([one, seven, double, pool], -1)


class BlockD(nn.Module):
    @nn.compact
    def __call__(self, x: Array) -> Array:
        three = ConvBN(192, 1, name="branch3x3_1")(x)
        three = ConvBN(320, 3, stride=2, name="branch3x3_2")(three)
        seven = ConvBN(192, 1, name="branch7x7x3_1")(x)
        seven = _row(192, "branch7x7x3_2")(seven)
        seven = _column(192, "branch7x7x3_3")(seven)
        seven = ConvBN(192, 3, stride=2, name="branch7x7x3_4")(seven)
        return jnp.concatenate([three, seven, _halve(x)], -1)


class BlockE(nn.Module):
    pool: Any

    @nn.compact
    def __call__(self, x: Array) -> Array:
        one = ConvBN(320, 1, name="branch1x1")(x)
        three = ConvBN(384, 1, name="branch3x3_1")(x)
        double = ConvBN(448, 1, name="branch3x3dbl_1")(x)
        double = ConvBN(384, 3, padding=1, name="branch3x3dbl_2")(double)
        branches = [one]
        for y, name in ((three, "branch3x3_2"), (double, "branch3x3dbl_3")):
            branches.append(ConvBN(384, (1, 3), padding=(0, 1), name=f"{name}a")(y))
            branches.append(ConvBN(384, (3, 1), padding=(1, 0), name=f"{name}b")(y))
        branches.append(ConvBN(192, 1, name="branch_pool")(self.pool(x)))
        return jnp.concatenate(branches, -1)


def _row(filters: int, name: str) -> ConvBN:
    return ConvBN(filters, (1, 7), padding=(0, 3), name=name)


def _column(filters: int, name: str) -> ConvBN:
    return ConvBN(filters, (7, 1), padding=(3, 0), name=name)


def _halve(x: Array) -> Array:
    return nn.max_pool(x, (3, 3), (2, 2))


def _largest(x: Array) -> Array:
    return nn.max_pool(x, (3, 3), padding=((1, 1), (1, 1)))


def _average(x: Array) -> Array:
    return nn.avg_pool(x, (3, 3), padding=((1, 1), (1, 1)), count_include_pad=False)


def inception_variables(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Convert the arrays of a pytorch-fid state dict to variables of `Inception`.

    The classifier (`fc.`, `AuxLogits.`) and batch counters are ignored.

    Raises:
      ValueError: an array is missing, unexpected or of another shape; names the first.
    """
    expected = inception_state()
    arrays = {
        name: array
        for name, array in state.items()
        if not name.startswith(_IGNORED) and not name.endswith("num_batches_tracked")
    }
    for name in [*expected, *arrays]:
        shape = np.shape(arrays[name]) if name in arrays else "nothing"
        if shape != expected.get(name):
            raise ValueError(f"{name} should be {expected.get(name, 'absent')}, but is {shape}")
    variables: dict[str, Any] = {"params": {}, "batch_stats": {}}
    for name, array in arrays.items():
        *path, layer, leaf = name.split(".")
        collection, flax_leaf = _LEAVES[layer, leaf]
        group = variables[collection]
        for scope in (*path, layer):
            group = group.setdefault(scope, {})
        array = np.asarray(array, np.float32)
        group[flax_leaf] = array.transpose(2, 3, 1, 0) if layer == "conv" else array
    return variables


_LEAVES = {
    ("conv", "weight"): ("params", "kernel"),
    ("bn", "weight"): ("params", "scale"),
    ("bn", "bias"): ("params", "bias"),
    ("bn", "running_mean"): ("batch_stats", "mean"),
    ("bn", "running_var"): ("batch_stats", "var"),
}


@functools.cache
def inception_state() -> dict[str, tuple[int, ...]]:
    """Return the shapes of a state dict by name, in alphabetical order.

    Example:
      >>> inception_state()["Mixed_7c.branch_pool.conv.weight"]
      (192, 2048, 1, 1)
    """
    x = jax.ShapeDtypeStruct((1, 75, 75, 3), jnp.float32)
    variables = jax.eval_shape(Inception(scaling=None).init, jax.random.key(0), x)
    torch_leaves = {(layer, *flax): leaf for (layer, leaf), flax in _LEAVES.items()}
    shapes = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        collection, *scopes, layer, flax_leaf = (entry.key for entry in path)
        name = ".".join([*scopes, layer, torch_leaves[layer, collection, flax_leaf]])
        shapes[name] = tuple(leaf.shape[i] for i in (3, 2, 0, 1)) if layer == "conv" else leaf.shape
    return dict(sorted(shapes.items()))
