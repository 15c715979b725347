"""Does `jlstm.diagnose` find the mistakes that were made, and only those?

    python experiments/03_diagnose_battery/run.py --singles 10 --pairs 4 --clean 8

On every network of a folder with a manifest.json (and on the embedded one), with random
inputs: single mistakes, pairs of mistakes, right numbers in several precisions, numbers
that no mistake explains. The wrong numbers are computed by `wrong.py`, in NumPy.
"""

import argparse
import json
import time
from collections import defaultdict
from itertools import cycle, islice
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
from wrong import applicable, compatible, forward_many

import jlstm as jl
from jlstm.demo import load_demo
from jlstm.errors import JlstmError
from jlstm.layers import Input

STEPS = 60
LENGTHS = (30, 24, 27, 30, 24, 30)
VISIBLE = 1e-4
# What is a mistake of its own: with one of these keys, or without.
QUALIFIERS = {
    "recurrent_transposed",
    "input_transposed",
    "of",
    "gate",
    "part",
    "instead",
    "after",
    "mates",
    "cut",
}


def networks(folder):
    """Every network at hand that the oracle can compute, by name."""
    yield "demo", load_demo()[0]
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        return
    for entry in json.loads(manifest.read_text("utf-8"))["files"]:
        if "expect" in entry or not entry["file"].endswith(".mat"):
            continue
        try:
            net = jl.load(folder / entry["file"], variable=entry.get("variable"))
            forward_many(net, signals(net, np.random.default_rng(0)))
        except (JlstmError, NotImplementedError) as error:
            print(f"{entry['file']}: left out, {str(error).splitlines()[0]}")
            continue
        yield entry["file"].removesuffix(".mat"), net


def signal(net, rng, steps):
    """A smooth random input of the size that the network was made for."""
    layer = next(lay for lay in net.layers.values() if isinstance(lay, Input))
    features = layer.size[-1]
    x = rng.normal(size=(steps, features))
    x = 0.8 * x + 0.6 * np.cumsum(x, 0) / np.sqrt(np.arange(1, steps + 1))[:, None]
    if layer.mean is not None and layer.std is not None:
        x = layer.mean + layer.std * x
    elif layer.minimum is not None:
        low, high = np.asarray(layer.minimum), np.asarray(layer.maximum)
        x = low + (high - low) * (0.5 + 0.2 * x)
    return np.asarray(x, np.float32).astype(float)


def lengths(net):
    """One sequence; several for a network that gives one answer for all steps."""
    timed = any(net.shapes[ref].time for ref in net.outputs)
    return (STEPS,) if timed else LENGTHS


def signals(net, rng):
    return [signal(net, rng, steps) for steps in lengths(net)]


def cases(net, rng):
    """What can go wrong, every entry of the catalogue in turn."""
    entries = defaultdict(list)
    mixed = len(set(lengths(net))) > 1
    for wrong in applicable(net, *lengths(net)):
        partial = len(wrong.layers) not in (0, len(net.recurrent))
        if partial and (
            wrong.name == "weights-rounded" or (wrong.name == "start-state" and mixed)
        ):
            continue
        entries[wrong.name].append(wrong)
    found = list(entries.values())
    rng.shuffle(found)
    for some in found:
        rng.shuffle(some)
    longest = max(map(len, found))
    return [some[k] for k in range(longest) for some in found if k < len(some)]


def visible(ys, rights):
    """Whether wrong numbers are finite, of sane size, and differ at all."""
    if [y.shape for y in ys] != [right.shape for right in rights]:
        return False
    y, right = np.concatenate(ys).ravel(), np.concatenate(rights).ravel()
    if not np.all(np.isfinite(y)) or abs(y).max() > 1e6:
        return False
    return abs(y - right).max() > VISIBLE * max(right.std(), 1e-6)


def same(wrong, mistake):
    """Whether a mistake that was found is the one that was made."""
    if wrong.name != mistake.name:
        return False
    if wrong.layers and set(wrong.layers) != set(mistake.layers):
        return False
    for key, value in wrong.parameters.items():
        other = mistake.parameters.get(key)
        if key in ("n", "value", "fill") and other is None:
            continue
        if isinstance(value, float | tuple | list):
            try:
                if not np.allclose(value, other, rtol=1e-3, atol=1e-6):
                    return False
            except (TypeError, ValueError):
                return False
        elif value != other:
            return False
    return QUALIFIERS & set(mistake.parameters) <= set(wrong.parameters)


