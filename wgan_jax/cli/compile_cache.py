"""Keeps compiled programs on disk, so that the second start of a run need not compile."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from pathlib import Path

import jax

from wgan_jax.errors import UserError
from wgan_jax.files import cache_folder


def keep_compiled_programs() -> None:
    """Turn on JAX's persistent compilation cache, in the user's cache folder.

    For processes that own themselves, before they compile anything. The folder is
    `wgan_jax/compiled` in XDG_CACHE_HOME, `~/.cache` by default; one that
    JAX_COMPILATION_CACHE_DIR names is used instead. JAX_ENABLE_COMPILATION_CACHE=false
    turns it off. What cannot be read there is compiled anew, with a warning; where the
    folder cannot be written, or the user has no home, nothing is kept.

    What is kept are native programs, which JAX runs as they are. So the folder has to
    be the user's own and closed to others; one that is not is left alone, with a word.
    """
    named = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    folder = named or _default_folder()
    if "://" not in folder and not _is_writable(folder):
        folder = ""
    elif "://" not in folder and (fault := _fault(Path(folder), is_ours=not named)):
        print(
            f"warning: compiled programs are not kept: {folder} {fault}, and what it holds would "
            f"be run; remove it, and the next run makes one of its own",
            file=sys.stderr,
        )
        folder = ""
    jax.config.update("jax_compilation_cache_dir", folder or None)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_raise_persistent_cache_errors", False)


def _default_folder() -> str:
    """Empty for a user without a home."""
    try:
        return str(cache_folder() / "compiled")
    except UserError:
        return ""


def _is_writable(folder: str) -> bool:
    """Whether there is such a folder, made if need be, that takes files."""
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def _fault(folder: Path, *, is_ours: bool) -> str:
    """What lets others put programs into a folder, empty if nothing.

    One that was made by us, now or before, is closed to readers as well.
    """
    for place in (folder.parent, folder) if is_ours else (folder,):
        info = place.lstat()
        if not stat.S_ISDIR(info.st_mode):
            return "is a link" if place == folder else f"lies in {place}, a link"
        if info.st_uid != os.getuid():
            return f"belongs to user {info.st_uid}"
        if info.st_mode & stat.S_IWOTH or (place == folder and info.st_mode & stat.S_IWGRP):
            return "can be written by others"
    if is_ours:
        folder.chmod(0o700)
    return ""
