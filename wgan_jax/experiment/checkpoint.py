"""Checkpoints that are verified: what comes back is what was saved, or a word why not.

Orbax writes and renames them atomically, but keeps no checksum of array data:
a flipped bit would restore as another number. Each checkpoint therefore carries
a manifest of its leaves, with a SHA-256 of their bytes, and is read against it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.errors import UserError
from wgan_jax.types import PyTree

_FORMAT = 1


class Checkpoints:
    """The checkpoints of one workdir, newest good one first.

    Args:
      folder: where they live; made when the first is saved.
      keep: how many of the newest stay.
    """

    def __init__(self, folder: Path, keep: int = 3):
        self._folder, self._keep = folder.absolute(), keep

    def save(self, step: int, state: PyTree) -> None:
        """Write a checkpoint and wait until it is whole.

        Raises:
          UserError: a value is not finite, or the disk refuses.
        """
        import orbax.checkpoint as ocp

        arrays = _to_arrays(state)
        manifest = _manifest(arrays)
        for entry, leaf in zip(manifest, jax.tree.leaves(state), strict=True):
            entry["key"] = str(jax.random.key_impl(leaf)) if _is_key(leaf) else None
        leaves = jax.tree.leaves(arrays)
        not_finite = [e["path"] for e, x in zip(manifest, leaves, strict=True) if _broken(x)]
        if not_finite:
            raise UserError(f"step {step} is not saved: {not_finite[0]} holds values not finite")
        try:
            with self._manager() as manager:
                items = ocp.args.Composite(
                    state=ocp.args.StandardSave(arrays),
                    manifest=ocp.args.JsonSave({"format": _FORMAT, "leaves": manifest}),
                )
                saved = manager.save(step, args=items, force=True)
                manager.wait_until_finished()
        except Exception as error:
            raise UserError(f"step {step} could not be saved: {_one_line(error)}") from error
        if not saved:
            raise UserError(f"step {step} could not be saved: a checkpoint of that step exists")

    def restore(
        self, like: PyTree, report: Callable[[str], None] = logging.warning
    ) -> tuple[int, PyTree] | None:
        """The newest good checkpoint as `(step, state)`; None if there never was one.

        Args:
          like: shapes and dtypes of the state, from `jax.eval_shape`.
          report: is told, a line each, which checkpoints were passed over and why.

        Raises:
          UserError: there are checkpoints and none of them is good.
        """
        steps = self.steps()
        for step in steps:
            try:
                return step, self._restore(step, like)
            except Exception as error:
                report(f"checkpoint {step} is skipped: {_one_line(error)}")
        if steps:
            raise UserError(
                f"none of the checkpoints in {self._folder} can be used (steps "
                f"{', '.join(map(str, steps))}); move the folder away to start anew"
            )
        return None

    def steps(self) -> list[int]:
        """The steps on disk, newest first."""
        if not self._folder.is_dir():
            return []
        names = (p.name for p in self._folder.iterdir() if p.is_dir())
        return sorted((int(name) for name in names if name.isdecimal()), reverse=True)

    def _restore(self, step: int, like: PyTree) -> PyTree:
        import orbax.checkpoint as ocp

        target = jax.tree.map(
            lambda x: np.empty(x.shape, x.dtype), jax.eval_shape(_to_arrays, like)
        )
        with self._manager() as manager:
            items = ocp.args.Composite(
                state=ocp.args.StandardRestore(target), manifest=ocp.args.JsonRestore()
            )
            restored = manager.restore(step, args=items)
        arrays = jax.tree.map(np.asarray, restored["state"])
        entries = _verified(restored["manifest"], _manifest(arrays))
        return _from_arrays(arrays, like, [entry["key"] for entry in entries])

    def _manager(self) -> Any:
        import orbax.checkpoint as ocp

        logging.getLogger("absl").setLevel(logging.ERROR)
        options = ocp.CheckpointManagerOptions(
            max_to_keep=self._keep,
            enable_async_checkpointing=False,
            todelete_subdir="deleted",
            create=True,
        )
        return ocp.CheckpointManager(self._folder, options=options)


def _to_arrays(state: PyTree) -> PyTree:
    """Keys as their data: Orbax then stores nothing but plain arrays."""
    return jax.tree.map(lambda x: jax.random.key_data(x) if _is_key(x) else x, state)


def _from_arrays(arrays: PyTree, like: PyTree, keys: list[str | None]) -> PyTree:
    def rebuild(x: np.ndarray, want: Any, key: str | None) -> jax.Array:
        leaf = jnp.asarray(x) if key is None else jax.random.wrap_key_data(jnp.asarray(x), impl=key)
        if leaf.dtype != want.dtype or leaf.shape != want.shape:
            raise ValueError(
                f"it holds {leaf.dtype}{list(leaf.shape)} where the run has "
                f"{want.dtype}{list(want.shape)}"
            )
        return leaf

    treedef = jax.tree.structure(like)
    leaves = zip(jax.tree.leaves(arrays), jax.tree.leaves(like), keys, strict=True)
    return jax.tree.unflatten(treedef, [rebuild(*leaf) for leaf in leaves])


def _manifest(arrays: PyTree) -> list[dict[str, Any]]:
    def describe(path: Any, x: Any) -> dict[str, Any]:
        data = np.ascontiguousarray(x)
        return {
            "path": jax.tree_util.keystr(path, simple=True, separator="/"),
            "shape": list(np.shape(x)),
            "dtype": str(data.dtype),
            "sha256": hashlib.sha256(data.tobytes()).hexdigest(),
        }

    return [describe(path, x) for path, x in jax.tree_util.tree_leaves_with_path(arrays)]


def _verified(stored: Any, actual: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The manifest's entries, once what was read agrees with them."""
    if not isinstance(stored, dict) or stored.get("format") != _FORMAT:
        raise ValueError(f"its manifest is not of format {_FORMAT}")
    if [entry["path"] for entry in stored["leaves"]] != [entry["path"] for entry in actual]:
        raise ValueError("it holds another tree of arrays than this run")
    for was, now in zip(stored["leaves"], actual, strict=True):
        for field, value in now.items():
            if was[field] != value:
                raise ValueError(f"{now['path']} has {field} {value}, saved was {was[field]}")
    return stored["leaves"]


def _is_key(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _broken(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jnp.inexact) and not bool(np.isfinite(np.asarray(x)).all())


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
