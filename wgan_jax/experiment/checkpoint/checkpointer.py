"""Saves checkpoints, and verifies them before they are restored.

Orbax writes the arrays, but keeps no checksum of them, and what its native reader
does with garbage (abort, endless wait, an allocation of terabytes) is no exception
to be caught. A checkpoint is therefore believed in three steps:

1. its folder is compared with its checksums, file by file, before anything parses it;
2. the shape, dtype and chunks that each array claims are compared with the run's own
   tree. Arrays are stored plainly (no compression, one file a chunk), so that no
   claim within these bounds makes the reader allocate more than the state itself;
3. what was read is compared leaf by leaf with a manifest that was made from memory:
   path, shape, dtype, kind of key, SHA-256.

The arrays are files by their numbers, so any tree of arrays can be saved; its names are in
the manifest alone.

A folder gets the name of its step by one rename, when it is whole and on the disk,
and loses it by one rename before it is deleted; no other names are looked at.
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
_OVERHEAD, _OVERHEAD_PER_LEAF, _PER_LETTER = 2**16, 2**12, 64
_LARGEST_MANIFEST, _LISTINGS = 2**26, 20
_PLAIN = {"compressor": None, "filters": None, "zarr_format": 2}


class Checkpoints:
    """The checkpoints of one workdir, newest good one first.

    Args:
      folder: where they live; made when the first is saved.
      keep: how many of the newest stay.
    """

    def __init__(self, folder: Path, keep: int = 3):
        self._folder, self._keep = folder.absolute(), keep

    def save(self, step: int, state: PyTree) -> None:
        """Write a checkpoint; when this returns, it is whole and on the disk.

        Of steps from `step` on, which a run that goes on from an older one has passed
        over, the checkpoints are moved to the folder `skipped`.

        Raises:
          UserError: a value is not finite, or the disk refuses; the other
            checkpoints are as they were.
        """
        arrays = to_host_arrays(state)
        if place := first_not_finite(state, arrays):
            raise UserError(f"step {step} is not saved: {place} holds values not finite")
        part = self._folder / f"{step}{_PART}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._clear()
            _preallocate(self._folder, _most_bytes(state))
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
        """The newest good checkpoint as `(step, state)`; None if there never was one.

        Args:
          like: shapes and dtypes of the state, from `jax.eval_shape`.
          report: is told, a line each, which checkpoints were passed over and why.

        Raises:
          UserError: there are checkpoints and none of them is good.
        """
        failed: dict[tuple[int, int], Exception] = {}
        for _ in range(_LISTINGS):
            fresh = [step for step in self.steps() if (step, self._identity(step)) not in failed]
            if not fresh:
                break
            # One by one, as a run that saves meanwhile deletes those that were listed.
            for step in fresh:
                before = self._identity(step)
                try:
                    return step, _read(self._folder / str(step), like)
                except Exception as error:
                    if before is None or before != self._identity(step):
                        break  # it is gone: look what there is now
                    report(f"checkpoint {step} is skipped: {_one_line(error)}")
                    failed[step, before] = error
        else:
            raise UserError(f"{self._folder} changes faster than it can be read: try again")
        if failed:
            raise UserError(self._none_good({step: error for (step, _), error in failed.items()}))
        return None

    def _identity(self, step: int) -> int | None:
        """Tells a folder from another of its name; None where there is none."""
        try:
            return (self._folder / str(step)).stat().st_ino
        except OSError:
            return None

    def _none_good(self, failed: dict[int, Exception]) -> str:
        """What to say, and to do, where no checkpoint is good."""
        errors, newest = failed.values(), failed[max(failed)]
        told = (
            f"none of the checkpoints in {self._folder} can be used (steps "
            f"{', '.join(map(str, failed))}): {_one_line(newest)}"
        )
        if any(isinstance(error, FormatError) for error in errors):
            return told
        if any(isinstance(error, PermissionError) for error in errors):
            return f"{told}; make them readable"
        if any(isinstance(error, OtherStateError) for error in errors):
            return f"{told}; choose another --workdir, or the config and the data of this run"
        return f"{told}; move the folder away to start anew"

    def steps(self) -> list[int]:
        """The steps on disk, newest first."""
        if not self._folder.is_dir():
            return []
        folders = (p.name for p in self._folder.iterdir() if p.is_dir() and not p.is_symlink())
        return sorted((int(n) for n in folders if n.isascii() and n.isdigit()), reverse=True)

    def check_disk_space(self, like: PyTree) -> None:
        """Check that the disk has room for the checkpoints that are to come.

        A new one is written before the oldest is deleted, so that is one more than stay.

        Raises:
          UserError: it has not.
        """
        size = _most_bytes(like)
        needed = max(1, self._keep + 1 - len(self.steps())) * size
        place = next(p for p in (self._folder, *self._folder.parents) if p.is_dir())
        free = shutil.disk_usage(place).free
        if free < needed:
            raise UserError(
                f"{place} has {free / 1e6:,.1f} MB free, and checkpoints of {size / 1e6:,.1f} MB "
                f"need {needed / 1e6:,.1f} MB; make room, or lower --keep-checkpoints"
            )

    def _prune(self) -> None:
        with contextlib.suppress(OSError):  # what cannot be deleted now is tried again
            for step in self.steps()[self._keep :]:
                path = self._folder / str(step)
                path.rename(path.with_name(f"{step}{_TRASH}"))
            self._clear()

    def _archive(self, step: int) -> None:
        aside = self._folder / _SUPERSEDED
        aside.mkdir(exist_ok=True)
        shutil.rmtree(aside / str(step), ignore_errors=True)
        (self._folder / str(step)).rename(aside / str(step))

    def _clear(self) -> None:
        """Delete what a process that was killed left unfinished."""
        for path in self._folder.iterdir() if self._folder.is_dir() else ():
            step, dot, rest = path.name.partition(".")
            if step.isdigit() and f"{dot}{rest}".startswith((_PART, _TRASH)):
                shutil.rmtree(path)


def _preallocate(folder: Path, size: int) -> None:
    """Raise OSError unless the disk takes so many bytes now.

    Orbax finds it full in the midst of many writes, and its threads go on to complain.
    """
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


def _read(path: Path, like: PyTree) -> PyTree:
    import orbax.checkpoint as ocp

    structs = host_structs(like)
    stored = _read_manifest(path)
    verify_checksums(path, _most_bytes(like))
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
    check_manifest(stored, build_manifest(state, leaves, form))
    return state


def _read_manifest(path: Path) -> Any:
    """The manifest, of which only the format is believed before the checksums are verified."""
    stored = json.loads(read_file(path / "manifest" / "metadata", _LARGEST_MANIFEST))
    if isinstance(stored, dict) and "format" in stored:
        check_format(stored)
    return stored


def _numbered(arrays: list[np.ndarray]) -> dict[str, np.ndarray]:
    """By number, as they are stored; Orbax takes no arrays without elements."""
    return {str(i): x for i, x in enumerate(arrays) if x.size}


def _check_array_metadata(
    folder: Path, target: list[jax.ShapeDtypeStruct], *, ordered: bool
) -> None:
    """What the arrays say of themselves, against the run's, before any is read."""
    ours = {str(i): (str(x.dtype), list(x.shape)) for i, x in enumerate(target) if x.size}
    found = {str(p.parent.relative_to(folder)): _claimed(p) for p in folder.rglob(".zarray")}
    fits = found == ours if ordered else sorted(found.values()) == sorted(ours.values())
    if not fits:
        raise OtherStateError("it holds other arrays than this run")


