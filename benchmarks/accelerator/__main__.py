"""Speed and behavior on one accelerator, in one command of at most 8 minutes.

    python -m benchmarks.accelerator [--rows W1 ...] [--rehearse] [--cifar10 DIR] [--out DIR]

Contenders and rows are processes: one that fails or runs out of memory or time loses only what
it has not measured yet; the others are unaffected. accelerator.json and accelerator.md are
rewritten after each round and row. `--rehearse` runs everything at tiny sizes on a CPU; its
figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.accelerator import report
from benchmarks.accelerator.processes import environment, kill, last_line
from benchmarks.accelerator.race import Budget, race
from benchmarks.accelerator.rows import GROUPS, NAMES, ROWS, SIZES, Task

_RACE = Budget(90.0, 40.0)
_LIMIT = 480.0  # seconds for all rows together
_GRACE = 5.0  # seconds beyond its budget, for a row to finish its current step
_LEAST = 10.0  # seconds below which no row is started


def main(arguments: list[str] | None = None) -> int:
    args = parsed(arguments)
    if args.row:
        return one_row(args)
    # Rows share a cache, so that none compiles what another has compiled.
    with tempfile.TemporaryDirectory() as cache:
        return all_rows(args, cache)


def all_rows(args: argparse.Namespace, cache: str) -> int:
    folder = Path(args.out)
    folder.mkdir(parents=True, exist_ok=True)
    began, results = time.monotonic(), dict[str, Any]()

    def save(found: dict[str, Any]) -> None:
        results.update(found)
        (folder / "accelerator.json").write_text(json.dumps(results, indent=2) + "\n")
        (folder / "accelerator.md").write_text(report.markdown(results, args.rehearse))

    for group in GROUPS:
        left = args.limit - (time.monotonic() - began)
        names = [name for name in group if name in (args.rows or NAMES)]
        skipped = {name: why for name in names if (why := why_skipped(name, left, args))}
        save({name: {"status": f"skipped: {why}"} for name, why in skipped.items()})
        running = [name for name in names if name not in skipped]
        if running and running[0] in SIZES:
            workloads(running, left, args, cache, save)
        elif running:
            with ThreadPoolExecutor() as pool:
                run = partial(in_process, left=left, args=args, cache=cache)
                save(dict(zip(running, pool.map(run, running), strict=True)))
        for name in names:
            print(f"{name}: {results[name]['status']}", flush=True)
    print("", (folder / "accelerator.md").read_text(), sep="\n")
    return int(all("done" not in result["status"] for result in results.values()))


def why_skipped(name: str, left: float, args: argparse.Namespace) -> str:
    if name in ROWS and ROWS[name].needs_data and not args.cifar10:
        return "--cifar10 names no data"
    return "no time left" if left < _LEAST else ""


def workloads(
    names: list[str], left: float, args: argparse.Namespace, cache: str, save: Any
) -> None:
    """Race the named workloads, and save their results with a status."""
    budget = Budget(90.0 * len(names), 20.0 * len(names)) if args.rehearse else _RACE
    budget = Budget(min(budget.build, 0.7 * left), min(budget.time, 0.3 * left))
    began = time.monotonic()

    def with_status(found: dict[str, Any]) -> None:
        for row in found.values():
            timed = any("ms" in variant for variant in row["variants"].values())
            row["status"] = "done" if timed else "nothing timed"
            row["seconds"] = round(time.monotonic() - began, 1)
        save(found)

    race(names, budget, args.rehearse, cache, with_status)


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks/accelerator.sh",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--rows",
        nargs="+",
        choices=NAMES,
        default=[],
        metavar="ROW",
        help=f"from {', '.join(NAMES)}",
    )
    parser.add_argument("--rehearse", action="store_true", help="tiny sizes on a CPU")
    parser.add_argument(
        "--cifar10",
        default=os.environ.get("CIFAR10", ""),
        metavar="PATH",
        help="uint8 images [n, 32, 32, 3] as .npy, or the folder of CIFAR-10's binary version; "
        "by default the environment variable CIFAR10",
    )
    parser.add_argument("--limit", type=float, default=_LIMIT, help="seconds for all rows together")
    parser.add_argument(
        "--out", default=".", metavar="DIR", help="folder of the JSON and the table"
    )
    for hidden, kind in (("--row", str), ("--result", str), ("--seconds", float)):
        parser.add_argument(hidden, type=kind, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def in_process(name: str, left: float, args: argparse.Namespace, cache: str) -> dict[str, Any]:
    """Run a row in a process; return what it measured, even if the process fails."""
    row = ROWS[name]
    budget = min(row.rehearsal if args.rehearse else row.seconds, left - _GRACE)
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "result.json")
        command = [sys.executable, "-m", "benchmarks.accelerator", "--row", name]
        command += ["--result", str(result), "--seconds", str(budget)]
        command += ["--rehearse"] * args.rehearse + ["--cifar10", args.cifar10]
        flags = f"{os.environ.get('XLA_FLAGS', '')} {row.xla_flags * (not args.rehearse)}".strip()
        variables = environment(args.rehearse, cache) | {"XLA_FLAGS": flags}
        began, errors = time.monotonic(), Path(folder, "errors")
        with errors.open("w") as file:
            process = subprocess.Popen(
                command, env=variables, stderr=file, stdout=file, start_new_session=True
            )
        try:
            status = process.wait(budget + _GRACE)
            why = f"failed, status {status}: {last_line(errors)}"
            status_text = "done" if status == 0 else why
        except subprocess.TimeoutExpired:
            status_text = f"stopped after its {budget:.0f} s"
        finally:
            kill(process)
        found = json.loads(result.read_text()) if result.exists() else {}
        return {"status": status_text, "seconds": round(time.monotonic() - began, 1), **found}


def one_row(args: argparse.Namespace) -> int:
    path = Path(args.result)

    def save(found: dict[str, Any]) -> None:
        new = path.with_suffix(".new")
        new.write_text(json.dumps(found))
        new.replace(path)

    deadline = time.monotonic() + args.seconds
    ROWS[args.row].run(Task(save, deadline, args.seconds, args.rehearse, args.cifar10))
    return 0


if __name__ == "__main__":
    sys.exit(main())
