"""Checkpoints that are verified before they are parsed."""
