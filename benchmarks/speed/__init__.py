"""One generator iteration of ours, of PyTorch and of straightforward Flax, side by side."""
