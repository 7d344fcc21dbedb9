"""A workdir in a bucket: a run works in a folder of this machine and keeps a copy there."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

from wgan_jax.data.remote import download, reached, short_name
from wgan_jax.files import is_leftover


class Mirror:
    """A folder of this machine and its copy at a URL, which is what counts.

    A bucket has no lock: that two runs do not share one is up to their user. A
    checkpoint whose copy was cut short does not agree with its checksums and is passed
    over, as any that is damaged.

    Args:
      url: of the copy, such as `gs://bucket/run`.
    """

    def __init__(self, url: str):
        self._url = url
        self.folder = Path("runs") / f"mirror-{short_name(url)}"
        self._sent: dict[Path, tuple[int, int]] = {}

    def pull(self) -> None:
        """Make the folder what the copy is.

        Raises:
          UserError: the URL cannot be read.
        """
        with reached(self._url) as (files, root):
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            if files.exists(root):
                download(files, root, self.folder)
        self._sent = self._here()

    def push(self) -> None:
        """Bring the copy up to date; checkpoints that are gone here are deleted there last.

        Raises:
          UserError: the URL cannot be written.
        """
        here = self._here()
        changed = [path for path, mark in here.items() if self._sent.get(path) != mark]
        gone = self._sent.keys() - here.keys()
        with reached(self._url) as (files, root):
            for path in changed:
                target = f"{root}/{path.as_posix()}"
                files.makedirs(target.rpartition("/")[0], exist_ok=True)
                files.put_file(str(self.folder / path), target)
            for path in gone:
                files.rm_file(f"{root}/{path.as_posix()}")
        self._sent = here

    def _here(self) -> dict[Path, tuple[int, int]]:
        found: dict[Path, tuple[int, int]] = {}
        for path in self.folder.rglob("*"):
            info = path.lstat()  # a link would carry files from elsewhere into the bucket
            if stat.S_ISREG(info.st_mode) and path.name != ".lock" and not is_leftover(path):
                found[path.relative_to(self.folder)] = (info.st_size, info.st_mtime_ns)
        return found
