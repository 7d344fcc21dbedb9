"""Reports of runs, in a real browser: they show what a workdir holds and run nothing of it."""

import json
import os
import re

import numpy as np
import pytest
from browser import Browser, find
from PIL import Image

from wgan_jax.__main__ import main
from wgan_jax.errors import UserError
from wgan_jax.experiment import plots
from wgan_jax.experiment.config import Config
from wgan_jax.experiment.config_io import to_dict
from wgan_jax.experiment.report import curves, reporter
from wgan_jax.experiment.report.axis import Axis
from wgan_jax.experiment.report.charts import Series, chart, smooth, thin
from wgan_jax.experiment.report.health import verdicts
from wgan_jax.experiment.report.markup import tag
from wgan_jax.experiment.report.reporter import Reporter, write_report
from wgan_jax.networks import MLP, GroupSort
from wgan_jax.objectives import Hinge, JensenShannon
from wgan_jax.penalties import GradientPenalty

BROWSER = find()
needs_browser = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium: apt-get install chromium, or set CHROMIUM to one"
)
HOSTILE = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
HEALTH = {
    **{"w1/held_out": 0.2, "health/held_out_later": 0.9, "health/gain": 0.8},
    **{"health/gain_error": 0.01, "health/step_cosine": 0.9, "health/at_clip": 0.1},
    **{"health/gradient_norm/Dense_0": 0.1, "health/gradient_norm/Dense_1": 0.3},
}


