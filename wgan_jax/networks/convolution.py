"""Convolutions that stay fast, also on CPU, when they are scanned and differentiated twice.

A convolution of an image `x` with a kernel `k`, paired with an output `y`, is a
trilinear form <x * k, y>. Fixing two of the three gives three bilinear maps

    convolve (x, k) -> y    conv_transpose (y, k) -> x    kernel_gradient (x, y) -> k

The tangent of each is that map itself, and its transposes are the other two, so they
form one JAX primitive with forward- and reverse-mode derivatives of all orders.

XLA:CPU turns convolutions into its fast form only outside loops (jax issue 12868);
those that automatic differentiation emits are up to 95 times slower inside
`lax.scan`. On CPU the two backward maps are therefore matrix products, as are all
three where Winograd's algorithm saves multiplications (`winograd`); elsewhere they
are plain `lax` convolutions. The choice is made during lowering.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from wgan_jax.networks import winograd
from wgan_jax.types import Array

_NHWC = ("NHWC", "HWIO", "NHWC")


class Geometry(NamedTuple):
    """Static geometry shared by the three maps; sizes are (height, width)."""

    image: tuple[int, int]
    window: tuple[int, int]
    stride: int
    padding: int

    @property
    def output(self) -> tuple[int, int]:
        (height, width), (a, b) = self.image, self.window
        padding = 2 * self.padding
        return (
            (height + padding - a) // self.stride + 1,
            (width + padding - b) // self.stride + 1,
        )


def convolve(geometry: Geometry, x: Array, kernel: Array) -> Array:
    """Map images [n, H, W, i] and kernel [a, b, i, o] to outputs [n, h, w, o]."""
    return _bind("y", x, kernel, geometry=geometry)


def conv_transpose(geometry: Geometry, y: Array, kernel: Array) -> Array:
    """Map outputs [n, h, w, o] and kernel [a, b, i, o] to images [n, H, W, i]."""
    return _bind("x", y, kernel, geometry=geometry)


def kernel_gradient(geometry: Geometry, x: Array, y: Array) -> Array:
    """Map images [n, H, W, i] and outputs [n, h, w, o] to kernel [a, b, i, o]."""
    return _bind("k", x, y, geometry=geometry)


def _convolve(geometry: Geometry, x: Array, kernel: Array) -> Array:
    plain = partial(_plain, geometry)
    if not _saves(geometry, x, kernel.shape[2]):
        return plain(x, kernel)

    def cpu(x: Array, kernel: Array) -> Array:
        return winograd.convolve(x, kernel, geometry.output, geometry.padding)

    return lax.platform_dependent(x, kernel, cpu=cpu, default=plain)


def _conv_transpose(geometry: Geometry, y: Array, kernel: Array) -> Array:
    image = jax.ShapeDtypeStruct((y.shape[0], *geometry.image, kernel.shape[2]), y.dtype)

    def plain(y: Array, kernel: Array) -> Array:
        return jax.linear_transpose(lambda x: _plain(geometry, x, kernel), image)(y)[0]

    def cpu(y: Array, kernel: Array) -> Array:
        if _saves(geometry, y, kernel.shape[2]):
            return winograd.spread(y, kernel, geometry.image, geometry.padding)
        return _conv_transpose_windows(geometry, y, kernel)

    return lax.platform_dependent(y, kernel, cpu=cpu, default=plain)


def _kernel_gradient(geometry: Geometry, x: Array, y: Array) -> Array:
    window = jax.ShapeDtypeStruct((*geometry.window, x.shape[3], y.shape[3]), x.dtype)

    def plain(x: Array, y: Array) -> Array:
        return jax.linear_transpose(lambda k: _plain(geometry, x, k), window)(y)[0]

    def cpu(x: Array, y: Array) -> Array:
        if _saves(geometry, x, x.shape[3]):
            return winograd.correlate(x, y, geometry.padding)
        return _kernel_gradient_windows(geometry, x, y)

    return lax.platform_dependent(x, y, cpu=cpu, default=plain)


# The primitive maps two of x, y, k to the third, `wanted`. `mapped` lists every `jax.vmap`
# around it, innermost first: whether each of the two operands has its axis, in front.
# `precision` is `jax.default_matmul_precision` at the call, no longer set during lowering.
_MAPS = {"y": _convolve, "x": _conv_transpose, "k": _kernel_gradient}
_OPERANDS = {"y": ("x", "k"), "x": ("y", "k"), "k": ("x", "y")}
_trilinear = Primitive("trilinear_convolution")


def _bind(wanted: str, a: Array, b: Array, *, geometry: Geometry) -> Array:
    precision = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
    return _trilinear.bind(a, b, wanted=wanted, mapped=(), geometry=geometry, precision=precision)


def _evaluate(
    a: Array, b: Array, *, wanted: str, mapped: tuple, geometry: Geometry, precision: str | None
) -> Array:
    evaluate = partial(_MAPS[wanted], geometry)
    for axes in mapped:
        evaluate = jax.vmap(evaluate, tuple(0 if has_axis else None for has_axis in axes))
    with jax.default_matmul_precision(precision):
        return evaluate(a, b)


_evaluate_jitted = jax.jit(_evaluate, static_argnames=("wanted", "mapped", "geometry", "precision"))


def _type(a: Any, b: Any, **params: Any) -> Any:
    return jax.make_jaxpr(partial(_evaluate_jitted, **params))(a, b).out_avals[0]


def _batch(operands: tuple, dims: tuple, *, mapped: tuple, **params: Any) -> tuple[Array, int]:
    a, b = (
        x if dim is None else jnp.moveaxis(x, dim, 0) for x, dim in zip(operands, dims, strict=True)
    )
    axes = tuple(dim is not None for dim in dims)
    return _trilinear.bind(a, b, mapped=(*mapped, axes), **params), 0


def _transpose(
    place: int, cotangent: Array, *operands: Any, wanted: str, mapped: tuple, **params: Any
) -> Array:
    """Return the cotangent of the operand at `place`: the third map, of cotangent and operand."""
    target, other = _OPERANDS[wanted][place], _OPERANDS[wanted][1 - place]
    given = {wanted: cotangent, other: operands[1 - place]}
    have_axes = [{wanted: True, other: axes[1 - place]} for axes in mapped]
    gradient = _trilinear.bind(
        *(given[name] for name in _OPERANDS[target]),
        wanted=target,
        mapped=tuple(tuple(have[name] for name in _OPERANDS[target]) for have in have_axes),
        **params,
    )
    shared = tuple(axis for axis, axes in enumerate(reversed(mapped)) if not axes[place])
    return gradient.sum(shared) if shared else gradient


_trilinear.def_impl(_evaluate_jitted)
_trilinear.def_abstract_eval(_type)
mlir.register_lowering(_trilinear, mlir.lower_fun(_evaluate, multiple_results=False))
batching.primitive_batchers[_trilinear] = _batch
ad.defbilinear(_trilinear, partial(_transpose, 0), partial(_transpose, 1))


def _plain(geometry: Geometry, x: Array, kernel: Array) -> Array:
    return lax.conv_general_dilated(
        x, kernel, (geometry.stride,) * 2, ((geometry.padding,) * 2,) * 2, dimension_numbers=_NHWC
    )


def _saves(geometry: Geometry, x: Array, channels: int) -> bool:
    """Return whether Winograd's algorithm saves time; in half precision it would lose bits."""
    is_single = x.dtype == jnp.float32
    return is_single and winograd.applies(
        geometry.window, geometry.stride, geometry.output, channels
    )


