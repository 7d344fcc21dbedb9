"""Benchmark of an accelerator in one command of under ten minutes."""
