"""Processes of rows and contenders: their environment, their end, and why they failed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import Any


def environment(rehearse: bool, cache: str) -> dict[str, str]:
    """Return the environment of a process that shares the accelerator and the compiled programs."""
    found = dict(os.environ)
    # PyTorch and JAX share the memory, so neither may preallocate all of it.
    found |= {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "JAX_COMPILATION_CACHE_DIR": cache}
    found |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    if rehearse:
        found |= {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    return found


def kill(process: subprocess.Popen[Any]) -> None:
    """Kill a process that leads its own session, and its children."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def last_line(errors: Path) -> str:
    """Return the last line that a process printed, up to 200 characters."""
    return (errors.read_text().strip().splitlines() or ["no output"])[-1][:200]
