"""Untrusted workdirs, configs, data sets and weights: at worst an error, nothing outside."""

import os
import shutil
import stat

import jax
import pytest

from wgan_jax.cli.compile_cache import keep_compiled_programs

from . import hostile, hostile_data, inputs

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.once]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    return hostile.pristine(tmp_path_factory.mktemp("pristine") / "run")


@pytest.fixture
def workdir(pristine, tmp_path):
    return shutil.copytree(pristine, tmp_path / "run")


@pytest.fixture
def outside(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "outside"))
    (tmp_path / "outside").mkdir()
    return hostile.Outside(tmp_path / "outside")


@pytest.mark.parametrize("variant", hostile.REFUSED)
def test_nothing_is_followed_out_of_a_workdir(variant, workdir, outside):
    assert hostile.refused(*hostile.REFUSED[variant], workdir, outside) == []


def test_no_name_that_can_be_foretold_is_written_to(workdir, outside):
    assert hostile.led_astray(workdir, outside) == []


@pytest.mark.parametrize("variant", hostile.CONTENTS)
def test_contents_of_any_size_make_a_report_or_a_line(variant, workdir, outside):
    assert hostile.reported(*hostile.CONTENTS[variant], workdir, outside) == []


@pytest.mark.parametrize("variant", hostile.CHECKPOINTS)
def test_a_checkpoint_claims_no_more_than_a_run_has(variant, workdir, outside):
    assert hostile.restored(*hostile.CHECKPOINTS[variant], workdir, outside) == []


@pytest.mark.parametrize("variant", hostile.CONFIGS)
def test_a_config_from_a_stranger_reaches_nowhere(variant, workdir, outside):
    assert hostile.asked(*hostile.CONFIGS[variant], workdir, outside) == []


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    inputs.prepared(folder, inputs.GOOD)
    return folder


@pytest.mark.parametrize("variant", hostile_data.DATA)
def test_a_data_set_from_a_stranger_runs_nothing(variant, prepared, tmp_path, outside):
    shutil.copytree(prepared, tmp_path / "data")
    assert hostile_data.opened(variant, tmp_path / "data", outside) == []


@pytest.mark.parametrize("variant", hostile_data.WEIGHTS)
def test_weights_take_no_more_memory_than_their_file(variant, tmp_path):
    assert hostile_data.weighed(variant, tmp_path) == []


def test_a_workdir_behind_a_link_of_its_user_goes_on(pristine, tmp_path):
    shutil.copytree(pristine, tmp_path / "disk")
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    for command in ("report", "sample"):
        status, said, _ = hostile.attacked(command, hostile.arguments(command, tmp_path / "run"))
        assert (status, said) == (0, "")
    assert (tmp_path / "run").is_symlink()


def test_compiled_programs_of_others_are_not_run(tmp_path, monkeypatch, capsys):
    former = jax.config.jax_compilation_cache_dir
    mine, theirs = tmp_path / "wgan_jax" / "compiled", tmp_path / "shared"
    theirs.mkdir()
    theirs.chmod(0o777)
    (tmp_path / "link").symlink_to(tmp_path)
    try:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
        keep_compiled_programs()
        assert jax.config.jax_compilation_cache_dir == str(mine)
        assert stat.S_IMODE(mine.stat().st_mode) == 0o700
        assert capsys.readouterr().err == ""
        mine.chmod(0o770)
        for named in (None, theirs, tmp_path / "link"):
            if named is not None:
                monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(named))
            keep_compiled_programs()
            assert jax.config.jax_compilation_cache_dir is None
            assert capsys.readouterr().err.count("\n") == 1
        if os.getuid() == 0:
            mine.chmod(0o700)
            os.chown(mine, 12_345, -1)
            monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
            keep_compiled_programs()
            assert "belongs to user 12345" in capsys.readouterr().err
    finally:
        jax.config.update("jax_compilation_cache_dir", former)