def _claimed(place: Path) -> tuple[str, list[int]]:
    """Dtype and shape of one array, whose files are as many and as large as these ask for."""
    claim = json.loads(read_file(place, _OVERHEAD))
    shape, chunks, dtype = claim["shape"], claim["chunks"], np.dtype(claim["dtype"])
    if {name: claim[name] for name in _PLAIN} != _PLAIN:
        raise ValueError(f"{place.parent.name} is not stored plainly")
    sides = list(zip(shape, chunks, strict=True))
    if any(not 0 < chunk <= max(side, 1) for side, chunk in sides):
        raise ValueError(f"{place.parent.name} has chunks {chunks} of {shape}")
    sizes = [p.stat().st_size for p in place.parent.iterdir() if p != place]
    count = math.prod(-(-side // chunk) for side, chunk in sides)
    if len(sizes) != count or set(sizes) - {math.prod(chunks) * dtype.itemsize}:
        raise ValueError(
            f"{place.parent.name} has files of other sizes than {dtype}{shape} asks for"
        )
    return str(dtype), shape


def _checkpointer() -> Any:
    import orbax.checkpoint as ocp

    logging.getLogger("absl").setLevel(logging.CRITICAL)  # what goes wrong is raised as well
    ours = _one_process()
    plain = ocp.PyTreeCheckpointHandler(
        use_ocdbt=False, use_zarr3=False, use_compression=False, multiprocessing_options=ours
    )
    handler = ocp.CompositeCheckpointHandler(
        composite_options=ocp.CompositeOptions(multiprocessing_options=ours),
        state=plain,
        manifest=ocp.JsonCheckpointHandler(multiprocessing_options=ours),
    )
    return ocp.Checkpointer(handler, multiprocessing_options=ours)


def _one_process() -> Any:
    """A state is written whole by one of several hosts; Orbax would wait for the others."""
    import orbax.checkpoint as ocp

    if jax.process_count() == 1:
        return ocp.options.MultiprocessingOptions()
    here = jax.process_index()
    return ocp.options.MultiprocessingOptions(primary_host=here, active_processes={here})


def _most_bytes(like: PyTree) -> int:
    """More than any checkpoint of such a state takes on disk."""
    arrays = sum(x.size * x.dtype.itemsize + _OVERHEAD_PER_LEAF for x in host_structs(like))
    paths = (jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(like))
    return _OVERHEAD + arrays + _PER_LETTER * sum(map(len, paths))


def _one_line(error: Exception) -> str:
    if refused := re.search(r": ([^:]+) \[os_error_code", str(error)):
        return refused[1]  # what the system said, without the native library's account of it
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).strip().splitlines()
    kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
    return f"{kind}{lines[0][:300]}" if lines else type(error).__name__
