"""The folder of a fine-tuning run: what went in, how it went, what came out.

run.json                 network, data, versions: enough to go on
config.toml              every option, resolved
checkpoint.safetensors   where the run stands
log.jsonl                one line an epoch
net.safetensors          the result, once it has ended
last.safetensors         the network after the last step
result.json              history, and errors before and after
report.html              all of it for the eye; the pictures are also files of their own
loss.png prediction.png error.png gates.png          (extra `plot`)
tensorboard/             losses and rate as they come, then errors (extra `tensorboard`)
"""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from . import report, tensorboard
from .config import FineTuneConfig, read_config
from .errors import DamagedFile, InputError
from .finetuning import FineTuning, finite
from .formats import native, save
from .training.loop import Progress

PACKAGES = ("jlstm", "jax", "jaxlib", "optax", "numpy")
SETTINGS = ("file", "variable", "layers", "data", "precision")


def begin(out: Path, config: FineTuneConfig, **settings: Any) -> None:
    """Make the folder and write what goes in.

    Arguments:
        out: the folder; it must be empty or new.
        config: how to train.
        settings: file, variable, layers, data, precision, as the command was given.

    Raises:
        InputError: there is a run in it already, or something else.
    """
    require_new(out, config)
    native.make_folder(out)
    native.remove_parts(out)  # of a beginning that was killed
    # Whoever resumes may stand in another folder.
    settings = {name: _resolved(settings.get(name)) for name in SETTINGS}
    paths = [settings[name] for name in ("file", "data", "layers") if settings[name]]
    found = settings | {
        "sha256": {path: _digest(Path(path)) for path in paths},
        "versions": {name: version(name) for name in PACKAGES},
    }
    native.write_whole(out / "config.toml", _toml(config))
    native.write_whole(out / "run.json", _json(found))


def require_new(out: Path, config: FineTuneConfig) -> None:
    """Refuse a folder in which there is a run, or anything else.

    But for what the same beginning has left there when it was killed.
    """
    if (out / "run.json").exists():
        raise InputError(
            "there is a run in this folder already",
            file=out,
            do=f"jlstm finetune --resume {out}, or another --out",
        )
    for path in sorted(out.iterdir()) if out.is_dir() else ():
        begun = path.name == "config.toml" and path.read_bytes() == _toml(config)
        if not (begun or path.match(native.PART)):
            raise InputError(
                "the folder of a run has to be new or empty",
                file=out,
                found=path.name,
                do="name another --out",
            )


def headline(progress: Progress) -> str:
    """Loss and rate in a few words."""
    row = progress.history[-1]
    shown = row.get("validation_loss", row.get("training_loss"))
    rate = f", {1 / row['seconds']:.3g} epochs/s" if row.get("seconds") else ""
    return f"loss {shown:.4g}{rate}"


def resumed(out: Path) -> tuple[dict[str, Any], FineTuneConfig]:
    """What `begin` wrote: the settings and the configuration.

    Parts of files, left where the run was killed while it wrote, are removed.

    Raises:
        InputError: there is no run, or its network or data have changed since.
        DamagedFile: its files are not whole.
    """
    file = out / "run.json"
    if not file.is_file():
        raise InputError("there is no run in this folder", file=out)
    try:
        found = json.loads(file.read_text("utf-8"))
        digests = dict(found["sha256"])
        settings = {name: found[name] for name in SETTINGS}
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedFile("not a record of a run", file=file, found=error) from None
    for path, digest in digests.items():
        if digest and not Path(path).exists():
            raise InputError("what the run was begun with is gone", file=path)
        if _digest(Path(path)) != digest:
            raise InputError(
                "the file has changed since the run began",
                file=path,
                do="put the old one back, or begin anew",
            )
    config = read_config(out / "config.toml")
    native.remove_parts(out)
    return settings, config


def log(out: Path, progress: Progress) -> None:
    """One line an epoch; written whole, so that a resumed run repeats none."""
    lines = [json.dumps(finite(row)) for row in progress.history]
    native.write_whole(out / "log.jsonl", ("\n".join(lines) + "\n").encode())
    if tensorboard.available():
        config = read_config(out / "config.toml")
        tensorboard.append(out / "tensorboard", progress.history, config)


def finish(out: Path, result: FineTuning) -> None:
    """Write what came out: networks and numbers first, then what shows them."""
    save(result.net, out / "net.safetensors")
    save(result.last, out / "last.safetensors")
    native.write_whole(out / "result.json", _json(result.to_dict()))
    if tensorboard.available():
        tensorboard.scores(out / "tensorboard", result)
    pictures = report.draw(result)
    for picture in pictures:
        if not picture.failure:
            native.write_whole(out / f"{picture.name}.png", picture.png)
    run = json.loads((out / "run.json").read_text("utf-8"))
    report.write(out / "report.html", result, pictures=pictures, run=run)


def _toml(config: FineTuneConfig) -> bytes:
    import tomli_w

    # What is not set has no value in TOML.
    plain = msgspec.to_builtins(config).items()
    return tomli_w.dumps({k: v for k, v in plain if v is not None}).encode()


def _digest(path: Path) -> str:
    """The hash of a file, or of the files of a folder; empty for a name of none."""
    digest = hashlib.sha256()
    if path.is_dir():
        for one in sorted(path.iterdir()):
            if one.is_file():
                digest.update(one.name.encode() + one.read_bytes())
    elif path.is_file():
        digest.update(path.read_bytes())
    else:
        return ""
    return digest.hexdigest()


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()


def _resolved(value: Any) -> str | None:
    """A setting as text; the whole path where it is one."""
    if value is None:
        return None
    return str(Path(value).resolve() if Path(value).exists() else value)
