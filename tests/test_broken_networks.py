"""The faults that `check_network` catches, measured on deliberately broken networks.

`python tests/test_broken_networks.py` prints the table of docs/testing.md.
"""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from broken_networks import REAL, critic, dropout, scores
from broken_programs import FAULTS_OF_PROGRAMS
from broken_scores import FAULTS_OF_SCORES, NOT_CAUGHT
from broken_state import FAULTS_OF_STATE

from wgan_jax.testing import check_network

DOCS = Path(__file__).parents[1] / "docs" / "testing.md"

FAULTS = [*FAULTS_OF_SCORES, *FAULTS_OF_STATE, *FAULTS_OF_PROGRAMS, *NOT_CAUGHT]
CAUGHT = [fault for fault in FAULTS if fault.property]
MISSED = [fault for fault in FAULTS if not fault.property]


@pytest.fixture(autouse=True)
def as_users_have_it():
    """Turns off JAX's own checkers, which users' tests rarely enable."""
    with (
        jax.debug_key_reuse(False),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
    ):
        yield


@pytest.mark.parametrize("fault", CAUGHT, ids=lambda fault: fault.what)
@pytest.mark.filterwarnings("ignore:invalid value", "ignore:divide by zero")
def test_a_broken_network_is_caught_with_its_cause(fault):
    with pytest.raises(AssertionError) as failure:
        check_network(fault.network, fault.x, scores=True, **fault.options)
    message = str(failure.value)
    assert message.startswith(f"check_network, {fault.property}"), message
    assert fault.says in message


@pytest.mark.slow  # each passes all properties, which compiles much
@pytest.mark.parametrize("fault", MISSED, ids=lambda fault: fault.what)
def test_what_is_said_not_to_be_caught_is_not(fault):
    check_network(fault.network, fault.x, scores=True, **fault.options)


def test_a_sound_network_like_the_broken_ones_passes():
    sound = critic(lambda p, x, train, key: scores(p, dropout(x, key) if train else x))
    check_network(sound, REAL, scores=True, lipschitz=10.0, compute_dtype=jnp.float32)


def row(fault):
    caught = f"`{fault.property}` | {fault.says}" if fault.property else "not caught |"
    return f"| {fault.what} | {caught} |"


def test_the_documentation_tells_of_these_networks():
    table = DOCS.read_text().partition("<!-- faults -->")[2].partition("<!-- end")[0]
    told = re.findall(r"^\| .*\|$", table, re.MULTILINE)
    assert told[1:] == [row(fault) for fault in FAULTS]  # without its head
    assert len(CAUGHT) >= 40
    assert len({fault.what for fault in FAULTS}) == len(FAULTS)


if __name__ == "__main__":
    print(*map(row, FAULTS), sep="\n")
