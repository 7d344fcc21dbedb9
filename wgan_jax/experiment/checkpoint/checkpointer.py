"""Saves checkpoints, and verifies them before restoring.

Orbax writes the arrays but no checksums, and failures of its native reader on corrupt
input (abort, endless wait, an allocation of terabytes) cannot be caught as exceptions.
Restoring therefore verifies a checkpoint in three steps:

1. Before anything is parsed, each file of the folder is compared with its checksum.
2. The shape, dtype and chunks in each array's metadata are compared with the run's own
   tree. Arrays are stored uncompressed, one file per chunk, so metadata within these
   bounds cannot make the reader allocate more than the size of the state.
3. The restored leaves are compared with a manifest that was built from memory: path,
   shape, dtype, key implementation, SHA-256.

Array files are numbered, so any pytree of arrays can be saved; leaf names appear only in
the manifest.

A folder is renamed to its step once it is complete and on disk, and renamed again before
it is deleted. Both renames are atomic, and folders with other names are ignored.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from wgan_jax.errors import UserError
from wgan_jax.experiment.checkpoint.checksums import sync, verify_checksums, write_checksums
from wgan_jax.experiment.checkpoint.manifest import (
    NAMED,
    FormatError,
    OtherStateError,
    build_manifest,
    check_format,
    check_manifest,
    first_not_finite,
    from_host_arrays,
    host_structs,
    to_host_arrays,
)
from wgan_jax.files import read_file
from wgan_jax.types import PyTree

logger = logging.getLogger(__name__)

_PART, _TRASH, _SUPERSEDED = ".part", ".gone", "skipped"
_OVERHEAD, _OVERHEAD_PER_LEAF, _PER_CHARACTER = 2**16, 2**12, 64
_MAX_MANIFEST, _LISTINGS = 2**26, 20
_UNCOMPRESSED = {"compressor": None, "filters": None, "zarr_format": 2}


class Checkpoints:
    """The checkpoints of one workdir.

    Args:
      folder: folder of the checkpoints, created by the first save.
      keep: number of most recent checkpoints to retain.
    """

    def __init__(self, folder: Path, keep: int = 3):
        self._folder, self._keep = folder.absolute(), keep

    def save(self, step: int, state: PyTree) -> None:
        """Write a checkpoint, complete and on disk when this returns.

        Checkpoints at `step` or later, which a run that resumed from an older one has
        superseded, are moved to the folder `skipped`.

        Raises:
          UserError: a value is not finite, or the checkpoint cannot be written; other
            checkpoints are unchanged.
        """
        arrays = to_host_arrays(state)
        if leaf := first_not_finite(state, arrays):
            raise UserError(f"step {step} is not saved: {leaf} holds non-finite values")
        part = self._folder / f"{step}{_PART}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._clear()
            _preallocate(self._folder, _max_bytes(state))
            _write(part, state, arrays)
            for later in (s for s in self.steps() if s >= step):
                self._archive(later)
            part.rename(self._folder / str(step))
            sync(self._folder)
        except Exception as error:
            with contextlib.suppress(OSError):
                self._clear()
            raise UserError(f"step {step} could not be saved: {_one_line(error)}") from error
        self._prune()

    def restore(
        self, like: PyTree, report: Callable[[str], None] = logger.warning
    ) -> tuple[int, PyTree] | None:
        """Return the newest good checkpoint as `(step, state)`; None if there are no checkpoints.

        Args:
          like: shapes and dtypes of the state, from `jax.eval_shape`.
          report: called with one line for each skipped checkpoint, and for one written with
            64-bit types if JAX has none, or the reverse.

        Raises:
          UserError: there are checkpoints, but none of them is good.
        """
        failed: dict[tuple[int, int], Exception] = {}
        for _ in range(_LISTINGS):
            fresh = [step for step in self.steps() if (step, self._identity(step)) not in failed]
            if not fresh:
                break
            # A run that saves in the meantime deletes checkpoints that are listed here.
            for step in fresh:
                before = self._identity(step)
                try:
                    return step, _read(self._folder / str(step), like, report)
                except Exception as error:
                    if before is None or before != self._identity(step):
                        break  # deleted or replaced: list the folder again
                    report(f"checkpoint {step} is skipped: {_one_line(error)}")
                    failed[step, before] = error
        else:
            raise UserError(f"{self._folder} changes faster than it can be read: try again")
        if failed:
            raise UserError(self._none_good({step: error for (step, _), error in failed.items()}))
        return None

    def _identity(self, step: int) -> int | None:
        """Return the inode of a checkpoint, which a replacement changes; None if it is missing."""
        try:
            return (self._folder / str(step)).stat().st_ino
        except OSError:
            return None

    def _none_good(self, failed: dict[int, Exception]) -> str:
        """Format the error, with a remedy, for when no checkpoint is good."""
        errors, newest = failed.values(), failed[max(failed)]
        message = (
            f"none of the checkpoints in {self._folder} can be used (steps "
            f"{', '.join(map(str, failed))}): {_one_line(newest)}"
        )
        if any(isinstance(error, FormatError) for error in errors):
            return message
        if any(isinstance(error, PermissionError) for error in errors):
            return f"{message}; make them readable"
        if any(isinstance(error, OtherStateError) for error in errors):
            return f"{message}; choose another --workdir, or the config and the data of this run"
        return f"{message}; move the folder away to start anew"

    def steps(self) -> list[int]:
        """Return the steps on disk, newest first."""
        if not self._folder.is_dir():
            return []
        folders = (p.name for p in self._folder.iterdir() if p.is_dir() and not p.is_symlink())
        return sorted((int(n) for n in folders if n.isascii() and n.isdigit()), reverse=True)

    def check_disk_space(self, like: PyTree) -> None:
        """Check that the disk has room for future checkpoints.

        A checkpoint is written before the oldest is deleted, so this is one more than are kept.

        Raises:
          UserError: there is not enough space.
        """
        size = _max_bytes(like)
        needed = max(1, self._keep + 1 - len(self.steps())) * size
        place = next(p for p in (self._folder, *self._folder.parents) if p.is_dir())
        free = shutil.disk_usage(place).free
        if free < needed:
            raise UserError(
                f"{place} has {free / 1e6:,.1f} MB free, and checkpoints of {size / 1e6:,.1f} MB "
                f"need {needed / 1e6:,.1f} MB; make room, or lower --keep-checkpoints"
            )

    def _prune(self) -> None:
        with contextlib.suppress(OSError):  # the next save tries again
            for step in self.steps()[self._keep :]:
                path = self._folder / str(step)
                path.rename(path.with_name(f"{step}{_TRASH}"))
            self._clear()

    def _archive(self, step: int) -> None:
        archive = self._folder / _SUPERSEDED
        archive.mkdir(exist_ok=True)
        shutil.rmtree(archive / str(step), ignore_errors=True)
        (self._folder / str(step)).rename(archive / str(step))

    def _clear(self) -> None:
        """Delete unfinished folders left by a killed process."""
        for path in self._folder.iterdir() if self._folder.is_dir() else ():
            step, dot, rest = path.name.partition(".")
            if step.isdigit() and f"{dot}{rest}".startswith((_PART, _TRASH)):
                shutil.rmtree(path)


def _preallocate(folder: Path, size: int) -> None:
    """Raise OSError unless the disk has room for `size` bytes, on systems that can reserve it.

    Orbax would notice a full disk amid many writes, and its threads would keep logging errors.
    """
    if hasattr(os, "posix_fallocate"):  # not on macOS
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, size)


def _write(part: Path, state: PyTree, arrays: list[np.ndarray]) -> None:
    import orbax.checkpoint as ocp

    items = {"manifest": ocp.args.JsonSave(build_manifest(state, arrays))}
    if numbered := _numbered(arrays):
        items["state"] = ocp.args.PyTreeSave(numbered)
    with _checkpointer() as checkpointer:
        checkpointer.save(part, args=ocp.args.Composite(**items))
    write_checksums(part)


def _read(path: Path, like: PyTree, report: Callable[[str], None]) -> PyTree:
    import orbax.checkpoint as ocp

    structs = host_structs(like)
    stored = _read_manifest(path)
    verify_checksums(path, _max_bytes(like))
    form = check_format(stored)
    named = form == NAMED
    _check_array_metadata(path / "state", structs, ordered=not named)
    leaves = [np.empty(x.shape, x.dtype) for x in structs]
    target = jax.tree.unflatten(jax.tree.structure(like), leaves) if named else _numbered(leaves)
    if jax.tree.leaves(target):
        restoring = ocp.checkpoint_utils.construct_restore_args(target)
        item = ocp.args.PyTreeRestore(target, restore_args=restoring)
        with _checkpointer() as checkpointer:
            restored = checkpointer.restore(path, args=ocp.args.Composite(state=item))["state"]
        structure: Any = jax.tree.structure(restored)
        if structure != jax.tree.structure(target):
            raise OtherStateError("it holds another tree of arrays than this run")
        if named:
            restored = _numbered(jax.tree.leaves(restored))
        leaves = [np.asarray(restored.get(str(i), x)) for i, x in enumerate(leaves)]
    state = from_host_arrays(leaves, like)
    actual = build_manifest(state, leaves, form)
    check_manifest(stored, actual)
    if (had_x64 := stored.get("x64", actual["x64"])) != actual["x64"]:
        report(
            f"checkpoint {path.name} was written {'with' if had_x64 else 'without'} 64-bit types, "
            f"so random numbers now differ from those of its run: set JAX_ENABLE_X64={had_x64:d} "
            "to draw the same"
        )
    return state


def _read_manifest(path: Path) -> Any:
    """Read the manifest; only its format is trusted before the checksums are verified."""
    stored = json.loads(read_file(path / "manifest" / "metadata", _MAX_MANIFEST))
    if isinstance(stored, dict) and "format" in stored:
        check_format(stored)
    return stored


def _numbered(arrays: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Key arrays by number, as stored; omit empty ones, which Orbax rejects."""
    return {str(i): x for i, x in enumerate(arrays) if x.size}


