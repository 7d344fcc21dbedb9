"""Several processes as one run: how they meet, share arrays, and stop."""
