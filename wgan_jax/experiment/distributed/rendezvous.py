"""Connects the processes of a run before JAX does, to report missing or misconfigured ones.

JAX's own initialization waits silently for minutes, and a port in use ends the process without
a message. Therefore process 0 first listens on the coordinator's port itself. Each other process
connects and sends its index and count, and all are informed which processes are missing, what is
wrong, or that all are present. Then process 0 closes the port for JAX.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import select
import socket
import time
from typing import Any

from wgan_jax.errors import UserError

logger = logging.getLogger(__name__)

_PROTOCOL = "wgan_jax 1"
_NOTICE_SECONDS = 10.0
_SILENCE_SECONDS = 25.0  # process 0 sends a line at least every 10 seconds
_RETRY_SECONDS = 0.3
_MAX_MESSAGE = 4096


def rendezvous(address: str, bind_address: str, count: int, index: int, timeout: float) -> None:
    """Waits until all processes of a run are present.

    Args:
      address: `HOST:PORT` of process 0.
      bind_address: `HOST:PORT` on which process 0 listens.
      count: number of processes.
      index: index of this process.
      timeout: maximum time to wait, in seconds.

    Raises:
      UserError: on all present processes: the port is in use, indices or counts do not
        match, or processes did not connect in time.
    """
    if count == 1:
        return
    deadline = time.monotonic() + timeout
    if index == 0:
        with _listen(bind_address) as listener:
            _Server(listener, address, count, timeout, deadline).wait()
    else:
        _join(address, count, index, timeout, deadline)


class _Server:
    """The server in process 0."""

    def __init__(
        self, listener: socket.socket, address: str, count: int, timeout: float, deadline: float
    ):
        self._listener, self._address, self._count = listener, address, count
        self._timeout, self._deadline = timeout, deadline
        self._pending: dict[socket.socket, bytes] = {}
        self._present: dict[int, socket.socket] = {}

    def wait(self) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self._close)
            notice = time.monotonic() + _NOTICE_SECONDS
            while len(self._present) < self._count - 1:
                if (now := time.monotonic()) >= self._deadline:
                    self._give_up(
                        f"not all processes connected within {self._timeout:.0f} s: no connection "
                        f"from {self._missing()} at {self._address}; start it as well, or set "
                        f"--join-timeout"
                    )
                if now >= notice:
                    notice = now + _NOTICE_SECONDS
                    logger.warning("waiting for %s at %s", self._missing(), self._address)
                    self._broadcast(waiting=f"{self._missing()} at {self._address}")
                sockets = [self._listener, *self._pending, *self._present.values()]
                ready, _, _ = select.select(sockets, [], [], min(notice, self._deadline) - now)
                for ready_socket in ready:
                    self._read(ready_socket)
            self._broadcast(complete=True)

    def _read(self, ready: socket.socket) -> None:
        if ready is self._listener:
            with contextlib.suppress(OSError):
                peer, _ = self._listener.accept()
                peer.setblocking(False)
                self._pending[peer] = b""
            return
        data = _receive(ready)
        if ready not in self._pending:  # present processes send nothing, so this one disconnected
            self._present = {k: peer for k, peer in self._present.items() if peer is not ready}
            ready.close()
            return
        message = self._pending[ready] + data
        if data and b"\n" not in message and len(message) < _MAX_MESSAGE:
            self._pending[ready] = message
            return
        del self._pending[ready]
        hello = _parse(message.partition(b"\n")[0])
        if hello is None or {type(hello.get(k)) for k in ("index", "count")} != {int}:
            ready.close()  # not a process of a run
            return
        self._admit(ready, hello["index"], hello["count"])

    def _admit(self, peer: socket.socket, index: int, count: int) -> None:
        former = self._present.get(index)
        if former is not None and former in select.select([former], [], [], 0)[0]:
            self._read(former)  # the former process disconnected and was restarted
        is_duplicate = index in self._present or index == 0
        self._pending[peer] = b""  # informed and closed with the others
        if count != self._count:
            self._give_up(
                f"process {index} has --process-count {count}, but process 0 has {self._count}; "
                f"all need the same value"
            )
        if is_duplicate or not 0 < index < self._count:
            self._give_up(
                f"two processes have --process-index {index}; each needs its own, from 0 to "
                f"{self._count - 1}"
            )
        del self._pending[peer]
        self._present[index] = peer
        _send(peer, waiting="")

    def _missing(self) -> str:
        missing = [str(k) for k in range(1, self._count) if k not in self._present]
        shown = ", ".join(missing[:8]) + (", ..." if len(missing) > 8 else "")
        return f"process{'es' if len(missing) > 1 else ''} {shown} of {self._count}"

    def _broadcast(self, **message: Any) -> None:
        for peer in [*self._present.values(), *self._pending]:
            _send(peer, **message)

    def _give_up(self, problem: str) -> None:
        self._broadcast(problem=problem)
        raise UserError(problem)

    def _close(self) -> None:
        for peer in [*self._present.values(), *self._pending]:
            peer.close()


def _join(address: str, count: int, index: int, timeout: float, deadline: float) -> None:
    """Connects to process 0 and waits, in all other processes."""
    reason, notice = "", time.monotonic() + _NOTICE_SECONDS
    while (now := time.monotonic()) < deadline:
        try:
            with socket.create_connection(_split(address), timeout=_NOTICE_SECONDS / 2) as peer:
                peer.settimeout(_SILENCE_SECONDS)
                _send(peer, index=index, count=count)
                if _wait_for(peer, address):
                    return
                reason = "it disconnected"
        except OSError as error:
            reason = error.strerror or str(error)
        if now >= notice:
            notice = now + _NOTICE_SECONDS
            logger.warning("waiting for process 0 at %s (%s)", address, reason)
        time.sleep(_RETRY_SECONDS)
    raise UserError(
        f"not all processes connected within {timeout:.0f} s: no connection to process 0 at "
        f"{address} ({reason}); start it as well, or set --join-timeout"
    )


def _wait_for(peer: socket.socket, address: str) -> bool:
    """Reads messages of process 0 until all are present; returns False if it disconnects."""
    with peer.makefile("rb") as lines:
        while True:
            try:
                line = lines.readline(_MAX_MESSAGE)
            except TimeoutError:
                line = b"nothing"
            if not line:
                return False
            message = _parse(line)
            if message is None:
                raise UserError(
                    f"another program listens at {address}, not process 0 of this run; choose "
                    f"another --coordinator"
                )
            if "problem" in message:
                raise UserError(str(message["problem"]))
            if message.get("complete"):
                return True
            if waiting := message.get("waiting"):
                logger.warning("waiting for %s", waiting)


def _listen(address: str) -> socket.socket:
    host, port = _split(address)
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, place = infos[0]
        return socket.create_server(place[:2], family=family, backlog=1024)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"the port of --coordinator {address} is in use by another program or another "
                f"process 0; choose another port"
            ) from error
        # Name resolution errors are negative numbers, without a message from the system.
        known = (error.errno or 0) > 0
        reason = os.strerror(error.errno or 0) if known else error.strerror or str(error)
        raise UserError(
            f"process 0 cannot listen at --coordinator {address} "
            f"({reason}); give an address of the machine of process 0"
        ) from error


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _send(peer: socket.socket, **message: Any) -> None:
    data = json.dumps({"protocol": _PROTOCOL, **message}).encode() + b"\n"
    with contextlib.suppress(OSError):  # a disconnect is noticed at the next read
        peer.sendall(data)


def _receive(peer: socket.socket) -> bytes:
    with contextlib.suppress(OSError):
        return peer.recv(_MAX_MESSAGE)
    return b""


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    is_ours = isinstance(message, dict) and message.get("protocol") == _PROTOCOL
    return message if is_ours else None
