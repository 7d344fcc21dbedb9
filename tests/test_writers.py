"""What a run tells while it goes on: TensorBoard's files, read back, and the terminal."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from wgan_jax.experiment.writers import Console, TensorBoard


def events(folder):
    """The records of all event files: length, checksum, event, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    for path in sorted(folder.glob("events.out.tfevents.*")):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack("<Q", data[at : at + 8])
            yield Event.FromString(data[at + 12 : at + 12 + length])
            at += length + 16


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of protobuf, in tensorboardX
def test_tensorboard_holds_scalars_and_pictures(tmp_path):
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    Image.fromarray(pixels).save(tmp_path / "20.png")
    board = TensorBoard(tmp_path, 10)
    board.write({"step": 20, "critic/loss": -0.5, "w1/minibatch": 2.0})
    board.picture(tmp_path / "20.png", 20)
    board.close()
    found = list(events(tmp_path / "tensorboard"))
    assert [e.step for e in found if e.HasField("session_log")] == [11]
    values = {v.tag: (e.step, v) for e in found for v in e.summary.value}
    assert values.keys() == {"critic/loss", "w1/minibatch", "samples"}
    assert {step for step, _ in values.values()} == {20}
    assert values["critic/loss"][1].simple_value == -0.5
    drawn = Image.open(io.BytesIO(values["samples"][1].image.encoded_image_string))
    np.testing.assert_array_equal(np.asarray(drawn), pixels)


def test_lines_come_now_and_then_where_there_is_no_terminal(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr("wgan_jax.experiment.writers.time.monotonic", lambda: now[0])
    console = Console(0, 1_000)
    for second in range(1, 26):
        now[0] = float(second)
        console.update(10, {"critic/estimate": 1 / 3})
    console.close()
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert len(lines) == 2
    assert all("of 1,000" in line and "0.3333" in line for line in lines)
    assert said.err == ""