def _check_array_metadata(
    folder: Path, target: list[jax.ShapeDtypeStruct], *, ordered: bool
) -> None:
    """Compare the metadata of the stored arrays with the run's before reading any of them."""
    ours = {str(i): (str(x.dtype), list(x.shape)) for i, x in enumerate(target) if x.size}
    stored = {str(p.parent.relative_to(folder)): _array_spec(p) for p in folder.rglob(".zarray")}
    fits = stored == ours if ordered else sorted(stored.values()) == sorted(ours.values())
    if not fits:
        raise OtherStateError("it holds other arrays than this run")


def _array_spec(path: Path) -> tuple[str, list[int]]:
    """Return dtype and shape of one array, after checking the number and sizes of its files."""
    spec = json.loads(read_file(path, _OVERHEAD))
    shape, chunks, dtype = spec["shape"], spec["chunks"], np.dtype(spec["dtype"])
    if {name: spec[name] for name in _UNCOMPRESSED} != _UNCOMPRESSED:
        raise ValueError(f"{path.parent.name} is not stored uncompressed")
    sides = list(zip(shape, chunks, strict=True))
    if any(not 0 < chunk <= max(side, 1) for side, chunk in sides):
        raise ValueError(f"{path.parent.name} has chunks {chunks} of {shape}")
    sizes = [p.stat().st_size for p in path.parent.iterdir() if p != path]
    count = math.prod(-(-side // chunk) for side, chunk in sides)
    if len(sizes) != count or set(sizes) - {math.prod(chunks) * dtype.itemsize}:
        raise ValueError(f"{path.parent.name} has files that do not match {dtype}{shape}")
    return str(dtype), shape


def _checkpointer() -> Any:
    import orbax.checkpoint as ocp

    logging.getLogger("absl").setLevel(logging.CRITICAL)  # errors are raised as well
    options = _one_process()
    arrays = ocp.PyTreeCheckpointHandler(
        use_ocdbt=False, use_zarr3=False, use_compression=False, multiprocessing_options=options
    )
    handler = ocp.CompositeCheckpointHandler(
        composite_options=ocp.CompositeOptions(multiprocessing_options=options),
        state=arrays,
        manifest=ocp.JsonCheckpointHandler(multiprocessing_options=options),
    )
    return ocp.Checkpointer(handler, multiprocessing_options=options)


def _one_process() -> Any:
    """Make one host write the full state; by default Orbax waits for the other hosts."""
    import orbax.checkpoint as ocp

    if jax.process_count() == 1:
        return ocp.options.MultiprocessingOptions()
    here = jax.process_index()
    return ocp.options.MultiprocessingOptions(primary_host=here, active_processes={here})


def _max_bytes(like: PyTree) -> int:
    """Return an upper bound on the size on disk of a checkpoint of such a state."""
    arrays = sum(x.size * x.dtype.itemsize + _OVERHEAD_PER_LEAF for x in host_structs(like))
    paths = (jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(like))
    return _OVERHEAD + arrays + _PER_CHARACTER * sum(map(len, paths))


def _one_line(error: Exception) -> str:
    if refused := re.search(r": ([^:]+) \[os_error_code", str(error)):
        return refused[1]  # only the operating system's message
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).strip().splitlines()
    kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
    return f"{kind}{lines[0][:300]}" if lines else type(error).__name__
