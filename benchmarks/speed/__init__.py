"""Speed of one generator iteration: wgan_jax, PyTorch and straightforward Flax."""
