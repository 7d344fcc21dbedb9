"""The contract of a `Network` as a program: keys, dtypes, jit, scan, vmap and export."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from wgan_jax.testing import programs
from wgan_jax.testing.assertions import assert_close, error_context, is_floating
from wgan_jax.testing.draws import draws, equations
from wgan_jax.testing.network_case import Case
from wgan_jax.types import Array, PyTree


def purity(case: Case) -> None:
    """equal inputs give equal outputs, and the input is not changed."""
    for train in (True, False):
        try:
            programs.assert_pure(*case.apply(train), f"apply with train={train}")
        except AssertionError:
            raise
        except Exception as error:
            if train or _infers(case, None) or not _infers(case, case.key(4)):
                raise
            raise AssertionError(
                f"apply with train=False needs a key, but inference must not draw: dropout or "
                f"noise left on (deterministic=False)? It raised {type(error).__name__}: {error}"
            ) from error


def _infers(case: Case, key: Array | None) -> bool:
    """Return whether inference runs with this key, or with None."""
    try:
        case.network.apply(case.params, case.stats, case.x, train=False, key=key)
    except Exception:
        return False
    return True


def keys(case: Case) -> None:
    """all draws derive from the given key, none reuses a key, and inference draws nothing."""
    network, params, stats, x = case.network, case.params, case.stats, case.x

    def init(key: Array) -> PyTree:
        return network.init(key, x)

    def apply(key: Array) -> PyTree:
        return case.apply(True)[0](params, stats, x, key)

    def infer(key: Array) -> PyTree:
        return network.apply(params, stats, x, train=False, key=key)

    for function, what in ((init, "init"), (apply, "apply with train=True")):
        programs.assert_keys_are_fresh(function, lambda: (case.key(4),), what)
        programs.assert_keys_follow(function, (case.key(4),), (case.key(5),), what)
    assert not draws(lambda _: network.apply(params, stats, x, train=False), case.key(4)), (
        "apply with train=False draws random numbers: dropout or noise left on in inference?"
    )
    assert not draws(infer, case.key(4)), (
        "apply with train=False draws random numbers if given a key: dropout that checks for a key "
        "instead of `train`?"
    )
    if not draws(apply, case.key(4)):
        with error_context("apply with train=True draws nothing, but needs a key"):
            jax.eval_shape(lambda: network.apply(params, stats, x, train=True))
    else:
        assert not _draws_without_a_key(case), (
            "apply with train=True draws random numbers without a key: a default key where "
            "key=None, whose noise is the same in every step?"
        )


def _draws_without_a_key(case: Case) -> bool:
    def apply(params: PyTree) -> PyTree:
        return case.network.apply(params, case.stats, case.x, train=True)

    try:
        return draws(apply, case.params)
    except Exception:  # it requires a key, as it should
        return False


def x64(case: Case) -> None:
    """32-bit inputs give 32-bit results, also with 64-bit JAX."""
    if case.compute_dtype is None:  # arrays without a dtype are common, and usually 32-bit
        return
    for train in (True, False):
        function, arguments = case.apply(train)
        args = arguments()
        usual = jax.eval_shape(function, *args)
        with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
            wide = jax.eval_shape(function, *args)
        for (path, a), b in zip(
            jax.tree_util.tree_leaves_with_path(wide), jax.tree.leaves(usual), strict=True
        ):
            assert a.dtype == b.dtype, (
                f"with jax_enable_x64, apply with train={train} returns {a.dtype} instead of "
                f"{b.dtype} at {jax.tree_util.keystr(path)}: a NumPy float64, or an array created "
                f"without a dtype, in the network?"
            )


def compute_dtype(case: Case) -> None:
    """no operation computes at lower precision than `compute_dtype`."""
    if case.compute_dtype is None:
        return
    least = jnp.finfo(case.compute_dtype)
    for train in (True, False):
        function, arguments = case.apply(train)
        for equation in equations(programs.fresh_program(function, arguments())):
            for out in equation.outvars:
                dtype: Any = getattr(out.aval, "dtype", None)
                assert (
                    dtype is None
                    or not is_floating(out.aval)
                    or (jnp.finfo(dtype).nmant >= least.nmant)
                ), (
                    f"apply with train={train} computes {equation.primitive.name} in {dtype}, "
                    f"less precise than {least.dtype}: a forgotten cast, or mixed precision?"
                )


def jit(case: Case) -> None:
    """compiled and eager results agree."""
    for train in (True, False):
        function, arguments = case.apply(train)
        programs.assert_jit_is_eager(
            function, arguments, case.tolerance, f"apply with train={train}"
        )


def scan(case: Case) -> None:
    """a scan gives the same statistics as a loop."""
    function, arguments = case.compiled(True)
    params, stats, x, _ = arguments()
    keys = jax.random.split(case.key(2), 3)

    @jax.jit
    def scanned(stats: PyTree, keys: Array) -> tuple[PyTree, PyTree]:
        def iteration(stats: PyTree, key: Array) -> tuple[PyTree, PyTree]:
            return function(params, stats, x, key)[::-1]

        return lax.scan(iteration, stats, keys)

    end, outputs = scanned(stats, keys)
    for i in range(3):
        y, stats = function(params, stats, x, jax.random.split(case.key(2), 3)[i])
        output = jax.tree.map(lambda leaf: leaf[i], outputs)  # noqa: B023
        assert_close(output, y, case.tolerance, f"iteration {i} of a scan differs from a loop")
    assert_close(end, stats, case.tolerance, "statistics after a scan differ from a loop")


def vmap(case: Case) -> None:
    """members of a population under vmap equal their solo runs."""
    function, _ = case.compiled(True)

    def alone(key: Array) -> PyTree:
        on_init, on_apply = jax.random.split(key)
        return function(*case.network.init(on_init, case.x), case.x, on_apply)

    population = jax.jit(jax.vmap(alone))(jax.random.split(case.key(3), 2))
    for i in range(2):
        member = jax.tree.map(lambda leaf: leaf[i], population)  # noqa: B023
        on_init, on_apply = jax.random.split(jax.random.split(case.key(3), 2)[i])
        expected = function(*case.network.init(on_init, case.x), case.x, on_apply)
        assert_close(member, expected, case.tolerance, f"member {i} under vmap is not its solo run")


def export(case: Case) -> None:
    """inference can be exported."""
    function, arguments = case.apply(False)
    programs.assert_exports(function, arguments, case.tolerance, "apply with train=False")
