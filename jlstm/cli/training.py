"""The command that continues the training of a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import tyro

from ..config import FineTuneConfig
from ..errors import InputError
from .options import Flag, Folder, Name, Precision, Source, Toml, load, print_json

DEFAULTS = FineTuneConfig()


def finetune(
    file: Annotated[
        Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")
    ] = None,
    /,
    *,
    data: Source = None,
    config: Toml = None,
    out: Folder = None,
    resume: Folder = None,
    variable: Name = None,
    layers: Toml = None,
    precision: Precision = "auto",
    json: Flag = False,
    options: Annotated[FineTuneConfig, tyro.conf.arg(name="")] = DEFAULTS,
) -> int:
    """Continue the training of a network on new recordings.

    Examples: jlstm finetune net.mat --data train.csv --out runs/pump
    jlstm finetune net.mat --data train.csv --config quick.toml --max-epochs 5
    jlstm finetune --resume runs/pump

    Part of the data is kept aside and decides which network is best; the imported one
    is among them. Flags go before the configuration file, that before the defaults.
    With --out there is a checkpoint after every epoch: a run that was killed is
    resumed and ends with the same weights, bit for bit.

    Args:
        file: the network.
        data: recordings: .csv, .mat, .npz, .parquet, .nc, or a folder of them.
        config: a TOML file with any of the options below.
        out: a new folder for configuration, log, checkpoint and networks.
        resume: the folder of a run to go on with.
        variable: which network, where there are several.
        layers: how arrays extracted by hand form a network.
        precision: arithmetic to train in; auto is that of the network.
        json: print JSON for scripts.
        options: how to train.
    """
    from .. import arguments as given
    from .. import runs
    from ..finetuning import finetune as train

    asked: dict[str, Any] = dict(
        file=file, variable=variable, layers=layers, data=data, precision=precision
    )
    if resume is not None:
        more = (*asked.values(), out, config)
        if any(v not in (None, "auto") for v in more) or options != DEFAULTS:
            raise InputError(
                "--resume takes everything from the folder",
                found="more options",
                do=f"for a longer run change max_epochs in {resume / 'config.toml'}; "
                "not possible with the cosine schedule, whose rate depends on it",
            )
        asked, options = runs.resumed(resume)
    elif file is None or data is None:
        raise InputError(
            "what is to be trained, and on what?",
            expected="FILE and --data, or --resume FOLDER",
        )
    elif out is not None:
        runs.require_new(out, options)
    net = load(Path(str(asked["file"])), asked["variable"], asked["layers"])
    folder, begun = resume or out, False
    with (
        given.in_precision(net, asked["precision"]) as net,  # pyright: ignore
        given.progress_bar() as progress,
    ):

        def after(now: Any) -> None:
            if progress is not None:
                progress(runs.headline(now), now.epoch, options.max_epochs)
            nonlocal begun
            if out is not None and not begun:
                runs.begin(out, options, **asked)
                begun = True
            if folder is not None:
                runs.log(folder, now)

        found = train(
            net, asked["data"], options, out=folder, beside=asked["file"],
            callback=after,
        )  # fmt: skip
    if folder is not None:
        runs.finish(folder, found)
    if json:
        print_json(found.to_dict())
    else:
        print(found)
        if folder is not None:
            print(f"{folder / 'net.safetensors'}: the network")
            print(f"{folder / 'report.html'}: what came of it")
    return 0
