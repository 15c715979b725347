"""Events of a fine-tuning run for TensorBoard (extra `tensorboard`).

    events.out.tfevents.jlstm           loss/..., learning_rate; step = epoch
    before/..., after/...               metrics/PART/NAME of both networks

The first file is appended to, so that TensorBoard shows a training that goes on. It has
one record an epoch, so what is in it says what is missing: a run that was killed and
resumed repeats none and loses none. Format: records of TFRecord, an Event message each
(https://www.tensorflow.org/tutorials/load_data/tfrecord), written with tensorboardX's
messages and checksums.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from .config import FineTuneConfig
from .errors import JlstmError
from .finetuning import FineTuning, learn_rates
from .formats.native import make_folder, remove_parts, write_whole, writing

FILE = "events.out.tfevents.jlstm"
TAGS = {
    "training_loss": "loss/training",
    "validation_loss": "loss/validation",
    "loss_of_training_data": "loss/training_scored",
}
FRAME = 8 + 4 + 4
"""Bytes around a record: its length, the checksum of that, and its own behind it."""


def available() -> bool:
    """Whether events can be written here; a training does not stop over it."""
    try:
        _library()
    except JlstmError:
        return False
    return True


def append(
    folder: Path, history: Sequence[dict[str, Any]], config: FineTuneConfig
) -> None:
    """Write the epochs that are not in the file yet.

    Arguments:
        folder: where TensorBoard looks (`--logdir`).
        history: all rows so far, from that of the imported network.
        config: how the network is trained.

    Raises:
        JlstmError: tensorboardX is not installed.
        InputError: the file cannot be written.
    """
    file = folder / FILE
    count, end = _whole(file.read_bytes() if file.exists() else b"")
    # The first record is the version of the format, the next that of epoch 0.
    rows = history[max(0, count - 1) :]
    trained = [row for row in rows if row["epoch"]]
    rates = learn_rates(config, max(1, history[1]["steps"]), trained) if trained else []
    records = [] if count else [_version()]
    for row in rows:
        values = {tag: row[key] for key, tag in TAGS.items() if key in row}
        if row["epoch"] and rates:
            values["learning_rate"] = rates.pop(0)
        records.append(_scalars(row["epoch"], values))
    make_folder(folder)
    with writing(file), file.open("r+b" if file.exists() else "wb") as stream:
        stream.truncate(end)  # a record that a kill cut short
        stream.seek(end)
        stream.write(b"".join(records))


def scores(folder: Path, tuned: FineTuning) -> None:
    """Write the metrics before and after, as two runs that TensorBoard overlays.

    Raises:
        JlstmError: tensorboardX is not installed.
    """
    for name, found, epoch in (
        ("before", tuned.before, 0),
        ("after", tuned.after, tuned.kept_epoch),
    ):
        values = {
            f"metrics/{part}/{key}": value
            for part, metrics in found.items()
            for key, value in metrics.items()
        }
        make_folder(folder / name)
        remove_parts(folder / name)
        write_whole(folder / name / FILE, _version() + _scalars(epoch, values))


def _library() -> tuple[Any, Any, Any]:
    """The messages, and the checksum of records.

    Raises:
        JlstmError: they cannot be imported.
    """
    try:
        # Generated code: its classes are made when it is imported.
        event: Any = import_module("tensorboardX.proto.event_pb2")
        summary: Any = import_module("tensorboardX.proto.summary_pb2")
        writer: Any = import_module("tensorboardX.record_writer")
    except Exception as error:  # a protobuf that does not fit raises what it likes
        raise JlstmError(
            "events for TensorBoard need tensorboardX",
            found=f"{type(error).__name__}: {error}",
            do="pip install 'jlstm[tensorboard]'",
        ) from None
    return event.Event, summary.Summary, writer.masked_crc32c


def _version() -> bytes:
    event, _, _ = _library()
    return _record(event(wall_time=time.time(), file_version="brain.Event:2"))


def _scalars(step: int, values: Mapping[str, float]) -> bytes:
    event, summary, _ = _library()
    found = [
        summary.Value(tag=tag, simple_value=value) for tag, value in values.items()
    ]
    return _record(
        event(wall_time=time.time(), step=step, summary=summary(value=found))
    )


def _record(event: Any) -> bytes:
    _, _, checksum = _library()
    data = event.SerializeToString()
    length = struct.pack("<Q", len(data))
    parts = length, struct.pack("<I", checksum(length)), data
    return b"".join(parts) + struct.pack("<I", checksum(data))


def _whole(content: bytes) -> tuple[int, int]:
    """How many records are whole, and where the last of them ends."""
    count = end = 0
    while end + FRAME <= len(content):
        (length,) = struct.unpack_from("<Q", content, end)
        after = end + FRAME + length
        # No message is empty: zeros are what a power cut may leave behind.
        if not length or after > len(content):
            break
        count, end = count + 1, after
    return count, end
