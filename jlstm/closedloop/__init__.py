"""A network fed with its own outputs, part by part.

feedback.py   which output becomes which input
past.py       histories, origins and exogenous inputs as arrays
loop.py       what is compiled: the history in open loop, then one scan in closed loop
forecast.py   the result
"""
