"""The critic's part of an evaluation: a bound that holds, and diagnostics."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from wgan_jax import cli
from wgan_jax.data.toy import Ring
from wgan_jax.distances import exact_w1
from wgan_jax.experiment.build import build_gan
from wgan_jax.experiment.config import Clip, Config
from wgan_jax.experiment.evaluation.critic import CriticDiagnostics, diagnose, share_at
from wgan_jax.latents import Normal
from wgan_jax.loop import scan_steps
from wgan_jax.networks import MLP, Cones, GroupSort
from wgan_jax.objectives import Hinge, JensenShannon, LeastSquares, RelativisticPairing
from wgan_jax.transforms.optimizers import SGD, RMSProp
from wgan_jax.vae import EvidenceBound

pytestmark = [pytest.mark.usefixtures("few_points"), pytest.mark.once]

TOY = Config(
    generator=MLP(features=(16, 16), output_shape=(2,)),
    critic=MLP(features=(16, 16)),
    latent=Normal(dim=2),
    clip=Clip(c=0.1),
    generator_optimizer=RMSProp(learning_rate=1e-3),
    critic_optimizer=RMSProp(learning_rate=1e-3),
    batch_size=64,
)


def evaluated(config, iterations=20):
    gan, ring = build_gan(config), config.dataset
    state = gan.init(jax.random.key(3), ring(jax.random.key(0), 64))
    run = scan_steps(gan, n_critic=config.n_critic, batch_size=64, length=iterations)
    state, _ = run(state, ring)
    return gan, state, CriticDiagnostics(config, gan, ring, ring)(state)


@pytest.mark.parametrize(
    "config",
    [
        TOY,
        dataclasses.replace(
            TOY, clip=None, critic=Cones(count=32), critic_optimizer=RMSProp(learning_rate=0.02)
        ),
    ],
    ids=["clipped", "cones"],
)
def test_the_lower_bound_is_below_exact_w1(config, key):
    gan, state, found = evaluated(config)
    for_real, for_fake = jax.random.split(key)
    real, fake = config.dataset(for_real, 2_000), gan.generate(state, for_fake, 2_000)
    assert 0 < found["w1/critic/lower"] < exact_w1(np.asarray(fake), np.asarray(real))
    assert (
        found["w1/critic/lower"]
        < found["w1/critic"]
        == found["w1/held_out"] / found["w1/lipschitz"]
    )
    assert found["w1/minibatch"] > found["w1/minibatch_floor"] > 0


def test_plain_descent_goes_downhill_and_momentum_may_not():
    plain = dataclasses.replace(TOY, critic_optimizer=SGD(learning_rate=1e-4), clip=None)
    assert evaluated(plain)[2]["health/step_cosine"] == pytest.approx(1, abs=1e-3)
    heavy = dataclasses.replace(plain, critic_optimizer=SGD(learning_rate=1e-4, momentum=0.99))
    assert evaluated(heavy)[2]["health/step_cosine"] < 0.999


def test_weights_at_the_clip_value_are_counted():
    assert share_at(0.5, np.array([0.5, -0.5, np.nextafter(np.float32(0.5), 0), 0.4])) == 0.75
    piled = dataclasses.replace(TOY, clip=Clip(c=0.01), critic_optimizer=RMSProp(learning_rate=0.1))
    assert evaluated(piled)[2]["health/at_clip"] > 0.5
    assert evaluated(dataclasses.replace(TOY, clip=Clip(c=10.0)))[2]["health/at_clip"] == 0


def test_a_critic_that_was_hardly_trained_is_told_of():
    lazy = dataclasses.replace(TOY, n_critic=1, critic_optimizer=RMSProp(learning_rate=1e-4))
    found = evaluated(lazy, iterations=1)[2]
    assert found["health/gain"] > 0.5
    assert "n_critic" in diagnose(found)["optimum"]


@pytest.mark.parametrize(
    ("objective", "most"),
    [
        (JensenShannon(), np.log(2)),
        (LeastSquares(), 1),
        (Hinge(), 1),
        (RelativisticPairing(), np.log(2)),
    ],
)
def test_the_critic_is_measured_by_the_estimate_of_its_objective(objective, most):
    """Scores of data and of samples far from them differ by much more than a divergence can be."""
    config = dataclasses.replace(TOY, objective=objective, clip=None, dataset=Ring(radius=20.0))
    found = evaluated(config)[2]
    values = [found[name] for name in ("w1/held_out", "health/held_out", "health/held_out_later")]
    assert max(values) <= most * (1 + 1e-6)
    gained = found["health/held_out_later"] - found["health/held_out"]
    size = abs(found["health/held_out_later"])
    assert found["health/gain"] == pytest.approx(gained / size, abs=1e-4)
    assert found["health/gain_error"] > 0


def test_layers_are_named_and_warnings_are_in_words():
    found = evaluated(TOY)[2]
    layers = {name for name in found if name.startswith("health/gradient_norm/")}
    assert layers == {f"health/gradient_norm/Dense_{k}" for k in range(3)}
    sorting = dataclasses.replace(TOY, clip=None, critic=GroupSort(features=(8, 8)))
    norms = evaluated(sorting)[2]
    layers = {name for name in norms if name.startswith("health/gradient_norm/")}
    assert layers == {f"health/gradient_norm/kernel_{k}" for k in range(3)}  # no bias apart
    off = {
        "health/step_cosine": -0.5,
        "health/at_clip": 0.99,
        "health/gradient_norm/first": 1e-9,
        "health/gradient_norm/last": 1.0,
    }
    said = diagnose(off)
    assert set(said) == {"direction", "box", "layers"}
    assert "first" in said["layers"]
    assert diagnose({"health/step_cosine": 0.9, "health/at_clip": 0.1}) == {}


def test_where_nothing_is_certified_no_bound_is_given():
    found = evaluated(dataclasses.replace(TOY, critic=MLP(features=(8,), spectral_norm=True)))[2]
    assert ("w1/critic" in found) == ("w1/lipschitz" in found)
    assert np.isfinite(found["w1/held_out"])


def test_a_vae_has_no_critic():
    vae = dataclasses.replace(
        TOY, clip=None, objective=EvidenceBound(), critic=MLP(features=(8,), output_shape=(4,))
    )
    gan = build_gan(vae)
    state = gan.init(jax.random.key(0), vae.dataset(jax.random.key(0), 64))
    assert CriticDiagnostics(vae, gan, vae.dataset, vae.dataset)(state) == {}


@pytest.mark.filterwarnings("ignore")
def test_evaluations_are_logged_and_leave_the_run_alone(tmp_path):
    args = ["--generator.features", "16", "--critic.features", "16", "--batch-size", "32"]
    args += ["--chunk", "10", "--log-every", "10", "--steps", "40"]
    lines = {}
    for every in ("0", "20"):
        folder = tmp_path / every
        extra = ["--evaluate-every", every, "--workdir", str(folder)]
        assert cli.run_command(cli.train, [*args, *extra]) == 0
        text = (folder / "metrics.jsonl").read_text().splitlines()
        lines[every] = [json.loads(line) for line in text]
    plain, watched = lines["0"], lines["20"]
    assert [line["step"] for line in watched] == [line["step"] for line in plain]
    assert [("w1/minibatch" in line) for line in watched] == [False, True, False, True]
    for a, b in zip(plain, watched, strict=True):
        assert all(b[name] == value for name, value in a.items() if "time/" not in name)
    assert "health/gain" in json.loads((tmp_path / "0" / "evaluation.json").read_text())
