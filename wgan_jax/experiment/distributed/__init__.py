"""Multi-process runs: initialization, collectives, sharding and shutdown."""
