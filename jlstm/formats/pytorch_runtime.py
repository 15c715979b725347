"""What generated modules are made of: definitions that are copied into them.

Nothing here is imported by jlstm. `pytorch_module.py` takes the definitions that a
network needs, as text, into the file that it writes; so they use torch alone and each
other. Sequences are `(batch, time, features)`; states are laid out as torch lays them
out, `(directions, batch, hidden)`.
"""

from __future__ import annotations

import base64
import json
import zipfile

import numpy as np
import torch
from torch import nn


class Constants(nn.Module):
    """Numbers that are not trained, by name."""

    def __init__(self, **shapes):
        super().__init__()
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape))


class Parameters(nn.Module):
    """Numbers that are trained, by name."""

    def __init__(self, **shapes):
        super().__init__()
        for name, shape in shapes.items():
            setattr(self, name, nn.Parameter(torch.zeros(shape)))


class Loop(nn.Module):
    """A recurrent layer step by step, where torch has none of its kind.

    The weights have torch's names and shapes, the gates one below the other.
    `state` and `gate` are the functions of the layer; `clip` bounds what they take.
    """

    blocks: int
    hidden: int
    settings: dict
    weight_ih_l0: torch.Tensor
    weight_hh_l0: torch.Tensor
    bias_ih_l0: torch.Tensor
    bias_hh_l0: torch.Tensor
    weight_hr_l0: torch.Tensor
    peephole: torch.Tensor

    def __init__(self, shapes, state, gate, clip=None, **settings):
        super().__init__()
        for name, shape in shapes.items():
            setattr(self, name, nn.Parameter(torch.zeros(shape)))
        self.hidden = shapes["weight_hh_l0"][0] // self.blocks
        self.settings = settings
        bounded = (lambda z: z) if clip is None else lambda z: z.clamp(-clip, clip)
        self.state = lambda z: state(bounded(z))
        self.gate = lambda z: gate(bounded(z))

    def forward(self, x, start=None):
        """All steps of `x (batch, time, inputs)` from `start`; outputs and state."""
        if hasattr(self, "input_projector"):
            x = x @ self.input_projector
        z = x @ self.weight_ih_l0.T + self.bias_ih_l0
        parts = self.begin(x) if start is None else self.inner(start)
        outputs = []
        for t in range(x.shape[1]):
            parts = self.cell(z[:, t], parts)
            outputs.append(parts[0])
        return torch.stack(outputs, 1), self.outer(parts)

    def cell(self, z, parts) -> tuple:
        """One step: the new state, its output first."""
        raise NotImplementedError

    def recur(self, h, rows=slice(None)):
        """The recurrent product, through the output projector where there is one."""
        if hasattr(self, "output_projector"):
            h = h @ self.output_projector
        return h @ self.weight_hh_l0[rows].T

    def begin(self, x) -> tuple:
        """The zero state."""
        return (x.new_zeros(x.shape[0], self.hidden),)

    def inner(self, start) -> tuple:
        """The state as the cell takes it."""
        return (start[0],)

    def outer(self, parts):
        """The state as torch lays it out."""
        return parts[0][None]


class LSTMLoop(Loop):
    """An LSTM with any functions, peepholes, clipping, coupled gates, projection."""

    blocks = 4

    def begin(self, x) -> tuple:
        """The zero state."""
        cell = x.new_zeros(x.shape[0], self.hidden)
        if hasattr(self, "weight_hr_l0"):
            return x.new_zeros(x.shape[0], self.weight_hr_l0.shape[0]), cell
        return cell, cell

    def inner(self, start) -> tuple:
        """The state as the cell takes it."""
        return start[0][0], start[1][0]

    def outer(self, parts):
        """The state as torch lays it out."""
        return parts[0][None], parts[1][None]

    def cell(self, z, parts) -> tuple:
        """One step."""
        h, c = parts
        z_i, z_f, z_g, z_o = (z + self.recur(h)).chunk(4, -1)
        seen = self.peephole.chunk(3) if hasattr(self, "peephole") else None
        if seen is not None:
            z_i, z_f = z_i + seen[0] * c, z_f + seen[1] * c
        i, g = self.gate(z_i), self.state(z_g)
        f = 1 - i if self.settings.get("coupled") else self.gate(z_f)
        c = f * c + i * g
        bound = self.settings.get("cell_clip")
        if bound is not None:
            c = c.clamp(-bound, bound)
        if seen is not None:
            z_o = z_o + seen[2] * c
        h = self.gate(z_o) * self.settings["output"](c)
        if hasattr(self, "weight_hr_l0"):
            h = h @ self.weight_hr_l0.T
        return h, c