def make(workdir, *, lines=100, config=None, extra=None, images=3):
    """A workdir as training leaves it, without training."""
    (workdir / "samples").mkdir(parents=True)
    config = to_dict(Config(steps=10 * lines)) if config is None else config
    (workdir / "config.json").write_text(json.dumps(config))
    rng = np.random.default_rng(0)
    with (workdir / "metrics.jsonl").open("w") as file:
        for i in range(1, lines + 1):
            line = {"step": 10 * i, "critic/estimate": 1 / i, "time/steps_per_second": 50.0}
            line |= {"critic/loss": -1 / i, "generator/loss": float(rng.normal())}
            line |= {"critic/gradient_norm": 1.0 + i % 3, "generator/gradient_norm": 0.1}
            if i % (lines // 5) == 0:
                line |= {"w1/minibatch": 1 + 1 / i, "w1/minibatch_floor": 1.0}
                line |= {"w1/value": 1.2 / i, "w1/lower": 1 / i, "w1/upper": 1.5 / i}
                line |= HEALTH
            file.write(json.dumps(line | (extra or {})) + "\n")
    evaluation = {"step": 10 * lines, "w1/exact": 0.25, "w1/floor": 0.125, "points": 2_000}
    evaluation |= {"frechet/lenet": 3.5, "frechet/lenet/error": 0.5, "frechet/lenet/floor": 0.75}
    (workdir / "evaluation.json").write_text(json.dumps(evaluation))
    for step in range(1, images + 1):
        tones = rng.uniform(-1, 1, (16, 8, 8, 1))
        plots.image_grid(tones, workdir / "samples" / f"{step}.png")
    plots.image_grid(tones, workdir / "samples" / "data.png")
    return workdir


@pytest.fixture(scope="module")
def browser():
    with Browser(BROWSER) as browser:
        yield browser


def test_a_verdict_on_copies_is_shown_as_far_as_the_evaluation_has_its_numbers(tmp_path):
    folder = make(tmp_path / "run")
    file = folder / "evaluation.json"
    samples, neighbors = np.zeros((4, 8, 8, 3), np.uint8), np.ones((4, 2, 8, 8, 3), np.uint8)
    with (folder / "nearest.png").open("wb") as picture:
        plots.beside_neighbors(samples, neighbors, picture)
    for found, told, is_shown in [
        ({"step": 7}, "", False),  # of a later evaluation, without the picture's samples
        ({"step": 7, "memorization/training": 5, "memorization": HOSTILE}, "No statistic: ", True),
        ({"memorization/training": 1e99, "data_copying/x": 0.5}, "", True),
        ({"memorization/training": "5", "data_copying/x": 0.5}, "", False),
    ]:
        file.write_text(json.dumps(found))
        text = write_report(folder).read_text()
        assert ("Samples, each next to its nearest training images" in text) == is_shown
        assert told in text
        assert HOSTILE not in text


@needs_browser
def test_a_report_renders_and_asks_for_nothing(browser, tmp_path):
    path = write_report(make(tmp_path / "run"))
    browser.open(path, width=1280, height=900)
    assert browser.complaints() == []
    asked = [url for url in browser.requests() if not url.startswith("data:image/png;base64,")]
    assert asked == [path.resolve().as_uri()]
    assert browser.value("document.querySelector('h1').textContent").startswith("WGAN")
    curves = "[...document.querySelectorAll('.plot polyline')].map(c => c.points.length)"
    counts = browser.value(curves)
    assert len(counts) >= 9
    assert min(counts) >= 5
    wide = "[...document.querySelectorAll('.plot polyline')].map(c => c.getBBox().width)"
    assert min(browser.value(wide)) > 500
    cells = "document.querySelectorAll('section:nth-of-type(5) tr')[{}].innerText"
    assert browser.value(cells.format(0)).split("\t") == [
        *("measure", "value", "standard error", "real against real", "samples")
    ]
    assert browser.value(cells.format(1)).split("\t")[1:] == ["0.25", "", "0.125", "2,000"]
    assert browser.value(cells.format(2)).split("\t")[1:] == ["3.5", "0.5", "0.75", ""]
    pixels = "[...document.images].every(i => i.complete && i.naturalWidth > 50 && i.alt)"
    assert browser.value(pixels)
    browser.screenshot(tmp_path / "page.png")
    shades = np.asarray(Image.open(tmp_path / "page.png").convert("L"))
    assert shades.std() > 5


@needs_browser
def test_a_report_fits_a_phone(browser, tmp_path):
    config = to_dict(Config()) | {"dataset": {"type": "TFDS", "name": "a_name_" * 30}}
    path = write_report(make(tmp_path / ("long-name-" * 10), config=config))
    browser.open(path, width=390, height=844)
    assert browser.value("document.documentElement.scrollWidth") == 390
    small = "Math.min(...[...document.querySelectorAll('text')].map(t => t.getBBox().height))"
    assert browser.value(small) >= 11
    past = "[...document.querySelectorAll('.labels text')].filter(t => {"
    past += "const r = t.getBoundingClientRect(); return r.left < 0 || r.right > 390}).length"
    assert browser.value(past) == 0


@needs_browser
def test_pictures_are_chosen_and_curves_read_out(browser, tmp_path):
    browser.open(write_report(make(tmp_path / "run")), width=1280, height=900)
    large = "document.querySelector('.large figcaption').textContent"
    assert browser.value(large) == "Samples after 3 iterations"
    browser.value("document.querySelector('.strip button').click()")
    assert browser.value(large) == "Samples after 1 iterations"
    key = "plot.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowLeft'}))"
    browser.value(f"{{ const plot = document.querySelector('.plot'); {key}; {key} }}")
    said = browser.value("document.querySelector('.readout').textContent")
    assert said == ("600: estimate 0.02 · lower bound 0.01667 · upper bound 0.025")
    browser.value("document.querySelectorAll('.plot')[1].scrollIntoView({block: 'center'})")
    box = json.loads(
        browser.value(
            "JSON.stringify(document.querySelectorAll('.plot')[1].getBoundingClientRect())"
        )
    )
    at = {"x": box["x"] + box["width"] - 1, "y": box["y"] + box["height"] / 2}
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", **at)
    said = browser.value("document.querySelectorAll('.readout')[1].textContent")
    assert said.startswith("1,000: training batches 0.0")


@needs_browser
def test_a_hostile_workdir_runs_nothing(browser, tmp_path):
    config = {
        **{"steps": HOSTILE, HOSTILE: HOSTILE, "dataset": {"type": HOSTILE, HOSTILE: [HOSTILE]}},
        **{"objective": {"type": HOSTILE}, "critic": {"type": 'MLP" onload="1', "x": "\ud800"}},
    }
    extra = {f"{HOSTILE}/{HOSTILE}": 1.0, f"health/gradient_norm/{HOSTILE}": 1e-9, HOSTILE: HOSTILE}
    workdir = make(tmp_path / "run", config=config, extra=extra)
    (workdir / "evaluation.json").write_text(json.dumps({HOSTILE: 1.0, "step": HOSTILE}))
    (workdir / "machine.json").write_text(json.dumps({HOSTILE: HOSTILE}))
    (workdir / "samples" / "9.png").write_text(f"<svg>{HOSTILE}</svg>")
    path = write_report(workdir)
    assert HOSTILE not in path.read_text()
    browser.open(path, width=390, height=844)
    assert browser.complaints() == []
    assert browser.value("document.title") != "taken"
    assert browser.value("document.scripts.length") == 1
    assert browser.value("document.querySelectorAll('[onload], [onerror]').length") == 0
    assert HOSTILE in browser.value("document.body.textContent")
    assert browser.value("document.documentElement.scrollWidth") == 390


@needs_browser
def test_the_policy_of_the_page_stops_what_escaping_would_miss(browser, tmp_path):
    path = write_report(make(tmp_path / "run"))
    path.write_text(path.read_text().replace("</main>", f"{HOSTILE}</main>"))
    browser.open(path, width=800, height=600)
    assert browser.value("document.title") != "taken"
    assert len(browser.complaints()) >= 2


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metrics.jsonl", '{"step": 1, "a": NaN, "b": 1e999}\n{"step": 2, "b": [1], "a": null}\n{'),
        ("metrics.jsonl", f'{{"step": {10**30}, "critic/loss": {10**400}}}\n[{{}}]\n'),
        ("metrics.jsonl", '{"step": 3, "health/gain": 9, "health/gain_error": 0.1}\n' * 2),
        ("metrics.jsonl", "[" * 100_000),
        ("evaluation.json", "[" * 100_000),
        ("evaluation.json", '{"step": "x", "w1": {"exact": {"value": 1}}, "n": true}'),
        ("machine.json", '{"cores": {"a": [1, {}]}}'),
        ("config.json", '{"steps": -1, "dataset": [], "objective": 3, "clip": "c"}'),
    ],
)
def test_files_that_are_odd_are_shown_as_far_as_they_go(name, text, tmp_path):
    workdir = make(tmp_path / "run")
    (workdir / name).write_text(text)
    assert "</html>" in write_report(workdir).read_text()


