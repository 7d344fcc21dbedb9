"""Sampling from a trained generator, and the files of samples."""
