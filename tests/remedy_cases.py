"""Every mistake with what it computes, by code that the remedies do not share.

A case names the program its lines are an excerpt of, the right numbers of that program
and the mistaken ones, both in NumPy float64 from the weights and `oracles.loop`.
"""

from __future__ import annotations

from remedy_cases_equations import EQUATIONS
from remedy_cases_inputs import INPUTS, OUTPUTS
from remedy_cases_running import BOTH_WAYS, RUNNING
from remedy_cases_weights import WEIGHTS

CASES = [*WEIGHTS, *RUNNING, *BOTH_WAYS, *EQUATIONS, *INPUTS, *OUTPUTS]
