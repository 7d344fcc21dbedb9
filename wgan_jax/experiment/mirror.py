"""Remote workdirs: a run works in a local folder and keeps a copy in a bucket."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

from wgan_jax.data.remote import download, reached, short_name
from wgan_jax.experiment.lock import NAME
from wgan_jax.experiment.workdir import lock_workdir
from wgan_jax.files import is_leftover


class Mirror:
    """A local folder and its copy at a URL, which is authoritative.

    A bucket has no lock, so the user must not start runs on one URL on two machines; on
    one machine, the lock of the local folder prevents that. A checkpoint that was copied
    incompletely does not match its checksums and is skipped like any other damaged one.

    Args:
      url: URL of the copy, such as `gs://bucket/run`.
    """

    def __init__(self, url: str):
        self._url = url
        self.folder = Path("runs") / f"mirror-{short_name(url)}"
        self._sent: dict[Path, tuple[int, int]] = {}

    def pull(self) -> None:
        """Replace the local folder with the contents of the copy.

        Raises:
          UserError: the URL cannot be read, or another process trains in the local folder.
        """
        with reached(self._url) as (files, root), lock_workdir(self.folder):
            exists = files.exists(root)  # raises before anything is removed
            for path in self.folder.iterdir():
                if path.name == NAME:  # of the lock that is held
                    continue
                is_folder = path.is_dir() and not path.is_symlink()
                shutil.rmtree(path) if is_folder else path.unlink()
            if exists:
                download(files, root, self.folder)
        self._sent = self._local_files()

    def push(self) -> None:
        """Update the copy; files that were deleted locally are deleted there last.

        Raises:
          UserError: the URL cannot be written.
        """
        files_now = self._local_files()
        changed = [path for path, mark in files_now.items() if self._sent.get(path) != mark]
        deleted = self._sent.keys() - files_now.keys()
        with reached(self._url) as (files, root):
            for path in changed:
                target = f"{root}/{path.as_posix()}"
                files.makedirs(target.rpartition("/")[0], exist_ok=True)
                files.put_file(str(self.folder / path), target)
            for path in deleted:
                files.rm_file(f"{root}/{path.as_posix()}")
        self._sent = files_now

    def _local_files(self) -> dict[Path, tuple[int, int]]:
        files: dict[Path, tuple[int, int]] = {}
        for path in self.folder.rglob("*"):
            info = path.lstat()  # do not upload the targets of links
            if stat.S_ISREG(info.st_mode) and path.name != NAME and not is_leftover(path):
                files[path.relative_to(self.folder)] = (info.st_size, info.st_mtime_ns)
        return files
