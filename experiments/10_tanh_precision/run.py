"""Does a sharper float32 tanh bring predictions closer, and what does it cost?

    python experiments/10_tanh_precision/run.py [folder with MAT files]

Compares XLA's tanh with `jlstm.activations.tanh`: error in units in the last place
against NumPy in double, distance of the float32 prediction from the float64 one on the
embedded network (and on every network in the folder), and time, interleaved.
"""

import sys
import time
from pathlib import Path
from statistics import median

import jax
import jax.numpy as jnp
import numpy as np

from jlstm import activations, formats, network
from jlstm.demo import load_demo
from jlstm.errors import JlstmError

OURS, XLA = activations.tanh, jnp.tanh


def ulps(function):
    x = np.random.default_rng(0).normal(0, 2, 400_000).astype(np.float32)
    exact = np.tanh(x.astype(float))
    unit = np.spacing(np.abs(exact).astype(np.float32)).astype(float)
    error = (np.asarray(jax.jit(function)(x), float) - exact) / unit
    return np.abs(error).max(), np.sqrt(np.mean(error**2))


def distance(net, x, function):
    """Largest gap between the float32 and the float64 prediction."""
    activations.ACTIVATIONS["tanh"] = function
    jax.clear_caches()
    single = np.asarray(network.predict(net.astype("float32"), x), float)
    activations.ACTIVATIONS["tanh"] = OURS
    jax.clear_caches()
    with jax.enable_x64(True):
        double = np.asarray(network.predict(net.astype("float64"), x))
    return np.abs(single - double).max()


def seconds(rounds=50):
    """Median time of each over one array, interleaved."""
    x = np.random.default_rng(0).normal(0, 2, 1_000_000).astype(np.float32)
    compiled = [jax.jit(f) for f in (XLA, OURS)]
    times = [[], []]
    for _ in range(rounds):
        for kept, function in zip(times, compiled, strict=True):
            start = time.perf_counter()
            function(x).block_until_ready()
            kept.append(time.perf_counter() - start)
    return [median(kept[5:]) for kept in times]


def networks(folder):
    net, golden = load_demo()
    yield "demo", net, golden.inputs[0]
    rng = np.random.default_rng(1)
    for path in sorted(folder.rglob("*.mat")) if folder else ():
        try:
            net, _ = formats.read(path)
        except JlstmError:
            continue
        if len(net.inputs) == len(net.outputs) == 1:
            shape = net.shapes[net.inputs[0]]
            size = (100, *shape.space, shape.channels)
            yield f"{path.parent.name}/{path.name}", net, rng.normal(size=size)


def main():
    for name, function in (("XLA", XLA), ("jlstm", OURS)):
        largest, mean = ulps(function)
        print(f"{name:6} tanh: at most {largest:.2f} ulp, root mean square {mean:.2f}")
    xla, ours = seconds()
    print(f"time over a million numbers, jlstm / XLA: {ours / xla:.2f}")
    print("\nlargest gap between float32 and float64 prediction")
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    ratios = []
    for name, net, x in networks(folder):
        gaps = [distance(net, x, function) for function in (XLA, OURS)]
        ratios.append(gaps[0] / max(gaps[1], 1e-30))
        print(f"{name:40} XLA {gaps[0]:.1e}  jlstm {gaps[1]:.1e}  {ratios[-1]:.1f} x")
    print(f"median improvement {median(ratios):.1f} x over {len(ratios)} networks")


if __name__ == "__main__":
    main()