def matches(wrongs, finding):
    """All mistakes found, in any order."""
    left = list(finding.mistakes)
    for wrong in wrongs:
        hit = next((m for m in left if same(wrong, m)), None)
        if hit is None:
            return False
        left.remove(hit)
    return not left


def named(wrongs, finding):
    """The names of the mistakes found, whatever their parameters."""
    return sorted(w.name for w in wrongs) == sorted(m.name for m in finding.mistakes)


def diagnose(net, xs, ys, wrongs, kind):
    """One trial, and whether its answer is right."""
    start = time.perf_counter()
    one = len(xs) == 1
    d = jl.diagnose(net, xs[0] if one else xs, ys[0] if one else ys)
    first = d.findings[: max(d.tied, 1)]
    rounded = [w.name for w in wrongs] == ["weights-rounded"]
    if wrongs:
        right = any(matches(wrongs, f) for f in first)
        right = right or (rounded and d.verdict == "precision")
    elif kind in ("random", "other input"):
        right = d.verdict == "unexplained" or not first
    else:
        right = d.verdict in ("agree", "precision", "unexplained")
    return {
        "kind": kind,
        "truth": [str(tuple(w)) for w in wrongs],
        "names": [w.name for w in wrongs],
        "verdict": d.verdict,
        "found": [" + ".join(map(str, f.mistakes)) for f in first],
        "name": any(named(wrongs, f) for f in first),
        "right": right,
        "tied": d.tied,
        "seconds": round(time.perf_counter() - start, 2),
        "summary": d.summary,
    }


def singles(net, rng):
    """Every mistake of the oracle that is seen in the output, and its numbers."""
    xs = signals(net, rng)
    right = forward_many(net, xs)
    for wrong in cases(net, rng):
        ys = forward_many(net, xs, [wrong])
        if visible(ys, right):
            yield xs, ys, [wrong], ""


def pairs(net, rng):
    """Two mistakes at once, each of which matters alone and beside the other."""
    xs = signals(net, rng)
    right = forward_many(net, xs)
    entries = defaultdict(list)
    for wrong in cases(net, rng):
        if wrong.name != "weights-rounded":  # any mistake hides it
            entries[wrong.name].append(wrong)
    names = list(entries)
    for _ in range(1000):
        a, b = (
            entries[name][rng.integers(len(entries[name]))]
            for name in rng.choice(names, 2)
        )
        if not compatible(a, b):
            continue
        try:
            alone = [forward_many(net, xs, [w]) for w in (a, b)]
            ys = forward_many(net, xs, [a, b])
        except NotImplementedError:
            continue
        if all(visible(ys, other) for other in (right, *alone)) and all(
            visible(other, right) for other in alone
        ):
            yield xs, ys, [a, b], ""


def clean(net, rng):
    """Right numbers, as other precisions and noise would leave them."""
    short = net.astype(np.float32)
    for kind in cycle(("float32", "bfloat16", "noise", "rounded weights")):
        xs = signals(net, rng)
        right = forward_many(net, xs)
        if kind == "float32":
            ys = [np.asarray(jl.predict(short, x)) for x in xs]
        elif kind == "bfloat16":
            low = net.astype(ml_dtypes.bfloat16)
            ys = [np.asarray(jl.predict(low, x), float) for x in xs]
        elif kind == "noise":
            ys = [y * (1 + 1e-4 * rng.normal(size=y.shape)) for y in right]
        else:
            low = net.astype(ml_dtypes.bfloat16).astype(np.float32)
            ys = forward_many(low, xs)
        yield xs, ys, [], kind


def nonsense(net, rng):
    """Numbers that no mistake explains: of another input, or random."""
    for kind in cycle(("random", "other input")):
        xs = signals(net, rng)
        if kind == "other input":
            ys = forward_many(net, signals(net, rng))
        else:
            ys = forward_many(net, xs)
            ys = [rng.normal(size=y.shape) + y for y in ys]
        yield xs, ys, [], kind


