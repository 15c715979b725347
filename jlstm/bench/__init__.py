"""How fast is jlstm beside what its users could pick instead: measured side by side.

    from jlstm import bench

    found = bench.measure(bench.chosen("a,c"), rounds=20)
    print(found)                              # the table
    found.to_dict()                           # every sample, and the machine

Every contestant runs in a process of its own that stays alive and is asked in turn, in
an order drawn anew each round, so that what the machine does besides hits all alike.
All have the same weights, and the answers of all are compared with double precision.
"""

from __future__ import annotations

from .contestants import CONTESTANTS as CONTESTANTS
from .measuring import measure as measure
from .results import Benchmark as Benchmark
from .workloads import ROWS as ROWS
from .workloads import Workload as Workload
from .workloads import chosen as chosen
from .workloads import drawn as drawn
from .workloads import own as own
