"""Loggers of a run's metrics, images and texts, in addition to the workdir."""
