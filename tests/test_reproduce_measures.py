"""The measurements and claims of figures, on numbers whose answer is known."""

import math

import jax
import numpy as np
import pytest

from wgan_jax.reproduce import (
    curves,
    eight_gaussians,
    garment_grids,
    gradients,
    robustness,
    scoreboard,
)
from wgan_jax.reproduce.figure import Claim, Settings, as_json, claim_status, mean_std
from wgan_jax.reproduce.garments import GarmentRun


def garment_run(frechet, spread=1.0):
    steps, w1 = np.array([10, 20]), np.array([[5.0, 4.0, 20.0], [3.0, 2.0, 18.0]])
    metrics = {"critic/estimate": np.linspace(1, 0, 20), "generator/loss": np.linspace(0, 1, 20)}
    samples = np.zeros((64, 32, 32, 1), np.float32)
    return GarmentRun(metrics, steps, np.array(frechet), w1, 50.0, spread, samples)


def test_grids_of_garments_judge_the_ends_of_runs():
    learned, not_learned = garment_run([20.0, 2.0]), garment_run([20.0, 19.0], spread=0.3)
    both_gans_fail = {"WGAN": [learned], "GAN": [not_learned], "GAN, five steps": [not_learned]}
    one_gan_learns = both_gans_fail | {"GAN": [garment_run([20.0, 1.0])]}

    def holds(runs, *, gan_fails):
        return [claim.holds for claim in garment_grids.claims(runs, gan_fails)]

    assert holds(both_gans_fail, gan_fails=True) == [True, True, True]
    assert holds(one_gan_learns, gan_fails=True) == [True, False, True]
    assert holds(one_gan_learns, gan_fails=False) == [True, True, True]
    assert holds(both_gans_fail, gan_fails=False) == [True, False, True]
    assert holds(both_gans_fail | {"WGAN": [not_learned]}, gan_fails=True) == [False, False, False]
    head, rows = garment_grids.table(both_gans_fail, 0.5)
    assert rows[0][1:] == ["20", "2.00", "3.00 (2.00 to 18.0)", "100% of the data's"]
    assert len(head) == len(rows[-1])


def test_robustness_counts_the_settings_in_which_a_method_trains():
    def outcome(frechet):
        return robustness.Outcome(70.0, [20.0, frechet], np.zeros((16, 32, 32)).tolist())

    def ends(setting, method):
        if method == "WGAN-GP":
            return [1.0, 1.0]
        if method == "WGAN":
            return [1.0, 1.0] if setting.optimizer == "RMSProp" else [1.0, 30.0]
        return [math.nan, 17.4 if setting.norm == "batch" else 17.6]  # a quarter is 17.5

    outcomes = {
        (setting, method): [outcome(end) for end in ends(setting, method)]
        for setting in robustness.SETTINGS
        for method in robustness.METHODS
    }
    assert len(robustness.SETTINGS) == 12
    shares = {"GAN": (6, 24), "WGAN": (18, 24), "WGAN-GP": (24, 24)}
    assert robustness.shares(outcomes) == shares
    assert robustness.shares(outcomes, norm="batch")["GAN"] == (6, 12)
    assert [claim.holds for claim in robustness.claims(outcomes)] == [True, True, True]
    head, rows = robustness.table(outcomes, 0.5)
    assert rows[0] == ["DCGAN, batch norm, RMSProp", "(nan), 17.40", "1.00, 1.00", "1.00, 1.00"]
    assert rows[-2] == ["trains in", "6 of 24", "18 of 24", "24 of 24"]
    assert all(len(row) == len(head) for row in rows)


def test_quick_runs_judge_nothing():
    claim = Claim("text", True, "evidence")
    assert claim_status(claim, Settings(size="quick")) is None
    assert claim_status(claim, Settings()) is True


def test_the_ring_comes_first_only_where_the_radius_arrives_first():
    steps = np.array([0, 10, 20, 30])
    early, late, never = [2.0, 0.1, 0.1, 0.1], [2.0, 1.0, 0.1, 0.1], [2.0, 1.0, 1.0, 1.0]
    runs = [
        {"radial_w1": radius, "angular_kl": angle}
        for radius, angle in ((early, late), (late, early), (early, early), (late, never))
    ]
    assert eight_gaussians.arrivals(runs, steps)["radial_w1"] == [10, 20, 10, 20]
    assert eight_gaussians.ring_first(runs, steps) == 0.5


def test_samples_on_the_modes_measure_as_the_data_do():
    ring = eight_gaussians.RING
    real = np.asarray(ring(jax.random.key(0), 2_000))
    found = eight_gaussians.measure(np.asarray(ring(jax.random.key(1), 2_000)), real)
    assert found["modes"] == 8
    assert found["high_quality"] > 0.97
    assert max(found["reverse_kl"], found["radial_w1"]) < 0.01
    assert found["angular_kl"] < 0.05
    one_mode = np.asarray(
        ring.centers[:1] + 0.01 * jax.random.normal(jax.random.key(2), (2_000, 2))
    )
    lost = eight_gaussians.measure(one_mode, real)
    assert lost["modes"] == 1
    assert lost["reverse_kl"] == pytest.approx(math.log(8))
    assert lost["radial_w1"] < 0.05
    assert lost["angular_kl"] > 4


def test_a_ring_without_modes_has_the_radius_of_the_data_and_not_their_density():
    ring = eight_gaussians.RING
    angle = np.linspace(0, 2 * np.pi, 2_000)
    even = ring.radius * np.stack([np.cos(angle), np.sin(angle)], 1)
    found = eight_gaussians.measure(even, np.asarray(ring(jax.random.key(0), 2_000)))
    assert found["radial_w1"] < 0.05
    assert found["angular_kl"] == pytest.approx(math.log(9), abs=0.1)


def test_what_is_left_of_a_gradient_is_measured_at_the_end():
    norms = np.stack([np.geomspace(10.0, 0.001, 20), np.full(20, 3.0)])
    first, second = gradients.left(norms)
    assert first < 0.001
    assert second == 1


def test_rank_correlation_is_that_of_the_filtered_curve_with_w1():
    steps, w1 = np.arange(1, 6), np.array([5.0, 4.0, 3.0, 2.5, 2.0])

    def correlation(metric):
        return curves.Curve(steps, np.array(metric), w1, w1, None, None, None).correlation

    assert correlation([9.0, 8.0, 7.0, 6.0, 5.0]) == pytest.approx(1)
    assert correlation([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(-1)
    assert correlation([1.0] * 5) == correlation([1.0, math.nan, 1.0, 2.0, 3.0]) == 0


def test_published_rows_name_their_source():
    board = {"modes": [8, 7], "high_quality": [0.9, 0.8], "steps": 100}
    rows = scoreboard.table({name: {"ours": board} for name in scoreboard.MIXTURES}).rows
    assert ["ring of 8", "ours", "7.5 ± 0.5", "85.0% ± 5.0%", "80.0%", "100 iterations"] in rows
    others = [row for row in rows if row[1] != "ours"]
    assert len(others) == 6
    assert all(row[-1].startswith("published: ") and "2017" in row[-1] for row in others)
    assert mean_std([1.0, 3.0], ".1f") == "2.0 ± 1.0"


def test_json_has_no_infinities():
    values = {"a": [1.0, math.inf, (math.nan,)], "b": np.float32(-np.inf)}
    assert as_json(values) == {"a": [1.0, "inf", ["nan"]], "b": "-inf"}