KINDS = {"singles": singles, "pairs": pairs, "clean": clean, "nonsense": nonsense}


def by_entry(results):
    """For each mistake: trials, found with its parameters, found by name only."""
    table = defaultdict(lambda: [0, 0, 0])
    for kind in ("singles", "pairs"):
        for row in results.get(kind, ()):
            for name in row["names"]:
                table[name][0] += 1
                table[name][1] += row["right"]
                table[name][2] += row["name"] and not row["right"]
    return dict(sorted(table.items()))


def write(path, results):
    """Moved into place: a run that is stopped leaves a whole file."""
    part = Path(f"{path}.part")
    part.write_text(json.dumps(results, indent=1), "utf-8")
    part.replace(path)


def draw(results, path):
    """Bars by entry; how long it took."""
    from matplotlib.figure import Figure

    table = by_entry(results)
    figure = Figure(figsize=(9, 1.5 + 0.2 * len(table)), layout="constrained", dpi=110)
    left, right = figure.subplots(1, 2, width_ratios=(3, 1))
    names = list(table)[::-1]
    trials = np.array([table[name] for name in names])
    missed = trials[:, 0] - trials[:, 1] - trials[:, 2]
    parts = zip(
        ("found with its parameters", "found by name", "not found"),
        (trials[:, 1], trials[:, 2], missed),
        ("tab:blue", "tab:orange", "tab:red"),
        strict=True,
    )
    start = np.zeros(len(names))
    for label, width, color in parts:
        left.barh(names, width, left=start, color=color, label=label)
        start += width
    left.set_xlabel("trials, alone and in pairs")
    left.tick_params(axis="y", labelsize=7)
    left.legend(fontsize=8, loc="lower right")
    for kind in ("singles", "pairs"):
        seconds = sorted(row["seconds"] for row in results.get(kind, ()))
        share = np.arange(1, len(seconds) + 1) / max(len(seconds), 1)
        right.semilogx(seconds, share, label=kind)
    right.set_xlabel("seconds")
    right.set_ylabel("share of trials")
    right.legend(fontsize=8)
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    here = Path(__file__).resolve()
    parser.add_argument(
        "--nets", type=Path, default=here.parents[3] / "shared" / "nets"
    )
    parser.add_argument("--only", default="", help="part of the name of a network")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plot", type=Path, help="a picture of the results")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("battery.json"),
        help="results; what is in it already is not done again",
    )
    for kind in KINDS:
        parser.add_argument(f"--{kind}", type=int, default=0)
    arguments = parser.parse_args()
    results = {kind: [] for kind in KINDS}
    if arguments.output.is_file():  # goes on where it was stopped
        results |= json.loads(arguments.output.read_text("utf-8"))
    for name, net in networks(arguments.nets):
        if arguments.only not in name:
            continue
        for kind, trials in KINDS.items():
            rows = results[kind]
            done = sum(row["net"] == name for row in rows)
            rng = np.random.default_rng([arguments.seed, sum(name.encode())])
            for trial in islice(trials(net, rng), done, getattr(arguments, kind)):
                row = {"net": name, **diagnose(net, *trial)}
                rows.append(row)
                write(arguments.output, results)
                if not row["right"]:
                    print(f"  {name} {row['truth'] or row['kind']}: {row['verdict']}")
                    print(f"     {row['found'][:2]}", flush=True)
            rows = [row for row in rows if row["net"] == name]
            if rows:
                right = sum(row["right"] for row in rows)
                mean = np.mean([row["seconds"] for row in rows])
                print(
                    f"{name} {kind}: {right} of {len(rows)}, {mean:.1f} s", flush=True
                )
        # Programs of one network are of no use to the next, and fill the memory.
        jax.clear_caches()
    for name, (trials, right, named) in by_entry(results).items():
        print(
            f"  {name:<28}{right:>4} of {trials:<4}{f'by name {named}' * bool(named)}"
        )
    if arguments.plot:
        draw(results, arguments.plot)
    for kind, rows in results.items():
        right = sum(row["right"] for row in rows)
        print(
            f"{kind}: {right} of {len(rows)} ({100 * right / max(len(rows), 1):.1f} %)"
        )


if __name__ == "__main__":
    main()