def _conv_transpose_windows(geometry: Geometry, y: Array, kernel: Array) -> Array:
    """Compute all windows by a matrix product, then add the overlapping ones."""
    stride, padding = geometry.stride, geometry.padding
    (n, h, w, o), i = y.shape, kernel.shape[2]
    rows, columns = (-(-window // stride) for window in geometry.window)
    fill = [(0, b * stride - a) for b, a in zip((rows, columns), geometry.window, strict=True)]
    kernel = jnp.pad(kernel, (*fill, (0, 0), (0, 0)))
    windows = y.reshape(-1, o) @ kernel.reshape(-1, o).T
    windows = windows.reshape(n, h, w, rows, stride, columns, stride, i)
    x = jnp.zeros((), y.dtype)
    for row in range(rows):
        for column in range(columns):
            block = windows[:, :, :, row, :, column].transpose(0, 1, 3, 2, 4, 5)
            shift = ((row, rows - 1 - row), (0, 0), (column, columns - 1 - column), (0, 0))
            x = x + jnp.pad(block, ((0, 0), *shift, (0, 0)))
    x = x.reshape(n, (h + rows - 1) * stride, (w + columns - 1) * stride, i)
    crop = [
        (-padding, size + padding - full, 0)
        for size, full in zip(geometry.image, x.shape[1:3], strict=True)
    ]
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *crop, (0, 0, 0)])


def _kernel_gradient_windows(geometry: Geometry, x: Array, y: Array) -> Array:
    """Multiply the windows of the image by the outputs, as matrices."""
    (h, w), (a, b), stride, i = geometry.output, geometry.window, geometry.stride, x.shape[3]
    margin = (geometry.padding,) * 2
    x = jnp.pad(x, ((0, 0), margin, margin, (0, 0)))
    windows = jnp.stack(
        [
            x[:, row : row + stride * h : stride, column : column + stride * w : stride]
            for row in range(a)
            for column in range(b)
        ],
        axis=3,
    )
    kernel = windows.reshape(-1, a * b * i).T @ y.reshape(-1, y.shape[3])
    return kernel.reshape(a, b, i, -1)


class Conv(nn.Module):
    """Convolution that divides the size of the image by `stride` (NHWC)."""

    features: int
    window: int = 4
    stride: int = 2
    padding: int = 1
    use_bias: bool = False
    dtype: Any = None
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (self.window, self.window, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        x, kernel = nn.dtypes.promote_dtype(x, kernel, dtype=self.dtype)
        _, height, width, _ = x.shape
        geometry = Geometry((height, width), shape[:2], self.stride, self.padding)
        return _add_bias(self, convolve(geometry, x, kernel))


class ConvTranspose(nn.Module):
    """Transpose of `Conv`, which multiplies the size of the image by `stride` (NHWC).

    Its kernel has the layout of the convolution that it transposes,
    [window, window, features, input channels].
    """

    features: int
    window: int = 4
    stride: int = 2
    padding: int = 1
    use_bias: bool = False
    dtype: Any = None
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal(in_axis=-1, out_axis=-2)

    @nn.compact
    def __call__(self, y: Array) -> Array:
        shape = (self.window, self.window, self.features, y.shape[-1])
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        y, kernel = nn.dtypes.promote_dtype(y, kernel, dtype=self.dtype)
        excess = self.window - 2 * self.padding - self.stride
        _, height, width, _ = y.shape
        image = (height * self.stride + excess, width * self.stride + excess)
        geometry = Geometry(image, shape[:2], self.stride, self.padding)
        return _add_bias(self, conv_transpose(geometry, y, kernel))


def _add_bias(module: Conv | ConvTranspose, y: Array) -> Array:
    if not module.use_bias:
        return y
    bias = module.param("bias", nn.initializers.zeros_init(), (module.features,), jnp.float32)
    return y + bias.astype(y.dtype).reshape(1, 1, 1, -1)