def test_data_of_the_users_own_go_by_the_name_of_their_file(tmp_path):
    config = {"dataset": {"type": "Folder", "path": "/home/me/holiday <2>.zip"}}
    assert (
        "on holiday &lt;2&gt;.zip</h1>" in write_report(make(tmp_path, config=config)).read_text()
    )


@pytest.mark.parametrize(
    ("parts", "title"),
    [
        ({}, "WGAN, weights clipped to ±0.01"),
        ({"penalty": GradientPenalty()}, "WGAN-GP, weights clipped to ±0.01"),
        ({"penalty": GradientPenalty(), "clip": None}, "WGAN-GP"),
        ({"clip": None}, "WGAN with an unconstrained MLP critic"),
        (
            {"clip": None, "critic": MLP(spectral_norm=True)},
            "WGAN with a spectrally normalized MLP critic",
        ),
        ({"clip": None, "critic": GroupSort()}, "WGAN with a GroupSort critic"),
        ({"objective": Hinge()}, "Hinge GAN, weights clipped to ±0.01"),
        ({"objective": JensenShannon(), "clip": None}, "Non-saturating GAN"),
    ],
)
def test_a_report_is_titled_by_all_that_constrains_the_critic(parts, title, tmp_path):
    workdir = make(tmp_path, config=to_dict(Config(**parts)))
    assert f">{title} on a ring of 8 Gaussians</h1>" in write_report(workdir).read_text()


def test_the_members_of_a_sweep_are_told_of(tmp_path):
    means = {"members": 3, "critic/loss/std": 0.5, "w1/exact": 2.0, "w1/exact/std": 1.0}
    workdir = make(tmp_path / "run", extra=means)
    rows = [{"member": k, "clip.c": 0.1 * k, "w1/exact": None, "step": 9} for k in range(70)]
    (workdir / "members.json").write_text(json.dumps(rows))
    text = write_report(workdir).read_text()
    assert "3 runs side by side" in text
    assert "the first 64 of 70" in text
    assert text.count("<td>6.3</td>") == 1
    assert "loss/std" not in text
    for odd in ("{}", "[1, []]", "[[[", '[{"a": {"b": 1}, "c": NaN}]'):
        (workdir / "members.json").write_text(odd)
        assert "</html>" in write_report(workdir).read_text()


def test_a_folder_that_is_no_workdir_is_told(tmp_path):
    for args in ([str(tmp_path)], [str(tmp_path / "nonesuch")], []):
        with pytest.raises(UserError):
            main(["report", *args])
    assert list(tmp_path.iterdir()) == []


def test_a_long_run_makes_no_long_report(tmp_path, capsys):
    short = make(tmp_path / "short", lines=300, images=12)
    long = make(tmp_path / "long", lines=20_000, images=40)
    for workdir in (short, long):
        assert main(["report", str(workdir)]) == 0
    sizes = [(workdir / "report.html").stat().st_size for workdir in (short, long)]
    assert sizes[1] < 1.6 * sizes[0]
    text = (long / "report.html").read_text()
    assert len(set(re.findall(r'data:image[^"]*', text))) == 12  # the data are the last of them
    assert "Samples after 40 iterations" in text
    assert capsys.readouterr().out.split() == [str(w / "report.html") for w in (short, long)]


