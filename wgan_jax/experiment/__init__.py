"""Experiments: what `train.py` runs, from config to report."""
