"""frown beside TRL, doing the same work on the same machine: `python -m benchmarks`.

One file a kind of measure; `measuring.py` says how time and memory are taken, `peer.py` holds all that is TRL's.
"""