def test_thinning_keeps_extremes_and_medians_keep_the_course():
    x = np.arange(10_000.0)
    y = np.where(x == 5_003, 50.0, np.where(x == 777, -50.0, x / 1e4))
    series = Series("", x, y, "a")
    few = thin(series)
    assert len(few.x) <= 600
    assert (few.y.max(), few.y.min()) == (50, -50)
    line = smooth(series)
    np.testing.assert_allclose(line.y, line.x / 1e4, atol=0.03)
    assert line.x[-1] == x[-1]


@pytest.mark.parametrize(
    ("low", "high", "log"),
    [(0, 1, False), (-3e-7, 2e-7, False), (1e-12, 1e9, True), (0.2, 0.27, True), (5, 5, False)],
)
def test_axes_have_a_few_round_ticks_within(low, high, log):
    axis = Axis(low, high, log)
    ticks = axis.ticks()
    assert 2 <= len(ticks) <= 7
    assert all(-1e-6 <= axis(tick) <= 1 + 1e-6 for tick in ticks)
    assert all(len(f"{tick:.3g}") < 9 for tick in ticks)


def test_one_point_makes_no_chart_and_a_log_axis_no_zero():
    one = Series("one", np.array([1.0]), np.array([1.0]), "a")
    assert chart("t", "u", [one]) is None
    zeros = Series("zeros", np.arange(3.0), np.zeros(3), "a")
    assert chart("t", "u", [zeros], log=True) is None
    assert "polyline" in chart("t", "u", [zeros])


def test_health_says_what_is_off_what_is_well_and_what_was_not_measured():
    answers = {v.question: v for v in verdicts([HEALTH])}
    assert [v.answer for v in answers.values()] == ["no", "yes", "yes", "yes"]
    assert answers["Room in the clip box?"].before == "Flagged in none of 1 evaluation."
    assert "raise n_critic" in answers["Trained enough?"].words
    still = HEALTH | {"health/gain": 0.0, "health/gain_error": 0.0, "health/step_cosine": 0.0}
    later = {v.question: v for v in verdicts([HEALTH, still])}
    assert later["Trained enough?"].answer == "not now"
    assert later["Trained enough?"].before == "Flagged in 1 of 2 evaluations."
    assert later["Room in the clip box?"].answer == "yes"
    noisy = verdicts([HEALTH | {"health/gain_error": 0.2}])[0]
    assert (noisy.question, noisy.answer) == ("Trained enough?", "unclear")
    assert "+80%, give or take 20%" in noisy.words


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([3.0, 2.0, 1.0], "W1 fell from 3 to 1"),
        ([-1.0, 0.0, 1.0], "W1 rose from −1 to 1"),  # noqa: RUF001  a minus sign
        ([4.19, 5.0, 4.16], "W1 stayed near 4.16"),
        ([0.0, 0.0], "W1 stayed near 0"),
        ([1.0], "W1"),
    ],
)
def test_titles_say_what_curves_do(values, told):
    lines = [{"step": k, "w": value} for k, value in enumerate(values)]
    assert curves.course("W1", lines, "w") == told


def test_text_in_markup_stays_text():
    assert tag("p", "<b>", title='"') == '<p title="&quot;">&lt;b&gt;</p>'


def test_a_report_is_kept_up_to_date_but_costs_little(tmp_path, monkeypatch, caplog):
    workdir, now = make(tmp_path / "run"), [0.0]
    monkeypatch.setattr(reporter.time, "monotonic", lambda: now[0])
    kept, report = Reporter(workdir), workdir / "report.html"
    assert json.loads((workdir / "machine.json").read_text())["cores"] >= 1
    kept.update()
    assert not report.exists()
    now[0] = 31
    kept.update()
    assert report.exists()
    report.unlink()
    kept.update()
    assert not report.exists()
    kept.update(last=True)
    assert report.exists()
    assert not list(workdir.glob("*.part"))
    (workdir / "config.json").unlink()
    kept.update(last=True)
    assert "could not be written" in caplog.text


@needs_browser
def test_the_browser_is_the_one_that_is_named(monkeypatch):
    monkeypatch.setenv("CHROMIUM", os.devnull)
    assert find() == os.devnull
