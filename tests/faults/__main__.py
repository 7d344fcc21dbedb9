"""`python -m tests.faults`: the long part. Prints a table of counts; exits 1 on any failure.

The default sizes are those that the docs state; a number in (0, 1] scales them down, and
names select rows: `python -m tests.faults 0.1 kills damage`.
"""

import contextlib
import io
import os
import random
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from wgan_jax import cli
from wgan_jax.__main__ import main as commands

from . import damage, determinism, disk, hostile_data, inputs, kills, locks, signals, soak
from .processes import MODELS, ROOT, TINY, forks, processor_seconds

_PROPERTIES = [
    f"tests/test_{subject}.py"
    for subject in ("clipping", "convolution", "data", "distances", "gan")
]


def main(args):
    scale = float(args.pop(0)) if args and args[0][0].isdigit() else 1.0
    rows = {name: row for name, row in ROWS.items() if not args or name in args}
    failed = 0
    with tempfile.TemporaryDirectory() as place, forks(Path(place) / "compiled") as start:
        for name, row in rows.items():
            folder = Path(place) / name
            folder.mkdir()
            began, spent = time.monotonic(), time.process_time() + processor_seconds()
            good, told = row(start, folder, lambda n: max(1, round(n * scale)))
            failed += not good
            verdict = "good" if good else "BAD"
            took = time.monotonic() - began
            spent = time.process_time() + processor_seconds() - spent
            print(f"| {name} | {told} | {verdict} | {took:.0f} s, {spent:.0f} s of a core |")
            sys.stdout.flush()
    return 1 if failed else 0


def _kills(start, folder, of):
    total, runs, wrong = 0, 0, 0
    for i, model in enumerate(MODELS):
        (folder / str(i)).mkdir()
        share = of(200) // len(MODELS) + (i < of(200) % len(MODELS))
        found = kills.killed(start, MODELS[model], folder / str(i), share, random.Random(i))
        total, runs, wrong = (a + b for a, b in zip((total, runs, wrong), found, strict=True))
    told = f"{total} SIGKILLs over {runs} runs of {len(MODELS)} models, {wrong} not bitwise equal"
    return wrong == 0, told


def _signals(start, folder, of, repeat=False):
    number = of(30)
    good, training, longest = signals.stopped(
        start, TINY, folder, number, random.Random(0), repeat=repeat
    )
    told = f"{good} of {number} saved and told, {training} in training, {longest:.1f} s at most"
    return good == number, told


def _aimed(start, folder, of):
    number, wrong = of(20), []
    for kind, args in signals.KINDS.items():
        for work in signals.WORK:
            for i in range(number):
                workdir = folder / f"{kind}-{work}-{i}"
                call = 1 + i // 2 % signals.CALLS[work]
                found = signals.aimed(start, work, args, workdir, call, after=i % 2 == 1)
                wrong += [f"{kind}: {found}"] if found else []
    models = list(MODELS)[: of(len(MODELS))]
    for i, model in enumerate(models):
        found = signals.aimed(start, "saving", MODELS[model], folder / f"model-{i}", 2)
        wrong += [f"{model}: {found}"] if found else []
    tried = number * len(signals.WORK) * len(signals.KINDS) + len(models)
    told = f"{tried - len(wrong)} of {tried} saved what they say"
    return not wrong, f"{told} {wrong or ''}".strip()


def _determinism(start, folder, of):
    models, wrong = list(MODELS)[: of(len(MODELS))], []
    for i, model in enumerate(models):
        place = folder / str(i)
        place.mkdir()
        wrong += [f"{model}: {way}" for way in determinism.different(start, MODELS[model], place)]
    cores = len(os.sched_getaffinity(0))
    told = f"{len(models)} models, 1 and {cores} cores, cold and warm cache: {len(wrong)} differ"
    return not wrong, f"{told} {wrong or ''}".strip()


def _damage(start, folder, of, forge=False):
    pristine = damage.pristine(folder / "checkpoints")
    ways = list(damage.VARIANTS)[: of(len(damage.VARIANTS))]
    counts = damage.variants(pristine, folder, ways, forge)
    told = f"{sum(counts.values())} variants: {counts}, 0 wrong numbers, 0 hangs"
    return forge or counts["newer"] == counts["error"] == 0, told


def _flips(start, folder, of):
    pristine = damage.pristine(folder / "checkpoints")
    counts = damage.flips(pristine, folder, of(300), random.Random(0))
    told = f"{sum(counts.values())} flips: {counts}, 0 wrong numbers, 0 hangs"
    return counts["newer"] == counts["error"] == 0, told


def _limited(start, folder, of):
    return _verdicts({place: disk.refused(start, place, folder) for place in disk.PLACES})


def _full(start, folder, of):
    found = {place: disk.full_disk(start, place, folder) for place in disk.PLACES}
    return _verdicts(found | {"read-only half way": disk.made_read_only(start, folder)})


