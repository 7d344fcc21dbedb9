"""Fault injection: kills, signals, damage, full disks, bad input.

`pytest tests/faults` is the quick part; `python -m tests.faults` is the long one and prints
a table with counts.
"""
