"""The quick part of fault injection; `python -m tests.faults` is the long one."""

import random
import re
import time
from pathlib import Path
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from wgan_jax import cli
from wgan_jax.__main__ import main
from wgan_jax.data import prepare
from wgan_jax.data.pixels import decode
from wgan_jax.errors import UserError
from wgan_jax.experiment.checkpoint.checkpointer import Checkpoints
from wgan_jax.experiment.metrics_log import MetricsLog, read_metrics

from . import damage, disk, inputs, kills, locks, machines, signals
from .processes import MODELS, ROOT, TINY, forks

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.once]
KILLS = {"clipped MLPs": 8, "DCGANs with batch norm": 5, "gradient penalty, Adam": 7}


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    with forks(tmp_path_factory.mktemp("compiled")) as start:
        yield start


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(m, marks=pytest.mark.process if m in KILLS else pytest.mark.slow)
        for m in MODELS
    ],
)
def test_runs_that_are_killed_go_on_bitwise(model, start, tmp_path):
    number = KILLS.get(model, 2)
    done, _, wrong = kills.killed(start, MODELS[model], tmp_path, number, random.Random(0))
    assert (done, wrong) == (number, 0)


@pytest.mark.process
def test_signals_again_and_again_save_and_tell(start, tmp_path):
    good, _, _ = signals.stopped(start, TINY, tmp_path, 2, random.Random(0), repeat=True)
    assert good == 2


@pytest.mark.process
@pytest.mark.parametrize("kind", signals.KINDS)
@pytest.mark.parametrize("work", signals.WORK)
def test_a_signal_saves_what_it_says_at_all_work(work, kind, start, tmp_path):
    assert signals.aimed(start, work, signals.KINDS[kind], tmp_path / "run", 2) == ""


@pytest.mark.process
@pytest.mark.parametrize("number", signals.WARNINGS)
def test_a_closed_terminal_and_warnings_of_a_scheduler_save_too(number, start, tmp_path):
    assert signals.aimed(start, "saving", TINY, tmp_path / "run", 2, kind=number) == ""


@pytest.mark.process
@pytest.mark.parametrize("place", disk.PLACES)
def test_a_disk_that_refuses_is_told_in_one_line(place, start, tmp_path):
    assert disk.refused(start, place, tmp_path) == ""


def test_the_second_of_two_trainers_leaves_at_once(start, tmp_path):
    assert locks.turned_away(start, tmp_path, 2)[0] == 2
    assert locks.at_once(start, tmp_path, 1) == 1


SHORT = [*TINY, "--steps", "2", "--chunk", "2", "--checkpoint-every", "2", "--log-every", "2"]


@pytest.mark.parametrize("lacking", machines.LACKING)
def test_runs_go_on_without_what_a_machine_may_lack(lacking, start, tmp_path):
    run = start(SHORT, tmp_path / "run", patch=machines.LACKING[lacking])
    assert run.wait() == 0, run.lines()
    assert run.lines() == []
    warnings = run.said.read_text(encoding="utf-8").count("has no locks")
    assert warnings == ("locks" in lacking)
    assert Checkpoints(tmp_path / "run/checkpoints").steps() == [2]
    assert [line["step"] for line in read_metrics(tmp_path / "run/metrics.jsonl")] == [2]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    return damage.pristine(tmp_path_factory.mktemp("pristine") / "checkpoints")