def _verdicts(found):
    done = {place: wrong for place, wrong in found.items() if wrong is not None}
    wrong = {place: what for place, what in done.items() if what}
    told = f"{len(done) - len(wrong)} of {len(found)} end in one line, older ones restore {wrong}"
    return not wrong and bool(done), told


def _locks(start, folder, of):
    number, pairs = of(10), of(10)
    good, longest = locks.turned_away(start, folder, number)
    together = locks.at_once(start, folder, pairs)
    told = f"{good + together} of {number + pairs} pairs; the second left in {longest:.1f} s"
    return good + together == number + pairs, told


def _inputs(start, folder, of):
    bad = []
    for i, text in enumerate(inputs.FLAGS):
        bad += _refused(cli.train, inputs.flag_args(text, folder / f"flags-{i}"), text)
    for i, text in enumerate(inputs.CONFIGS):
        (folder / f"{i}.json").write_bytes(text.encode("latin1"))
        where = ["--config", str(folder / f"{i}.json"), "--workdir", str(folder / f"config-{i}")]
        bad += _refused(cli.train, where, text[:30])
    for i, text in enumerate(inputs.COMMANDS):
        (folder / f"command-{i}").mkdir()
        bad += _refused(commands, inputs.command_args(text, folder / f"command-{i}"), text)
    for i, part in enumerate(inputs.PARTS):
        own = folder / f"part-{i}.py"
        own.write_text(inputs.OWN_PARTS.replace("PART", part), encoding="utf-8")
        where = ["--config", str(own), "--workdir", str(folder / f"own-{i}")]
        bad += _refused(cli.train, where, part)
    tried = sum(map(len, (inputs.FLAGS, inputs.CONFIGS, inputs.COMMANDS, inputs.PARTS)))
    return not bad, f"{tried - len(bad)} of {tried} told in one line with status 2 {bad or ''}"


def _data(start, folder, of):
    places = {}
    for i, (name, images) in enumerate(inputs.IMAGES.items()):
        places[name] = folder / f"images-{i}"
        inputs.prepared(places[name], images)
    inputs.prepared(folder / "good", inputs.GOOD)
    places |= dict(inputs.damaged_data(folder, folder / "good"))
    bad = []
    for name, place in places.items():
        bad += _refused(cli.train, inputs.reading(place, folder / "run"), name)
    wrong = list(inputs.downloads(folder))
    for name, dataset, place in wrong:
        where = ["--manual-dir", str(place), "--data-dir", str(folder / "data")]
        bad += _refused(commands, ["prepare", dataset, *where], name)
    tried = len(places) + len(wrong)
    return not bad, f"{tried - len(bad)} of {tried} told in one line with status 2 {bad or ''}"


def _hostile(start, folder, of):
    counts, bad = {}, []
    for group, variants, trial in hostile_data.groups(folder):
        chosen = list(variants)[: of(len(variants))]
        for i, variant in enumerate(chosen):
            place = folder / f"{group}-{i}".replace(" ", "-")
            place.mkdir()
            bad += [f"{group}: {variant}: {wrong}" for wrong in trial(variant, place)]
        counts[group] = len(chosen)
    told = f"{sum(counts.values())} variants: {counts}, 0 files touched outside, 0 hangs"
    return not bad, f"{told} {bad or ''}"


def _refused(command, args, name):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = cli.run_command(command, args)
    return [] if status == 2 and err.getvalue().count("\n") == 1 else [name]


def _soak(start, folder, of):
    saves = of(1_000)
    found = soak.soak(start, folder, saves)
    told = (
        f"{20 * saves:,} iterations, {saves:,} saves: {found['megabytes']:+.0f} MB, "
        f"{found['files']:+d} files, {found['threads']:+d} threads "
        f"(beside TensorStore's pool of {found['pool']} at most), {found['programs']} program"
    )
    flat = found["megabytes"] <= 50 and found["files"] <= 0 and found["threads"] <= 0
    flat = flat and found["pool"] <= 64
    return flat and found["programs"] == 1, told


def _properties(start, folder, of):
    profile = "--hypothesis-profile=long" if of(100) == 100 else "--hypothesis-profile=usual"
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", profile]
    done = subprocess.run(
        [*command, *_PROPERTIES], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.returncode == 0, done.stdout.strip().splitlines()[-1]


ROWS = {
    "kills": _kills,
    "signals": _signals,
    "signals again and again": partial(_signals, repeat=True),
    "signals aimed at work": _aimed,
    "determinism": _determinism,
    "damage": _damage,
    "damage under forged checksums": partial(_damage, forge=True),
    "flips": _flips,
    "files limited": _limited,
    "disk full": _full,
    "locks": _locks,
    "bad input": _inputs,
    "bad data": _data,
    "hostile": _hostile,
    "soak": _soak,
    "properties": _properties,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
