"""The command line on machines that lack something, and its errors for unusable input."""

import ast
import errno
import fcntl
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import wgan_jax
from wgan_jax import cli
from wgan_jax.__main__ import main
from wgan_jax.cli import flags
from wgan_jax.errors import UserError

ROOT = Path(__file__).parents[1]
SHORT = [
    *("--steps", "2", "--chunk", "2", "--log-every", "2", "--sample-every", "2"),
    *("--checkpoint-every", "2", "--batch-size", "16", "--n-critic", "1"),
    *("--generator.features", "8", "--critic.features", "8"),
]


def environment(**more):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", **more}
    return {name: value for name, value in env.items() if value is not None}


def python(*args, env=None, **how):
    command = [sys.executable, *args]
    how = {"capture_output": True, "text": True, "timeout": 120, "check": False} | how
    return subprocess.run(command, cwd=ROOT, env=env or environment(), **how)


def refused(capsys, command, args):
    """Bad input: exit status 2, one line on stderr and nothing else; that line."""
    status, said = cli.run_command(command, [*map(str, args)]), capsys.readouterr()
    assert status == 2, said.err
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert said.err.startswith("error: ")
    return said.err


def test_files_are_utf8_in_an_ascii_locale(tmp_path):
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = python("-m", "wgan_jax", "report", str(tmp_path), env=environment(**ascii_only))
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "report.html").read_text(encoding="utf-8").isascii()


@pytest.mark.parametrize("platform", ["cuda", "nonsense"])
def test_a_device_that_is_not_there_is_named(platform, tmp_path):
    env = environment(JAX_PLATFORMS=platform)
    done = python("train.py", *SHORT, "--workdir", str(tmp_path / "run"), env=env)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert f"JAX_PLATFORMS={platform}" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_platform_without_posix_is_told_what_the_command_line_needs():
    code = "import runpy, sys; sys.modules['fcntl'] = None; runpy.run_path('train.py', "
    done = python("-c", f"{code} run_name='__main__')")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "needs Linux or macOS" in done.stderr


def test_a_tilde_is_the_home_folder_in_every_path(tmp_path, capsys, monkeypatch):
    home = tmp_path / "home"
    (home / "run").mkdir(parents=True)
    (home / "run/config.json").write_text("{}", encoding="utf-8")
    (home / "kept.npz").write_bytes(b"")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(tmp_path)
    assert main(["report", "~/run"]) == 0
    assert (home / "run/report.html").is_file()
    capsys.readouterr()
    exists = ["sample", "~/run", "--out", "~/kept.npz"], ["features", "digits", "--out=~/kept.npz"]
    for args in exists:
        assert "exists" in refused(capsys, main, args)
    named = [
        (main, ["prepare", "mnist", "--manual-dir", "~/none"]),
        (cli.train, ["--config", "~/none.json"]),
        (main, ["evaluate", "~/run", "--metrics", "coverage"]),
        (cli.train, ["--config", ROOT / "configs/cifar10.py", "--dataset.data-dir", "~/none"]),
    ]
    for command, args in named:
        assert str(home) in refused(capsys, command, args)
    assert "no home folder" in refused(capsys, main, ["report", "~nobody-of-this-name/run"])
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("~")]


def test_the_lock_of_a_workdir_below_home_is_seen(tmp_path):
    (tmp_path / ".lock").write_text("4711", encoding="utf-8")
    with (tmp_path / ".lock").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for flag in (["--workdir", "~"], ["--workdir=~"]):
            done = python("train.py", *flag, env=environment(HOME=str(tmp_path)))
            assert (done.returncode, done.stderr.count("\n")) == (2, 1)
            assert "in use by process 4711" in done.stderr


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK])
def test_a_file_system_without_locks_is_warned_of(number, tmp_path, monkeypatch, caplog):
    from wgan_jax.experiment.lock import lock, lock_holder

    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with lock(tmp_path / "run"):
        assert lock_holder(tmp_path / "run") == ""
    assert "has no locks" in caplog.text


def test_a_cache_that_cannot_be_written_is_not_used(tmp_path):
    (tmp_path / "wgan_jax").write_bytes(b"no folder")
    code = (
        "import jax; from wgan_jax.cli.compile_cache import keep_compiled_programs as keep; "
        "keep(); print(jax.config.jax_compilation_cache_dir, jax.jit(lambda x: x + 1)(1.0))"
    )
    env = environment(XDG_CACHE_HOME=str(tmp_path), JAX_COMPILATION_CACHE_DIR=None)
    done = python("-W", "error", "-c", code, env=env)
    assert (done.stdout, done.stderr) == ("None 2.0\n", "")


def test_every_text_file_is_utf8():
    """Whatever the locale: no text is read or written without an encoding."""
    for path in [*(ROOT / "wgan_jax").rglob("*.py"), ROOT / "train.py"]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and _reads_or_writes_text(node):
                named = {keyword.arg for keyword in node.keywords}
                assert "encoding" in named, f"{path}:{node.lineno}"


def _reads_or_writes_text(call):
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    if name in ("read_text", "write_text"):
        return True
    modes = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    return (
        name == "open"
        and "archive" not in ast.dump(call.func)
        and any(m in ("r", "w", "a", "x", "r+", "rt", "wt") for m in modes)
    )


@pytest.mark.parametrize("args", ["--n-critik 3", "--n-critic many", "surplus", "--clip.c"])
def test_errors_of_flags_have_no_rules_or_frames(args, capsys):
    said = refused(capsys, cli.train, args.split())
    assert args.split()[0] in said
    assert not re.search("---|[─│╭╮╰╯]|; *;|error: ;", said)


