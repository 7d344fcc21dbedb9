"""Samples of a trained generator, and the files that they are written to."""
