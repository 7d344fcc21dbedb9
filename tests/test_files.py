"""Atomic writes: no existing link is followed, no partial file is left."""

import os
import stat
import subprocess
import sys

import pytest

from wgan_jax.errors import UserError
from wgan_jax.files import atomic_write, open_append, read_file, temporary_folder

LEFTOVER = ".wgan_jax-0123456789abcdef.part"


def write(path, data=b"new"):
    with atomic_write(path) as file:
        file.write(data)


def fail_half_way(path, error):
    with atomic_write(path) as file:
        file.write(b"half")
        raise error


def test_a_link_is_replaced_and_its_target_left_alone(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"old")
    (tmp_path / "page.html").symlink_to(secret)
    (tmp_path / "twin.html").hardlink_to(secret)
    for name in ("page.html", "twin.html"):
        write(tmp_path / name)
        assert (tmp_path / name).read_bytes() == b"new"
        assert not (tmp_path / name).is_symlink()
    assert secret.read_bytes() == b"old"


def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path):
    path = tmp_path / "numbers.json"
    write(path, b"old")
    for error, told in (
        (KeyError("why"), "why"),
        (OSError(28, "No space"), "cannot be written: No space"),
    ):
        with pytest.raises((KeyError, UserError), match=told):
            fail_half_way(path, error)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["numbers.json"]


def test_a_new_file_has_the_mode_that_the_umask_gives(tmp_path):
    before = os.umask(0o027)
    try:
        write(tmp_path / "a")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_leftovers_of_dead_processes_go_and_those_of_living_ones_stay(tmp_path):
    (tmp_path / LEFTOVER).write_bytes(b"half")
    (tmp_path / LEFTOVER.replace("0", "1")).mkdir()
    (tmp_path / LEFTOVER.replace("0", "2")).symlink_to(tmp_path / "not.there")
    with atomic_write(tmp_path / "outer") as file, temporary_folder(tmp_path) as folder:
        code = (
            "import sys; from pathlib import Path; from wgan_jax.files import atomic_write\n"
            "with atomic_write(Path(sys.argv[1])) as file: file.write(b'inner')"
        )
        subprocess.run([sys.executable, "-c", code, str(tmp_path / "inner")], check=True)
        file.write(b"outer")
        assert len(os.listdir(tmp_path)) == 3
        assert folder.is_dir()
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {
        "outer": b"outer",
        "inner": b"inner",
    }


def test_only_regular_files_are_added_to(tmp_path):
    other = tmp_path / "other"
    other.write_bytes(b"1\n")
    (tmp_path / "twin").hardlink_to(other)
    with open_append(tmp_path / "twin") as file:
        file.write(b"2\n")
    assert ((tmp_path / "twin").read_bytes(), other.read_bytes()) == (b"1\n2\n", b"1\n")
    (tmp_path / "link").symlink_to(other)
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", "."):
        with pytest.raises(OSError, match="it is a"):
            open_append(tmp_path / name)


def test_only_regular_files_of_bounded_size_are_read(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    assert read_file(tmp_path / "file", 5) == b"12345"
    assert read_file(tmp_path / "link", 5, follow=True) == b"12345"
    (tmp_path / "device").symlink_to("/dev/zero")
    for name, follow in (("link", False), ("pipe", True), (".", True), ("device", True)):
        with pytest.raises(OSError, match="it is a"):
            read_file(tmp_path / name, 5, follow=follow)
    with pytest.raises(OSError, match="larger than the limit of 4 bytes"):
        read_file(tmp_path / "file", 4)
