"""What is done to runs on purpose: kills, signals, damage, full disks, bad input.

`pytest tests/faults` is the quick part; `python -m tests.faults` the long one, which
prints a table with counts.
"""