@pytest.mark.parametrize("value", ["b1 1", "b1 -1", "b2 1", "b2 -0.1", "b2 nan", "eps -1e-8"])
def test_settings_that_turn_adam_into_nan_or_around_are_refused(value, capsys):
    name, number = value.split()
    flag = f"--critic-optimizer.{name}"
    said = refused(capsys, cli.train, ["--critic-optimizer", "adam", flag, number, "--dry-run"])
    assert f"{name} must " in said


def test_momentum_may_be_negative_but_not_grow(capsys):
    from wgan_jax.transforms.optimizers import SGD, Adam

    assert (SGD(momentum=-0.5).momentum, Adam(b1=-0.5).b1) == (-0.5, -0.5)
    args = ["--critic-optimizer", "sgd", "--critic-optimizer.momentum", "1", "--dry-run"]
    assert "momentum must be in (-1, 1), got 1.0" in refused(capsys, cli.train, args)


def test_an_unknown_kind_is_answered_with_the_flag_of_the_help(capsys):
    said = refused(capsys, cli.train, ["--critic-optimizer", "none", "--dry-run"])
    assert "--critic-optimizer none is unknown" in said


def test_every_spelling_of_a_kind_has_the_same_defaults(capsys):
    helps = set()
    for name in ("huggingface", "hugging-face", "Hugging_Face"):
        with pytest.raises(SystemExit):
            cli.run_command(cli.train, ["--dataset", name, "--help"])
        helps.add(capsys.readouterr().out)
    assert len(helps) == 1


def test_an_unknown_figure_is_answered_with_the_figures_once(tmp_path, capsys):
    said = refused(capsys, main, ["reproduce", "nope", "--out", tmp_path / "out"])
    assert said.count("gp_fig1a") == 1
    assert "did you mean fig8?" in refused(capsys, main, ["reproduce", "fig9"])
    assert not (tmp_path / "out").exists()


def test_a_figure_that_cannot_be_drawn_leaves_no_file(tmp_path, capsys, monkeypatch):
    """As on a full disk, which shows only when the picture is written."""
    from matplotlib.figure import Figure

    def savefig(self, file, **_):
        file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Figure, "savefig", savefig)
    args = ["reproduce", "fig1", "--size", "quick", "--seeds", "1", "--out", tmp_path / "out"]
    assert "No space left" in refused(capsys, main, args)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("line", ["[1]", "{}", "\\xff", "{", '{"settings": {}, "entry": 1}'])
def test_a_torn_or_foreign_line_of_results_is_passed_over(line, tmp_path):
    from wgan_jax.reproduce.journal import ResultCache

    path = tmp_path / "some.jsonl"
    path.write_bytes(line.encode("latin1") + b"\n")
    assert ResultCache(path, {})({"x": 3}, lambda x: x * x) == 9
    assert ResultCache(path, {})({"x": 3}, lambda x: 1 / 0) == 9


def test_a_result_that_the_disk_refuses_is_told_with_its_file(tmp_path):
    from wgan_jax.reproduce.journal import ResultCache

    cache = ResultCache(tmp_path / "some.jsonl", {})
    cache({"x": 1}, lambda x: x)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "some.jsonl").stat().st_size + 9, hard))
    try:
        with pytest.raises(
            UserError, match=r"some.jsonl cannot be written: File too large; earlier"
        ):
            cache({"x": 2}, lambda x: x)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    resumed = ResultCache(tmp_path / "some.jsonl", {})
    assert [resumed({"x": x}, lambda x: 3) for x in (1, 2)] == [1, 3]


def test_a_half_written_result_does_not_spoil_the_next_one(tmp_path):
    from wgan_jax.reproduce.journal import ResultCache

    path = tmp_path / "some.jsonl"
    for x in (1, 2):
        ResultCache(path, {})({"x": x}, lambda x: x * x)
    path.write_bytes(path.read_bytes()[:-20])  # as a kill or a full disk leaves it
    resumed = ResultCache(path, {})
    assert [resumed({"x": x}, lambda x: x * x) for x in (1, 2, 3)] == [1, 4, 9]
    assert [ResultCache(path, {})({"x": x}, lambda x: 1 / 0) for x in (1, 2, 3)] == [1, 4, 9]


def test_the_console_script_is_the_same_program(tmp_path):
    def run(*args):  # from wherever it is called
        script = Path(sys.executable).parent / "wgan-jax"
        how = {"capture_output": True, "text": True, "timeout": 120, "check": False}
        return subprocess.run([script, *args], cwd=tmp_path, env=environment(), **how)

    assert run("--version").stdout == f"wgan_jax {wgan_jax.__version__}\n"
    done = run("train", "--config", "ring:vae", "--clip", "clip", "--workdir", "run")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "--clip none" in done.stderr  # what a VAE asks for: the example has been found


def test_examples_go_by_name(capsys, tmp_path):
    args = [*SHORT, "--workdir", str(tmp_path)]
    assert "did you mean digits?" in refused(capsys, main, ["train", "--config", "digit", *args])
    assert flags.load("ring:vae") == flags.load(ROOT / "configs/ring.py:vae")
    assert flags.load("digits") == flags.load(ROOT / "configs" / "digits.py")


def test_a_file_of_ones_own_comes_before_an_example(tmp_path, monkeypatch):
    own = ROOT / "configs" / "eight_gaussians.py"
    (tmp_path / "digits").write_text(own.read_text())
    monkeypatch.chdir(tmp_path)
    assert flags.load("digits") == flags.load(own)
