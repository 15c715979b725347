"""A folder of files in, a folder of Parquet out, whatever their number.

A file is a shard: it is read as a stream of sequences, its answers go to a file of its
own, and what is finished is never computed again.

kinds.py       a sequence, and what is asked of a file
sources.py     which files there are, and which reader opens one
tabular.py arrays.py slices.py    tables; arrays; what HDF5 and netCDF hold
ahead.py       windows of sequences, read by a thread before they are needed
results.py     the answers of a shard as Parquet
scores.py      errors, where there are targets
manifest.py    the folder of a run: what went in, what is finished
claims.py      who computes which shard, and who of them is dead
networks.py    which networks are run
job.py         the networks, ready to run
working.py     one process: shards in turn until none is left
worker.py      `python -m jlstm.shards.worker FOLDER K N`
processes.py   several of them on this machine
cluster.py     several of them on many machines
conducting.py  beginning, going on, summing up
outline.py     what a run will do
"""
