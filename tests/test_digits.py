"""Class-conditional training on the 8x8 digits: samples have the requested class."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from wgan_jax import (
    MLP,
    DCGANCritic,
    DCGANGenerator,
    GradientPenalty,
    Wasserstein,
    from_linen,
    gan,
    scan_steps,
)
from wgan_jax.transforms.optimizers import Adam

IMAGE = {"image_size": 8, "channels": 1, "filters": 32, "extra_layers": 1, "num_classes": 10}
MLPS = {"features": (256, 256), "num_classes": 10}
# generator, critic, generator iterations
SETTINGS = {
    "mlp": (
        MLP(output_shape=(8, 8, 1), output_activation="tanh", **MLPS),
        MLP(activation="leaky_relu", **MLPS),
        3000,
    ),
    "dcgan": (DCGANGenerator(**IMAGE), DCGANCritic(norm="layer", **IMAGE), 1500),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_a_classifier_of_real_digits_finds_the_class_that_was_asked_for(name):
    generator, critic, iterations = SETTINGS[name]
    digits = load_digits()
    pixels, classes = (digits.images / 8 - 1).astype(np.float32), digits.target.astype(np.int32)
    order = np.random.default_rng(0).permutation(len(pixels))
    train, held_out = order[:1400], order[1400:]
    flat = pixels.reshape(-1, 64)
    judge = SVC(gamma=0.02, C=10.0).fit(flat[train], classes[train])
    assert judge.score(flat[held_out], classes[held_out]) > 0.98

    def adam(updates):
        optimizer = Adam(learning_rate=5e-4, decay="linear", decay_iterations=iterations)
        return optimizer.build(updates)

    def latent(key, n):
        on_noise, on_label = jax.random.split(key)
        noise = jax.random.normal(on_noise, (n, 32))
        return noise, jax.random.randint(on_label, (n,), 0, 10, jnp.int32)

    def data(key, n):
        chosen = jax.random.randint(key, (n,), 0, len(pixels))
        return jnp.asarray(pixels)[chosen, :, :, None], jnp.asarray(classes)[chosen]

    model = gan(
        from_linen(generator),
        from_linen(critic),
        Wasserstein(),
        generator_tx=adam(1),
        critic_tx=adam(2),
        latent=latent,
        penalty=GradientPenalty(weight=10.0),
    )
    state = model.init(jax.random.key(0), data(jax.random.key(1), 64))
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam does not pass "strict"
        run = scan_steps(model, n_critic=2, batch_size=64, length=iterations)
        state, _ = run(state, data)
    made, asked = model.generate(state, jax.random.key(2), 2000)
    made = np.asarray(made).reshape(-1, 64)
    assert (judge.predict(made) == np.asarray(asked)).mean() >= 0.95
    # And not ten pictures: within the classes, the samples vary as the digits do.
    for label in range(10):
        spread = (
            made[np.asarray(asked) == label].std(0).mean() / flat[classes == label].std(0).mean()
        )
        assert 0.75 < spread < 1.25
