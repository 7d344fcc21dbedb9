"""Fréchet distance between Gaussian fits of two sets of features.

d² = |m1 - m2|² + Tr S1 + Tr S2 - 2 Tr (S1 S2)^1/2
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.metrics.arrays import AnyArray, feature_pair, is_traced
from wgan_jax.types import Array


def frechet_distance(x: AnyArray, y: AnyArray) -> Array:
    """Squared Fréchet (2-Wasserstein) distance between Gaussian fits; "FID" on Inception features.

    No covariance is formed and no matrix root is taken. With S1 = A'A for the
    centered features A = Q1 R1 over the root of n - 1, and S2 = B'B likewise,

        Tr (S1 S2)^1/2 = the sum of the singular values of R1 R2'

    which keeps full precision where covariances are singular. Plain arrays are
    computed in float64 on the host, so the result is accurate to float32 rounding
    even between nearly equal distributions. Under `jit`, `vmap` or `grad` the computation
    uses the precision of its input, and in float32 the error is about 1e-6 of
    Tr S1 + Tr S2 + |m1 - m2|², however far both sets are from the origin.

    The gradient is finite everywhere. Where a direction has no variance in one of the sets (a
    constant feature, fewer samples than features) the distance has a ridge, since a change of
    either sign brings the sets closer: there the gradient has no component in that direction.

    The value is biased upward by an amount that falls as 1/n: compare it only at equal
    sample sizes, and with the value of real against real.

    Args:
      x: features [n, d].
      y: features [m, d].

    Returns:
      A scalar in squared units of the features.

    Raises:
      ValueError: shapes that do not fit, fewer than two samples, integers, or
        values that are not finite.

    Example:
      >>> import numpy as np
      >>> x = np.random.default_rng(0).normal(size=(100, 3))
      >>> shifted = x + np.array([[3.0, 4.0, 0.0]])
      >>> frechet_distance(x, shifted).round(4).item()
      25.0

    References:
      Heusel et al., GANs Trained by a Two Time-Scale Update Rule Converge to a Local
      Nash Equilibrium, 2017, equation 6; Dowson and Landau, The Fréchet distance
      between multivariate normal distributions, 1982.
    """
    x, y = feature_pair("frechet_distance", x, y, least=2)
    if is_traced(x, y):
        return _distance(jnp, jnp.asarray(x), jnp.asarray(y))
    value = _distance(np, np.asarray(x, np.float64), np.asarray(y, np.float64))
    return jnp.asarray(value, jnp.float32)


def _distance(xp: Any, x: Any, y: Any) -> Any:
    # Rounding of a mean grows with its size, so it is recomputed relative to a nearby point.
    near = (x.mean(0, keepdims=True) + y.mean(0, keepdims=True)) / 2
    x, y = x - near, y - near
    m1, m2 = x.mean(0, keepdims=True), y.mean(0, keepdims=True)
    a, b = (x - m1) / (len(x) - 1) ** 0.5, (y - m2) / (len(y) - 1) ** 0.5
    root = _root_trace(a, b) if xp is jnp else _root(np, a, b)[1].sum()
    return xp.maximum(((m1 - m2) ** 2).sum() + (a**2).sum() + (b**2).sum() - 2 * root, 0)


def _root(xp: Any, a: Any, b: Any) -> Any:
    """The singular value decomposition of R1 R2', where A = Q1 R1 and B = Q2 R2."""
    r1, r2 = xp.linalg.qr(a, mode="r"), xp.linalg.qr(b, mode="r")
    return xp.linalg.svd(_product(xp, r1, r2.T), full_matrices=False)


@jax.custom_jvp
def _root_trace(a: Array, b: Array) -> Array:
    """Tr (S1 S2)^1/2 of S1 = A'A and S2 = B'B: the sum of the singular values of A B'."""
    return _root(jnp, a, b)[1].sum()


@_root_trace.defjvp
def _root_trace_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> Any:
    """Derivative along U V' of A B' = U S V', without the columns of singular value 0.

    The derivatives of QR and SVD require full rank and distinct singular values.
    """
    (a, b), (da, db) = primals, tangents
    (q1, r1), (q2, r2) = jnp.linalg.qr(a), jnp.linalg.qr(b)
    u, s, vt = jnp.linalg.svd(_product(jnp, r1, r2.T), full_matrices=False)
    tiny = (
        max(*a.shape, len(b)) * jnp.finfo(s.dtype).eps * jnp.linalg.norm(r1) * jnp.linalg.norm(r2)
    )
    polar = _product(jnp, u * (s > tiny).astype(u.dtype)[None, :], vt)
    along_a = _product(jnp, q1, _product(jnp, polar, r2))
    along_b = _product(jnp, q2, _product(jnp, polar.T, r1))
    return s.sum(), (along_a * da).sum() + (along_b * db).sum()


def _product(xp: Any, a: Any, b: Any) -> Any:
    return jnp.matmul(a, b, precision="highest") if xp is jnp else a @ b
