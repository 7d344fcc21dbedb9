"""Evaluates a run's generator and critic."""
