"""The results of all rows as Markdown."""

from __future__ import annotations

from typing import Any

_GOALS = {"W1": 5.0, "W2": 5.0, "W3": 2.0, "W4": 1.2, "W5": 10.0}  # best PyTorch / best of ours


def markdown(results: dict[str, Any], rehearse: bool = False) -> str:
    """Return all rows, including those that were only partly measured."""
    lines = ["# Results on this accelerator", ""]
    if rehearse:
        lines += ["A rehearsal at tiny sizes on a CPU: these figures mean nothing.", ""]
    races = {name: result for name, result in results.items() if "variants" in result}
    if races:
        lines += _device(next(iter(races.values()))) + _summary(races)
    for name, result in results.items():
        lines += [f"## {name}", "", f"{_head(result)}", ""]
        lines += _race(result) if name in races else _behavior(result)
    return "\n".join(lines).rstrip() + "\n"


def _head(result: dict[str, Any]) -> str:
    about = ""
    if "about" in result:
        about = f"{result['about']}, {result['gflop']:.3g} GFLOP per iteration; "
    seconds = f" in {result['seconds']:.0f} s" if "seconds" in result else ""
    return f"{about}{result['status']}{seconds}."


def _device(result: dict[str, Any]) -> list[str]:
    lines = [f"{result['device']}. Peaks in TFLOP/s:", ""]
    rows = [
        (precision, _tera(peak["known"]), _tera(peak["measured"]))
        for precision, peak in result["peaks"].items()
    ]
    return lines + _table(("precision", "data sheet", "measured"), rows)


def _summary(races: dict[str, Any]) -> list[str]:
    rows = []
    for name, result in races.items():
        timed = {label: row for label, row in result["variants"].items() if "ms" in row}
        ours = {label: row for label, row in timed.items() if label.startswith("ours")}
        if not ours:
            continue
        best = min(ours, key=lambda label: ours[label]["ms"])
        ratio = ours[best].get("torch_over_this")
        torch = result.get("best_torch")
        rows.append(
            (
                name,
                f"{best}: {ours[best]['ms']:.3g} ms",
                f"{torch}: {timed[torch]['ms']:.3g} ms" if torch in timed else "-",
                f"{ratio:.2f}" if ratio else "-",
                f"{_GOALS[name]:g}" if name in _GOALS else "-",
            )
        )
    return _table(("workload", "best of ours", "best PyTorch", "ratio", "goal"), rows)


def _race(result: dict[str, Any]) -> list[str]:
    rows = []
    for label, row in result["variants"].items():
        if "ms" not in row:
            rows.append((label, "not timed", *["-"] * 6))
            continue
        rows.append(
            (
                label,
                f"{row['ms']:.3g}",
                _percent(row["mfu"]),
                _percent(row["share_of_measured"]),
                f"{row['torch_over_this']:.2f}" if "torch_over_this" in row else "-",
                f"{row['memory']:.0f}" if row["memory"] else "-",
                f"{row['built_s']:.0f}" if "built_s" in row else "-",
                str(row["rounds"]),
            )
        )
    head = ("variant", "ms", "MFU", "share of measured peak", "best torch / this")
    lines = _table((*head, "MiB", "s to build", "rounds"), rows)
    lines += [f"- {label}: not run, {why}" for label, why in result["refused"].items()]
    return [*lines, ""]


def _behavior(result: dict[str, Any]) -> list[str]:
    """Return one table of the names and values that the row saved."""
    flat = dict(_flattened({k: v for k, v in result.items() if k not in ("status", "seconds")}))
    return _table(("", ""), [(name, _text(value)) for name, value in flat.items()]) if flat else []


def _flattened(tree: Any, name: str = "") -> Any:
    if not isinstance(tree, dict):
        yield name, tree
        return
    for key, value in tree.items():
        yield from _flattened(value, f"{name}, {key}".lstrip(", "))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    lines = [f"| {' | '.join(row)} |" for row in [head, ("---",) * len(head), *rows]]
    return [*lines, ""]


def _tera(flops: float | None) -> str:
    return f"{flops / 1e12:.3g}" if flops else "unknown"


def _percent(share: float | None) -> str:
    return f"{share:.0%}" if share else "-"
