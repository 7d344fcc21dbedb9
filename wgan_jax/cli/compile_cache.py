"""Caches compiled programs on disk, so that restarting a run does not recompile."""

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

    For entry points only, before anything is compiled. The folder is `wgan_jax/compiled`
    in XDG_CACHE_HOME (`~/.cache` by default), unless JAX_COMPILATION_CACHE_DIR names
    another. JAX_ENABLE_COMPILATION_CACHE=false turns the cache off. Entries that cannot
    be read are recompiled, with a warning. If the folder cannot be written, or the user
    has no home folder, nothing is cached.

    The entries are native programs that JAX runs as is. The folder must therefore belong
    to the user and not be writable by others; otherwise it is not used, with a warning.
    """
    named = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    folder = named or _default_folder()
    if "://" not in folder and not _is_writable(folder):
        folder = ""
    elif "://" not in folder and (fault := _fault(Path(folder), is_ours=not named)):
        print(
            f"warning: compiled programs are not cached: {folder} {fault}, and its contents would "
            f"be executed; remove it, and the next run creates a new one",
            file=sys.stderr,
        )
        folder = ""
    jax.config.update("jax_compilation_cache_dir", folder or None)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_raise_persistent_cache_errors", False)


def _default_folder() -> str:
    """Return the default cache folder; empty for a user without a home folder."""
    try:
        return str(cache_folder() / "compiled")
    except UserError:
        return ""


def _is_writable(folder: str) -> bool:
    """Create the folder if needed; return whether files can be written into it."""
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def _fault(folder: Path, *, is_ours: bool) -> str:
    """Return why others can put programs into a folder; empty if they cannot.

    A folder that this package created is closed to other readers as well.
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
