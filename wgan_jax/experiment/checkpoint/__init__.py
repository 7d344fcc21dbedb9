"""Checkpoints that are verified before parsing."""
