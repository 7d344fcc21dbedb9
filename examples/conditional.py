"""A conditional GAN: the label selects the Gaussian that a sample comes from.

python examples/conditional.py
"""

import jax
import jax.numpy as jnp
import optax

from wgan_jax import MLP, LipschitzPenalty, Wasserstein, from_linen, gan, latents, scan_steps

CENTERS = jnp.array([[1.0, 0.0], [-0.5, 0.9], [-0.5, -0.9]])
CLASSES = len(CENTERS)


def labeled_points(key, n):
    """Sample points [n, 2] with their labels [n]."""
    on_label, on_point = jax.random.split(key)
    label = jax.random.randint(on_label, (n,), 0, CLASSES)
    return CENTERS[label] + 0.1 * jax.random.normal(on_point, (n, 2)), label


def main():
    model = gan(
        from_linen(MLP(features=(64, 64), output_shape=(2,), num_classes=CLASSES)),
        from_linen(MLP(features=(64, 64), num_classes=CLASSES)),
        Wasserstein(),
        generator_tx=optax.rmsprop(1e-3),
        critic_tx=optax.rmsprop(1e-3),
        latent=latents.Labelled(noise=latents.Normal(dim=2), num_classes=CLASSES),
        penalty=LipschitzPenalty(weight=10.0),
    )
    state = model.init(jax.random.key(0), labeled_points(jax.random.key(1), 128))
    run = scan_steps(model, n_critic=5, batch_size=128, length=300)
    state, _ = run(state, labeled_points)
    points, label = model.generate(state, jax.random.key(2), 1_000)
    nearest = jnp.linalg.norm(points[:, None] - CENTERS[None], axis=-1).argmin(1)
    right = (nearest == label).mean()
    print(f"{100 * right:.1f}% of samples are closest to the center of their label")
    return float(right)


if __name__ == "__main__":
    main()