class GRULoop(Loop):
    """A GRU with any functions, that resets before or after its product."""

    blocks = 3

    def cell(self, z, parts) -> tuple:
        """One step."""
        (h,) = parts
        x_r, x_z, x_n = z.chunk(3, -1)
        if self.settings["before"]:
            gates = 2 * self.hidden
            h_r, h_z = self.recur(h, slice(gates)).chunk(2, -1)
            r, update = self.gate(x_r + h_r), self.gate(x_z + h_z)
            n = self.state(x_n + self.recur(r * h, slice(gates, None)))
        else:
            h_r, h_z, h_n = (self.recur(h) + self.bias_hh_l0).chunk(3, -1)
            r, update = self.gate(x_r + h_r), self.gate(x_z + h_z)
            n = self.state(x_n + r * h_n)
        return ((1 - update) * n + update * h,)


class RNNLoop(Loop):
    """An Elman network with any function."""

    blocks = 1

    def cell(self, z, parts) -> tuple:
        """One step."""
        (h,) = parts
        return (self.state(z + self.recur(h)),)


class Both(nn.Module):
    """Two recurrent layers, one of them backwards in time."""

    def __init__(self, ahead, behind, merge):
        super().__init__()
        self.ahead, self.behind, self.merge = ahead, behind, merge

    def forward(self, x, start=None):
        """The outputs of both in the order of time, and their states."""
        first, second = start or (None, None)
        along, end = self.ahead(x, first)
        against, other = self.behind(x.flip(1), second)
        return (along, against.flip(1)), (end, other)

    def merged(self, pair, last):
        """One output from two: the whole sequence, or where each half ends."""
        a, b = (pair[0][:, -1], pair[1][:, 0]) if last else pair
        if self.merge == "concat":
            return torch.cat((a, b), -1)
        if self.merge == "mul":
            return a * b
        return (a + b) / 2 if self.merge == "ave" else a + b


def over_space(function, x, axes):
    """A function of `(batch, channels, *space)` on `x (..., *space, channels)`.

    The axes of space come to it in reversed order.
    """
    lead, step = x.shape[: -1 - axes], x.shape[-1 - axes :]
    turned = (0, *range(axes + 1, 0, -1))
    y = function(x.reshape(-1, *step).permute(turned)).permute(turned)
    return y.reshape(*lead, *y.shape[1:])


def channels_second(function, x, axes):
    """The same in their own order, for what takes any number of axes."""
    lead, step = x.shape[: -1 - axes], x.shape[-1 - axes :]
    y = function(x.reshape(-1, *step).movedim(-1, 1)).movedim(1, -1)
    return y.reshape(*lead, *step)


def padded_same(x, extent, stride, **how):
    """A signal with as much around its last axis as leaves a window for each stride."""
    length = x.shape[-1]
    total = max((-(-length // stride) - 1) * stride + extent - length, 0)
    return nn.functional.pad(x, (total // 2, total - total // 2), **how)


def positions(table, x):
    """A row of a table for every step."""
    if x.shape[1] > len(table):
        raise ValueError(f"{x.shape[1]} steps, at most {len(table)}")
    return x.new_zeros(len(x), 1, 1) + table[: x.shape[1]]


def lookup(table, x, first, map_to_last):
    """Rows of a table by numbers; what is no row is NaN, or the last row."""
    row, last = x[..., 0] - first, table.shape[0] - 1
    known = (row >= 0) & (row <= last) & (row == row.floor())
    found = table[torch.where(known, row, torch.full_like(row, last)).long()]
    if map_to_last:
        return found
    return torch.where(known[..., None], found, torch.full_like(found, torch.nan))


def read_golden(path):
    """The recorded inputs and outputs in the file of the weights."""

    def array(spec):
        data = np.frombuffer(base64.b64decode(spec["data"]), "<" + KINDS[spec["dtype"]])
        return torch.from_numpy(data.reshape(spec["shape"]).copy())

    with zipfile.ZipFile(path) as archive:
        records = json.loads(archive.read("archive/golden.json"))["records"]
    for record in records:
        yield [[array(spec) for spec in record[key]] for key in ("inputs", "outputs")]


KINDS = {"float32": "f4", "float64": "f8"}


def self_test(net, path):
    """The largest difference from the recorded outputs: absolute, and as a share."""
    worst = share = 0.0
    for inputs, outputs in read_golden(path):
        with torch.no_grad():
            found, _ = net(inputs if len(inputs) > 1 else inputs[0])
        many = found if isinstance(found, tuple) else (found,)
        for y, expected in zip(many, outputs, strict=True):
            if y.shape != expected.shape:
                raise ValueError(f"{tuple(y.shape)} for {tuple(expected.shape)}")
            off = (y - expected).abs().max().item()
            off = off if off == off else float("inf")
            worst = max(worst, off)
            share = max(share, off / max(expected.abs().max().item(), 1e-30))
    return worst, share
