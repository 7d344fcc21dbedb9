"""Loggers: where a run's numbers, pictures and texts go besides its workdir."""
