"""What a step costs by `jl.evaluate`, for a network of one LSTM layer.

    python experiments/05_scale/cost.py WIDTH

Prints a line of JSON: seconds and operations of a step, median of five calls.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from jlstm.bench.counting import products
from jlstm.bench.workloads import Workload
from jlstm.evaluation import Evaluator

WORK = 2e10
"""Operations of a call."""
MOST_STEPS = 3_000_000


def main(width):
    row = Workload("one", "inference", layers=(f"lstm {width}", "fc 1"))
    net, rng = row.network(), np.random.default_rng(5)
    # A multiplication and an addition each.
    each = sum(2 * sum(products(layer) or (0,)) for layer in net.layers.values())
    count = max(256, int(min(WORK / each, MOST_STEPS) / 500))
    xs = [
        rng.standard_normal((n, row.features), np.float32)
        for n in rng.integers(20, 981, count).tolist()
    ]
    evaluator, seconds = Evaluator(net), []
    for _ in range(6):
        start = time.perf_counter()
        evaluator(xs)
        seconds.append(time.perf_counter() - start)
    steps = sum(map(len, xs))
    told = {
        "step": float(np.median(seconds[1:])) / steps,
        "operations": each,
        "steps": steps,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(int(sys.argv[1]))
