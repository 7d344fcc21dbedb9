"""Multi-process runs: initialization, consistency checks and collectives."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from wgan_jax.errors import UserError, one_line
from wgan_jax.experiment.checkpoint.manifest import from_host_arrays, host_structs, to_host_arrays
from wgan_jax.experiment.distributed.rendezvous import rendezvous
from wgan_jax.types import PyTree

logger = logging.getLogger(__name__)

T = TypeVar("T")

MODES = ("auto", "on", "off")
_HEARTBEAT_SECONDS = 8  # a host that is silent for longer is considered lost
_MIN_BYTES = 1024
_NOTICE_SECONDS = 10.0
JOIN_TIMEOUT = 300.0


def distributed_config(
    mode: str,
    coordinator: str | None = None,
    process_count: int | None = None,
    process_index: int | None = None,
) -> dict[str, Any] | None:
    """Returns the settings of `initialize`; None for a single process.

    Args:
      mode: `auto` looks for a cluster that JAX supports (Cloud TPU, Slurm, Kubernetes,
        MPI), `on` requires one, `off` uses this process alone.
      coordinator: `ADDRESS:PORT` of process 0, which listens on that address only.
      process_count: total number of processes; with `coordinator`, for any other cluster.
      process_index: index of this process, from 0.

    Raises:
      UserError: inconsistent settings.
    """
    if mode not in MODES:
        raise UserError(f"--distributed takes {', '.join(MODES)}, got {mode!r}")
    given = (coordinator, process_count, process_index)
    if any(value is not None for value in given):
        return _explicit(mode, *given)
    if mode == "off" or (mode == "auto" and not _on_a_cluster()):
        return None
    return {"cluster_detection_method": _mpi()}


def initialize(settings: dict[str, Any], *, insist: bool, timeout: float = JOIN_TIMEOUT) -> bool:
    """Joins the other processes, before JAX touches a device.

    Args:
      settings: settings from `distributed_config`.
      insist: whether a missing cluster is an error.
      timeout: seconds to wait for the other processes.

    Returns:
      Whether there are other processes.

    Raises:
      UserError: a required cluster is missing, or processes do not connect in time.
    """
    explicit = "coordinator_address" in settings
    if explicit:
        rendezvous(
            settings["coordinator_address"],
            settings["coordinator_bind_address"],
            settings["num_processes"],
            settings["process_id"],
            timeout,
        )
    try:
        with _notices(timeout):
            jax.distributed.initialize(
                heartbeat_timeout_seconds=_HEARTBEAT_SECONDS,
                initialization_timeout=math.ceil(timeout),
                **settings,
            )
    except Exception as error:
        if isinstance(error, ValueError) and not explicit:
            if not insist:
                return False
            raise UserError(
                "--distributed on found no cluster (Cloud TPU, Slurm, Kubernetes, or MPI with "
                "mpi4py); give --coordinator HOST:PORT --process-count N --process-index I"
            ) from error
        reason = one_line(error, 300)
        if "failed to start rpc server" in reason.lower():
            reason = "the port of the coordinator is in use by another program"
        raise UserError(
            f"the hosts did not connect: {reason} (--distributed off trains on this host alone)"
        ) from error
    return jax.process_count() > 1


@contextlib.contextmanager
def _notices(timeout: float) -> Iterator[None]:
    """Logs every 10 seconds that JAX is waiting; JAX does not report which process is missing."""
    done, began = threading.Event(), time.monotonic()

    def run() -> None:
        while not done.wait(_NOTICE_SECONDS):
            waited = min(time.monotonic() - began, timeout)
            logger.warning(
                "waiting for the other processes of the cluster, %.0f of %.0f s", waited, timeout
            )

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _explicit(
    mode: str, coordinator: str | None, count: int | None, index: int | None
) -> dict[str, Any]:
    if mode == "off":
        raise UserError("--distributed off cannot be combined with --coordinator and --process-*")
    if coordinator is None or count is None or index is None:
        raise UserError("--coordinator, --process-count and --process-index go together")
    address, colon, port = coordinator.rpartition(":")
    if not (address and colon and port.isdecimal() and 0 < int(port) < 2**16):
        raise UserError(f"--coordinator takes HOST:PORT, got {coordinator!r}")
    if not 0 <= index < count:
        raise UserError(f"--process-index goes from 0 to {count - 1}, got {index}")
    return {
        "coordinator_address": coordinator,
        "num_processes": count,
        "process_id": index,
        "cluster_detection_method": "deactivate",
        # By default, JAX listens on all interfaces.
        "coordinator_bind_address": os.environ.get("JAX_COORDINATOR_BIND_ADDRESS", coordinator),
    }


def _on_a_cluster() -> bool:
    """Returns whether there are signs of a cluster; asking JAX itself may use the network."""
    if os.environ.get("SLURM_NTASKS") == "1":
        return False
    marks = {"SLURM_STEP_NODELIST", "KUBERNETES_SERVICE_HOST", "OMPI_COMM_WORLD_RANK"}
    marks |= {"PMI_RANK", "PMIX_RANK"}
    return bool(marks & os.environ.keys()) or importlib.util.find_spec("libtpu") is not None


def _mpi() -> str | None:
    """Selects mpi4py for MPIs that JAX does not detect itself, as it does older Open MPI."""
    is_mpi = {"OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK"} & os.environ.keys()
    is_detected = {"OMPI_MCA_orte_hnp_uri", "SLURM_PROCID"} & os.environ.keys()
    is_installed = importlib.util.find_spec("mpi4py") is not None
    return "mpi4py" if is_mpi and not is_detected and is_installed else None


def is_primary() -> bool:
    """Returns whether this is the process that writes files."""
    return jax.process_index() == 0


def all_gather(value: Any) -> list[Any]:
    """Returns the JSON values of all processes in order. All processes must call this."""
    if jax.process_count() == 1:
        return [value]
    text = np.frombuffer(json.dumps(value).encode(), np.uint8)
    sizes = np.ravel(multihost_utils.process_allgather(np.array([len(text)], np.int32)))
    # Powers of two: each size compiles another program.
    padded = np.zeros(max(_MIN_BYTES, 1 << (int(sizes.max()) - 1).bit_length()), np.uint8)
    padded[: len(text)] = text
    rows = np.asarray(multihost_utils.process_allgather(padded), np.uint8)
    return [json.loads(row[:n].tobytes()) for row, n in zip(rows, sizes, strict=True)]


def all_reduce_max(value: int) -> int:
    """Returns the largest value of all processes. All processes must call this."""
    if jax.process_count() == 1:
        return value
    return int(np.max(multihost_utils.process_allgather(np.array([value], np.int32))))


def run_on_all(work: Callable[[], T]) -> T:
    """Does the work on every process; if one fails, all raise its error.

    Raises:
      UserError: the work failed on this host or another.
    """
    if not jax.distributed.is_initialized() or jax.process_count() == 1:
        return work()
    result, problem = None, None
    try:
        result = work()
    except (UserError, ValueError) as error:
        problem = str(error)
    problems = {i: message for i, message in enumerate(all_gather(problem)) if message is not None}
    if problem is not None:
        raise UserError(problem)
    for index, message in problems.items():
        raise UserError(f"host {index}: {message}")
    return result  # type: ignore[return-value]


def run_on_primary(work: Callable[[], T]) -> T | None:
    """Does the work on the primary process; if it fails, all raise its error.

    Returns:
      The result on the primary process, None on the others.
    """
    return run_on_all(lambda: work() if is_primary() else None)


def assert_same_on_all(value: dict[str, Any], difference: Callable[[Any, Any], str]) -> None:
    """Raises on all processes if their values differ.

    Args:
      value: JSON values of this process.
      difference: `(first, other) -> str` describes the difference.

    Raises:
      UserError: on all hosts, naming one that differs from the first.
    """
    first, *others = all_gather(value)
    for index, other in enumerate(others, 1):
        if other != first:
            raise UserError(f"host {index} differs from host 0 in {difference(first, other)}")


def broadcast_from_primary(work: Callable[[], PyTree | None], like: PyTree) -> PyTree | None:
    """Does the work on the primary process and returns its result on all of them.

    Args:
      work: returns a tree of arrays, or None.
      like: shapes and dtypes of that tree.

    Raises:
      UserError: on all hosts, if the work failed on the primary process.
    """
    if jax.process_count() == 1:
        return work()
    result = run_on_primary(work)
    if not all_gather(result is not None)[0]:
        return None
    if result is None:
        arrays = [np.zeros(x.shape, x.dtype) for x in host_structs(like)]
    else:
        arrays = to_host_arrays(result)
    received = _unpack(multihost_utils.broadcast_one_to_all(_pack(arrays)), arrays)
    return from_host_arrays(received, like)


def _pack(arrays: list[np.ndarray]) -> np.ndarray:
    """Packs arrays into integer words; a broadcast by summing floats loses the sign of zero."""
    data = b"".join(np.ascontiguousarray(x).tobytes() for x in arrays)
    return np.frombuffer(data + bytes(-len(data) % 4), np.uint32)


def _unpack(words: Any, like: list[np.ndarray]) -> list[np.ndarray]:
    data, at, arrays = np.asarray(words, np.uint32).tobytes(), 0, []
    for x in like:
        arrays.append(np.frombuffer(data[at : at + x.nbytes], x.dtype).reshape(x.shape))
        at += x.nbytes
    return arrays