@pytest.mark.parametrize("way", damage.VARIANTS)
def test_damage_never_restores_wrong_numbers(way, pristine, tmp_path):
    counts = damage.variants(pristine, tmp_path, [way], every=3)
    assert counts["older"] == -(-len(damage.files(pristine)) // 3)


def test_flipped_bits_never_restore_wrong_numbers(pristine, tmp_path):
    assert damage.flips(pristine, tmp_path, 20, random.Random(0))["older"] == 20


@pytest.mark.parametrize("way", ["truncated", "zeroed", "made random"])
def test_forged_checksums_never_restore_wrong_numbers(way, pristine, tmp_path):
    counts = damage.variants(pristine, tmp_path, [way], forge=True, every=2)
    assert counts["older"] > counts["newer"]


def test_only_good_checkpoints_are_chosen_and_kept(tmp_path):
    """A step that was passed over is moved away when the run comes to save there again."""
    folder = damage.pristine(tmp_path / "checkpoints")
    damage.files(folder)[0].unlink()
    for name in ("30.part", "30.gone", "30.part.orbax-checkpoint-tmp", "40x"):
        (folder / name).mkdir()
    (folder / "50").symlink_to(folder / "20")
    checkpoints = Checkpoints(folder, keep=1)
    assert checkpoints.restore(damage.LIKE, str)[0] == damage.OLD
    checkpoints.save(15, damage.state(1.0))
    assert checkpoints.steps() == [15]
    assert (folder / "skipped/20").is_dir()
    assert not list(folder.glob("30*"))


def test_what_is_not_finite_is_not_saved_and_room_is_asked_for(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
    bad = damage.state(1.0)
    bad.weights["norm"]["scale"] = jnp.full((3,), jnp.inf, jnp.bfloat16)
    with pytest.raises(UserError, match="weights/norm/scale"):
        checkpoints.save(1, bad)
    assert checkpoints.steps() == []
    checkpoints.check_disk_space(damage.LIKE)
    full = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda place: full)
    with pytest.raises(UserError, match="keep-checkpoints"):
        checkpoints.check_disk_space(damage.LIKE)


def test_a_clock_that_jumps_changes_no_choice(tmp_path, monkeypatch):
    save, jumps, now, now_ns = Checkpoints.save, iter([1e9, -1e9]), time.time, time.time_ns

    def save_after_a_jump(self, *args):
        jump = next(jumps)
        monkeypatch.setattr("time.time", lambda: now() + jump)
        monkeypatch.setattr("time.time_ns", lambda: now_ns() + int(jump * 1e9))
        save(self, *args)

    monkeypatch.setattr(Checkpoints, "save", save_after_a_jump)
    folder = damage.pristine(tmp_path / "checkpoints")
    assert damage.outcome(folder) == "newer"


def test_a_metrics_log_has_no_values_that_json_has_not(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path, 0)
    log.write({"step": 1, "a": 1.0, "b": float("nan"), "c": float("inf")})
    log.close()
    with path.open("ab") as file:
        file.write(b'{"step": 2, "a"')
    assert read_metrics(path) == [{"step": 1, "a": 1.0}]


def refused(capsys, command, args):
    """What a command says on its one line of stderr, as it leaves with status 2."""
    status = cli.run_command(command, args)
    said = capsys.readouterr().err
    assert (status, said.count("\n")) == (2, 1), said
    assert said.startswith("error: ")
    return said


@pytest.mark.parametrize("text", inputs.COMMANDS)
def test_bad_commands_are_told_in_one_line(text, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    args = inputs.command_args(text, tmp_path)
    there = sorted(tmp_path.rglob("*"))
    said = refused(capsys, main, args)
    assert inputs.COMMANDS[text] in said
    assert "Traceback" not in said
    assert sorted(tmp_path.rglob("*")) == there


@pytest.mark.parametrize("part", inputs.PARTS)
def test_parts_that_no_config_json_holds_are_told_in_one_line(part, tmp_path, capsys):
    (tmp_path / "own.py").write_text(inputs.OWN_PARTS.replace("PART", part), encoding="utf-8")
    where = ["--config", str(tmp_path / "own.py"), "--workdir", str(tmp_path / "run")]
    assert inputs.PARTS[part] in refused(capsys, cli.train, where)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("text", inputs.FLAGS)
def test_bad_flags_are_told_in_one_line(text, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    said = refused(capsys, cli.train, inputs.flag_args(text, tmp_path))
    assert inputs.FLAGS[text] in said


@pytest.mark.parametrize("text", inputs.CONFIGS, ids=lambda text: text[:30])
def test_bad_configs_are_told_in_one_line(text, tmp_path, capsys):
    (tmp_path / "config.json").write_bytes(text.encode("latin1"))
    args = ["--config", str(tmp_path / "config.json"), "--workdir", str(tmp_path / "run")]
    assert inputs.CONFIGS[text] in refused(capsys, cli.train, args)


@pytest.mark.parametrize("images", inputs.IMAGES)
def test_bad_images_are_told_in_one_line(images, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    inputs.prepared(tmp_path / "data", inputs.IMAGES[images])
    capsys.readouterr()
    refused(capsys, cli.train, inputs.reading(tmp_path / "data", tmp_path / "run"))


def test_damaged_data_sets_are_told_in_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    inputs.prepared(tmp_path / "data", inputs.GOOD)
    capsys.readouterr()
    for name, copy in inputs.damaged_data(tmp_path, tmp_path / "data"):
        said = refused(capsys, cli.train, inputs.reading(copy, tmp_path / "run"))
        assert "strange" in said or "image" in said, name


def test_wrong_downloads_are_told_in_one_line_and_write_nothing_outside(tmp_path, capsys):
    for _, name, folder in inputs.downloads(tmp_path):
        args = ["prepare", name, "--manual-dir", str(folder), "--data-dir", str(tmp_path / "data")]
        refused(capsys, main, args)
    assert not [*tmp_path.rglob(inputs.EVIL), *Path("/tmp").glob(inputs.EVIL)]


def test_an_archive_is_read_in_memory_and_writes_nothing_outside(tmp_path):
    """CIFAR-10's format, good members among evil ones; its checksum alone is not the official."""
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
    archive = inputs.traversing_archive(tmp_path / "cifar.tar.gz", images)
    builder = prepare._builder("cifar10", str(tmp_path / "deep/deeper/data"))
    manager = SimpleNamespace(download=lambda url: archive)
    examples = list(builder._split_generators(manager)["train"])
    assert [example["label"] for _, example in examples] == list(range(5))
    for (_, example), image in zip(examples, images, strict=False):
        np.testing.assert_array_equal(decode(example["image"].getvalue(), 32, 3), image)
    assert not [*tmp_path.rglob(inputs.EVIL), *Path("/tmp").glob(inputs.EVIL)]
    inputs.traversing_archive(archive, images, link=True)
    with pytest.raises(ValueError, match="no plain file"):
        list(builder._split_generators(manager)["train"])


def test_images_of_other_depth_are_scaled_not_cut():
    assert (decode(inputs.deep(), 8, 1) == np.uint8(3)).all()
    assert (decode(inputs.png(), 8, 1) == np.uint8(7)).all()


def test_nothing_unpickles_and_nothing_listens():
    """A workdir from a stranger is data: there is no code of ours that would run it."""
    forbidden = re.compile(
        r"allow_pickle\s*=\s*True|^\s*(import|from) (pickle|dill|cloudpickle|joblib|shelve)\b|"
        r"\.listen\(|(start|create)_server|HTTPServer|torch\.load|yaml\.load|(?<![.\w])eval\(|\bexec\(",
        re.MULTILINE,
    )
    for path in [*(ROOT / "wgan_jax").rglob("*.py"), ROOT / "train.py"]:
        found = [m.group() for m in forbidden.finditer(path.read_text(encoding="utf-8"))]
        # Several hosts meet at a port of process 0, as SECURITY.md says.
        allowed = ["create_server"] if path.name == "rendezvous.py" else []
        assert found == allowed, f"{path}: {found}"


def test_a_run_listens_to_nobody(start, tmp_path):
    process = start([*TINY, "--steps", "100000000"], tmp_path / "run")
    process.wait_for(lambda: "iteration" in process.said.read_text())
    links = Path(f"/proc/{process.pid}/fd").iterdir()
    held = {link.readlink().name for link in links if "socket" in str(link.readlink())}
    listening = [
        line.split()[9]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/{process.pid}/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A"
    ]
    process.kill()
    assert not {f"socket:[{inode}]" for inode in listening} & held
