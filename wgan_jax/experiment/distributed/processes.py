"""Runs several hosts as one: how their processes meet, agree and exchange values."""

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
_HEARTBEAT_SECONDS = 8  # a host that is silent for so long counts as gone
_LEAST_BYTES = 1024
_NOTICE_SECONDS = 10.0
JOIN_TIMEOUT = 300.0


def distributed_config(
    mode: str,
    coordinator: str | None = None,
    process_count: int | None = None,
    process_index: int | None = None,
) -> dict[str, Any] | None:
    """The settings of `initialize`; None where this process stays alone.

    Args:
      mode: `auto` looks for a cluster that JAX knows (Cloud TPU, Slurm, Kubernetes,
        MPI), `on` insists on one, `off` stays alone.
      coordinator: `ADDRESS:PORT` of process 0, which listens on that address only.
      process_count: of all hosts together; with `coordinator`, for any other cluster.
      process_index: of this one, from 0.

    Raises:
      UserError: settings that do not fit.
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
    """Join the other processes, before JAX touches a device.

    Args:
      settings: from `distributed_config`.
      insist: whether it is an error that there is no cluster after all.
      timeout: seconds to wait for the others.

    Returns:
      Whether there are others.

    Raises:
      UserError: no cluster where one must be, or hosts that do not come.
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
            reason = "the port of the coordinator is taken by another program"
        raise UserError(
            f"the hosts did not meet: {reason} (--distributed off trains on this host alone)"
        ) from error
    return jax.process_count() > 1


@contextlib.contextmanager
def _notices(timeout: float) -> Iterator[None]:
    """Says every 10 seconds that JAX still waits; who is missing it tells nobody."""
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
        raise UserError("--distributed off goes without --coordinator and --process-*")
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
        # JAX's own default is to listen on all interfaces.
        "coordinator_bind_address": os.environ.get("JAX_COORDINATOR_BIND_ADDRESS", coordinator),
    }


def _on_a_cluster() -> bool:
    """Whether it is worth asking JAX, which may ask the network."""
    if os.environ.get("SLURM_NTASKS") == "1":
        return False
    marks = {"SLURM_STEP_NODELIST", "KUBERNETES_SERVICE_HOST", "OMPI_COMM_WORLD_RANK"}
    marks |= {"PMI_RANK", "PMIX_RANK"}
    return bool(marks & os.environ.keys()) or importlib.util.find_spec("libtpu") is not None


def _mpi() -> str | None:
    """JAX knows older Open MPI by itself and any other MPI through mpi4py, if it is told."""
    ours = {"OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK"} & os.environ.keys()
    known = {"OMPI_MCA_orte_hnp_uri", "SLURM_PROCID"} & os.environ.keys()
    found = importlib.util.find_spec("mpi4py") is not None
    return "mpi4py" if ours and not known and found else None


def process_count() -> int:
    """Number of processes."""
    return jax.process_count()


def is_primary() -> bool:
    """Whether this is the process that writes files."""
    return jax.process_index() == 0


def all_gather(value: Any) -> list[Any]:
    """The JSON values of all processes, in their order. All of them call this."""
    if jax.process_count() == 1:
        return [value]
    text = np.frombuffer(json.dumps(value).encode(), np.uint8)
    sizes = np.ravel(multihost_utils.process_allgather(np.array([len(text)], np.int32)))
    # Few sizes: each is one more compiled program.
    padded = np.zeros(max(_LEAST_BYTES, 1 << (int(sizes.max()) - 1).bit_length()), np.uint8)
    padded[: len(text)] = text
    rows = np.asarray(multihost_utils.process_allgather(padded), np.uint8)
    return [json.loads(row[:n].tobytes()) for row, n in zip(rows, sizes, strict=True)]


def all_reduce_max(value: int) -> int:
    """The largest value of all processes. All of them call this."""
    if jax.process_count() == 1:
        return value
    return int(np.max(multihost_utils.process_allgather(np.array([value], np.int32))))


def run_on_all(work: Callable[[], T]) -> T:
    """Does the work on every process; where one of them fails, all do, with its reason.

    Raises:
      UserError: this host's own, or that of another.
    """
    if not jax.distributed.is_initialized() or jax.process_count() == 1:
        return work()
    result, problem = None, None
    try:
        result = work()
    except (UserError, ValueError) as error:
        problem = str(error)
    problems = {i: said for i, said in enumerate(all_gather(problem)) if said is not None}
    if problem is not None:
        raise UserError(problem)
    for index, said in problems.items():
        raise UserError(f"host {index}: {said}")
    return result  # type: ignore[return-value]


def assert_same_on_all(value: dict[str, Any], difference: Callable[[Any, Any], str]) -> None:
    """Raises on all processes where their values differ.

    Args:
      value: of this process, JSON values.
      difference: `(first, other) -> str` says what differs.

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
      like: the shapes and dtypes of that tree.

    Raises:
      UserError: on all hosts, what the first one met.
    """
    if jax.process_count() == 1:
        return work()
    found = run_on_all(lambda: work() if is_primary() else None)
    if not all_gather(found is not None)[0]:
        return None
    if found is None:
        mine = [np.zeros(x.shape, x.dtype) for x in host_structs(like)]
    else:
        mine = to_host_arrays(found)
    data = _unpacked(multihost_utils.broadcast_one_to_all(_packed(mine)), mine)
    return from_host_arrays(data, like)


def _packed(arrays: list[np.ndarray]) -> np.ndarray:
    """As whole words: the sum that carries them over would lose the sign of a zero."""
    data = b"".join(np.ascontiguousarray(x).tobytes() for x in arrays)
    return np.frombuffer(data + bytes(-len(data) % 4), np.uint32)


def _unpacked(words: Any, like: list[np.ndarray]) -> list[np.ndarray]:
    data, at, arrays = np.asarray(words, np.uint32).tobytes(), 0, []
    for x in like:
        arrays.append(np.frombuffer(data[at : at + x.nbytes], x.dtype).reshape(x.shape))
        at += x.nbytes
    return arrays
