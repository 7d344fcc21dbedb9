"""Writes report.html, a self-contained page about a run."""
