"""PyTorch's own layers on a GPU, which are cuDNN's; in full float32, or in TF32.

Time first. Without a GPU this is a rehearsal on the processor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from ..job import LEARN_RATE, Job
from . import Variant
from .torch_modules import Net


def variants(job: Job, option: str) -> Iterator[Variant]:
    """One way: the module, its weights and the data on the GPU."""
    rounded = option == "tf32"
    torch.backends.cudnn.allow_tf32 = rounded
    torch.backends.cuda.matmul.allow_tf32 = rounded
    device = "cuda" if torch.cuda.is_available() else "cpu"
    module = Net(job.series).to(device)
    for layer in module.modules():
        if isinstance(layer, torch.nn.LSTM | torch.nn.GRU):
            layer.flatten_parameters()
    x = torch.from_numpy(job.x).transpose(0, 1).contiguous().to(device)
    variant = KINDS[job.kind](job, module, x)
    # TF32 keeps three digits: an error there is what was asked for.
    yield variant._replace(answers=None) if rounded else variant


def _done(x: Any) -> None:
    if x.is_cuda:
        torch.cuda.synchronize()


def _inference(job: Job, module: Net, x: Any) -> Variant:
    module.eval()

    def call() -> Any:
        with torch.inference_mode():
            return module(x)

    def answers() -> dict[str, Any]:
        y = call()
        return {"y": (y.transpose(0, 1) if y.dim() == 3 else y).cpu().numpy()}

    return Variant("time first", _awaited(call, x), answers)


def _training(job: Job, module: Net, x: Any) -> Variant:
    module.train()
    adam = torch.optim.Adam(module.parameters(), lr=LEARN_RATE, fused=True)
    start = {name: a.clone() for name, a in module.state_dict().items()}
    target = torch.from_numpy(job.target).to(x.device)
    if target.dim() == 3:
        target = target.transpose(0, 1).contiguous()

    def slopes() -> None:
        adam.zero_grad(set_to_none=True)
        error = module(x) - target
        (error.square().sum() / (error.numel() // error.shape[-1])).backward()

    def call() -> None:
        slopes()
        adam.step()

    def answers() -> dict[str, Any]:
        module.load_state_dict(start)
        slopes()
        return module.slopes()

    return Variant("fused Adam", _awaited(call, x), answers)


def _awaited(call: Callable[[], Any], x: Any) -> Callable[[], Any]:
    def run() -> Any:
        found = call()
        _done(x)
        return found

    return run


KINDS = {"inference": _inference, "training": _training}
