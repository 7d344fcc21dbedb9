"""Speed and behavior on one accelerator, in one command of 8 minutes at most.

    python -m benchmarks.accelerator [--rows W1 ...] [--rehearse] [--cifar10 DIR] [--out DIR]

Each row is a process with a budget of its own: one that fails, runs out of memory or of time
loses what it has not measured yet, and nothing of the others. accelerator.json and
accelerator.md are written anew after each of them. `--rehearse` goes through all of it at tiny
sizes on a CPU; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.accelerator import report
from benchmarks.accelerator.rows import ROWS, Row, Task

_LIMIT = 480.0  # seconds of all rows together
_GRACE = 5.0  # that a row has beyond its budget, for what it is in the middle of
_LEAST = 10.0  # seconds below which no row is begun


def main(arguments: list[str] | None = None) -> int:
    given = parsed(arguments)
    if given.row:
        return one_row(given)
    # Rows share what they compile, so that none waits for a program of another.
    with tempfile.TemporaryDirectory() as cache:
        return all_rows(given, cache)


def all_rows(given: argparse.Namespace, cache: str) -> int:
    folder = Path(given.out)
    folder.mkdir(parents=True, exist_ok=True)
    began, results = time.monotonic(), dict[str, Any]()
    for name in given.rows or ROWS:
        left = given.limit - (time.monotonic() - began)
        row = ROWS[name]
        if row.needs_data and not given.cifar10:
            results[name] = {"status": "left out: --cifar10 names no data"}
        elif left < _LEAST:
            results[name] = {"status": "left out: no time left"}
        else:
            budget = row.rehearsal if given.rehearse else row.seconds
            results[name] = in_process(name, row, min(budget, left - _GRACE), given, cache)
        print(f"{name}: {results[name]['status']}", flush=True)
        (folder / "accelerator.json").write_text(json.dumps(results, indent=2) + "\n")
        (folder / "accelerator.md").write_text(report.markdown(results, given.rehearse))
    print("", (folder / "accelerator.md").read_text(), sep="\n")
    return int(all("done" not in result["status"] for result in results.values()))


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks/accelerator.sh",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--rows", nargs="+", choices=ROWS, default=[], metavar="ROW", help=f"of {', '.join(ROWS)}"
    )
    parser.add_argument("--rehearse", action="store_true", help="tiny sizes on a CPU")
    parser.add_argument(
        "--cifar10",
        default=os.environ.get("CIFAR10", ""),
        metavar="PATH",
        help="uint8 images [n, 32, 32, 3] as .npy, or the folder of CIFAR-10's binary version; "
        "the environment's CIFAR10 otherwise",
    )
    parser.add_argument("--limit", type=float, default=_LIMIT, help="seconds of all rows together")
    parser.add_argument(
        "--out", default=".", metavar="DIR", help="folder of the JSON and the table"
    )
    for hidden, kind in (("--row", str), ("--result", str), ("--seconds", float)):
        parser.add_argument(hidden, type=kind, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def in_process(
    name: str, row: Row, budget: float, given: argparse.Namespace, cache: str
) -> dict[str, Any]:
    """What a row leaves behind, whatever becomes of its process."""
    with tempfile.TemporaryDirectory() as place:
        result = Path(place, "result.json")
        command = [sys.executable, "-m", "benchmarks.accelerator", "--row", name]
        command += ["--result", str(result), "--seconds", str(budget)]
        command += ["--rehearse"] * given.rehearse + ["--cifar10", given.cifar10]
        flags = f"{os.environ.get('XLA_FLAGS', '')} {row.xla_flags * (not given.rehearse)}".strip()
        # PyTorch and JAX share the memory, so neither may take all of it at once.
        environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "XLA_FLAGS": flags}
        environment |= {"JAX_COMPILATION_CACHE_DIR": cache}
        environment |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        if given.rehearse:
            environment |= {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
        began = time.monotonic()
        with Path(place, "errors").open("w+") as errors:
            process = subprocess.Popen(
                command, env=environment, stderr=errors, stdout=errors, start_new_session=True
            )
            try:
                status = process.wait(budget + _GRACE)
                errors.seek(0)
                last = (errors.read().strip().splitlines() or ["without a word"])[-1]
                told = "done" if status == 0 else f"failed, status {status}: {last:.200}"
            except subprocess.TimeoutExpired:
                told = f"stopped at its {budget:.0f} s"
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # and what it started
                process.wait()
        found = json.loads(result.read_text()) if result.exists() else {}
        return {"status": told, "seconds": round(time.monotonic() - began, 1), **found}


def one_row(given: argparse.Namespace) -> int:
    path = Path(given.result)

    def save(found: dict[str, Any]) -> None:
        new = path.with_suffix(".new")
        new.write_text(json.dumps(found))
        new.replace(path)

    deadline = time.monotonic() + given.seconds
    ROWS[given.row].run(Task(save, deadline, given.seconds, given.rehearse, given.cifar10))
    return 0


if __name__ == "__main__":
    sys.exit(main())
