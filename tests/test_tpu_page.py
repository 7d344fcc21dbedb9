"""The commands of docs/tpu_vm.md run, with a local folder in place of the cloud."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from wgan_jax import cli

PAGE = Path(__file__).parents[1] / "docs/tpu_vm.md"
# As ssh, it waits until nothing holds the output of the command open.
REMOTE = """#!/bin/bash
echo "gcloud $*" >> "$LOG"
for word in "$@"; do
  case $word in --command=*)
    cd "$HOME" && bash -c "${word#--command=}" 2>&1 | cat
    exit "${PIPESTATUS[0]}" ;;
  esac
done
case "$*" in *projectNumber*) echo 12345 ;; esac
"""
NOTED = '#!/bin/bash\necho "$(basename "$0") $*" >> "$LOG"\n'
# A run that goes on until it is told to stop.
TRAINING = NOTED + 'for i in {1..200}; do [ -e "$HOME/stop" ] && exit; sleep 0.1; done\n'


@pytest.fixture
def cloud(tmp_path):
    """Environment of a shell whose `gcloud ssh` is a folder of this machine."""
    home = tmp_path / "vm"
    programs = {tmp_path / "bin/gcloud": REMOTE, home / ".venv/bin/wgan-jax": TRAINING}
    programs |= {tmp_path / "bin" / name: NOTED for name in ("curl", "tail")}
    noted = (".local/bin/uv", ".venv/bin/pip", ".venv/bin/python")
    programs |= {home / name: NOTED for name in noted}
    for path, text in programs.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    (home / "runs/mirror-12345678").mkdir(parents=True)
    (home / "stop").touch()
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    return {"PATH": path, "HOME": str(home), "LOG": str(tmp_path / "log")}


@pytest.mark.skipif(os.name == "nt", reason="bash")
def test_the_commands_can_be_pasted_one_after_another(cloud):
    text = PAGE.read_text().partition("### Preemption")[0]
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    is_run = ["nohup" in block for block in blocks]
    assert sum(is_run) == 1
    script = ""
    for block, starts in zip(blocks, is_run, strict=True):
        # The run lasts longer than the command that starts it, which returns all the same.
        script += f"rm -f $HOME/stop\n{block}touch $HOME/stop\n" if starts else block
    command = ["bash", "-eu", "-o", "pipefail", "-c", script]
    subprocess.run(command, env=cloud, stdin=subprocess.DEVNULL, check=True, timeout=15)
    done = Path(cloud["LOG"]).read_text()
    assert "serviceAccount:12345-compute@" in done
    assert "gcloud storage buckets create gs://my-bucket-name --location=us-west4 " in done
    runs = [shlex.split(line) for line in done.splitlines() if line.startswith("wgan-jax train")]
    assert sorted("--dry-run" in words for words in runs) == [False, True]
    assert "sample runs/mirror-12345678 --label cat --out cats.png" in done


def test_the_program_takes_the_flags_of_the_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text().replace("\\\n", " ")
    found = [shlex.split(line) for line in re.findall(r"wgan-jax train (--[^\n>\"']*)", text)]
    assert len(found) == 2
    for words in found:
        words = [word for word in words if "gs:" not in word and word != "--workdir"]
        assert cli.run_command(cli.train, [*words, "--dry-run"]) == 2
        assert "there is no folder, zip or tar of images at pictures" in capsys.readouterr().err
