"""Optimal plans between clouds: solvers, and the check of what they give.

Solvers lose what is small beside the largest cost: one point at 1e16 swallows the
distances of all others. So costs that no optimal plan can use are capped and the plan is
found again, and no plan is believed unless its cost meets a lower bound.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy

from wgan_jax.errors import install_extra

_RANGE = 1e7  # of the largest cost over the mean one that float64 solvers are trusted with
_TOLERANCE = 1e-7  # of the plan's cost, by which it may exceed a lower bound
_TRIES = 24
_LARGEST_PROGRAM = 4_000_000


class Plan(NamedTuple):
    """Where mass goes: `mass[k]` from point `rows[k]` to point `columns[k]`.

    `low` is a lower bound of the least cost.
    """

    rows: np.ndarray
    columns: np.ndarray
    mass: np.ndarray
    low: float

    def paid(self, cost: np.ndarray) -> float:
        return float(np.sum(self.mass * cost[self.rows, self.columns]))


Solver = Callable[[np.ndarray], Plan]


def optimal_plan(
    cost: np.ndarray, a: np.ndarray | None = None, b: np.ndarray | None = None
) -> Plan:
    """The plan of least cost [n, m] from masses a [n] to masses b [m], checked.

    Without masses, the assignment of n to n points with a mass of 1 each. The masses must have
    one sum. Whole numbers are best: they are moved without rounding.

    Raises:
      ValueError: no plan that meets its lower bound, or too many points for a linear program.

    Example:
      >>> import numpy as np
      >>> far = np.array([[1e16, 1e16 + 4, 2], [1, 3, 1e16], [3, 1, 1e16]])
      >>> plan = optimal_plan(far)
      >>> plan.columns, plan.paid(far)
      (array([2, 0, 1]), 4.0)
    """
    if not np.isfinite(cost).all():
        raise ValueError("points are too far apart for their distances to be numbers; rescale them")
    solve = _assignment if a is None or b is None else _flow(a, b)
    total = len(cost) if a is None else float(a.sum())
    least = 1.0 if a is None or b is None else _least_mass(a, b)
    largest = cap = float(cost.max())
    best: Plan | None = None
    paid, scale = np.inf, float(cost.mean()) or 1.0
    for _ in range(_TRIES):
        capped = cost if cap >= largest else np.minimum(cost, cap)
        plan = solve(capped / scale)
        plan = plan._replace(low=plan.low * scale)
        found = plan.paid(cost)
        if best is None or found <= paid:
            best, paid = plan, found
        if paid == 0 or (cap <= _RANGE * paid / total and paid - plan.low <= _TOLERANCE * paid):
            return best._replace(low=plan.low)
        # No optimal plan moves a unit of mass at a higher cost than it pays for all.
        if cap > paid / least:
            cap = min(1.01 * paid / least, largest)
        elif scale <= paid / total:
            cap = min(100 * cap, largest)
        scale = paid / total
    raise ValueError(
        f"no plan between {cost.shape[0]} and {cost.shape[1]} points could be checked: distances "
        f"go up to {largest:.3g} and the best plan found pays {paid / total:.6g}; leave out the "
        "points that lie apart"
    )


def _least_mass(a: np.ndarray, b: np.ndarray) -> float:
    """What a basic plan moves at least: masses that are whole numbers are never divided."""
    whole = all((z == np.round(z)).all() for z in (a, b))
    return 1.0 if whole else 10 * float(a.sum()) / _RANGE


def _assignment(cost: np.ndarray) -> Plan:
    rows, columns = scipy.optimize.linear_sum_assignment(cost)
    plan = Plan(rows, columns, np.ones(len(cost)), 0.0)
    return plan._replace(low=plan.paid(cost))


def _flow(a: np.ndarray, b: np.ndarray) -> Solver:
    try:
        from ot.lp import emd
    except ImportError:
        return lambda cost: _linear_program(cost, a, b)

    def solve(cost: np.ndarray) -> Plan:
        flow, log = emd(a, b, cost, numItermax=100 * cost.size, log=True)
        if log["warning"] is not None:
            raise ValueError(f"no optimal plan for {len(a)} by {len(b)} points: {log['warning']}")
        return _plan(flow, cost, log["u"], a, b)

    return solve


def _linear_program(cost: np.ndarray, a: np.ndarray, b: np.ndarray) -> Plan:
    n, m = cost.shape
    if n * m > _LARGEST_PROGRAM:
        raise ValueError(
            f"{n} by {m} points are too many for the linear program of unequal sizes or weights; "
            f"install POT ({install_extra('transport')}), or take clouds of equal size "
            "without weights"
        )
    rows = scipy.sparse.kron(scipy.sparse.eye_array(n), np.ones((1, m)))
    columns = scipy.sparse.kron(np.ones((1, n)), scipy.sparse.eye_array(m))
    marginals = scipy.sparse.vstack([rows, columns], format="csr")
    unit = float(a.sum()) / max(n, m)
    masses = np.concatenate([a, b]) / unit
    solution = scipy.optimize.linprog(cost.ravel(), A_eq=marginals, b_eq=masses, method="highs")
    if not solution.success:
        raise ValueError(f"no optimal plan for {n} by {m} points: {solution.message}")
    return _plan(unit * solution.x.reshape(n, m), cost, solution.eqlin.marginals[:n], a, b)


def _plan(flow: np.ndarray, cost: np.ndarray, u: np.ndarray, a: np.ndarray, b: np.ndarray) -> Plan:
    """The plan that moves `flow` [n, m], beside the dual value of potentials that start from u."""
    moved = [np.abs(flow.sum(1) - a).max(), np.abs(flow.sum(0) - b).max()]
    if not max(moved) <= _TOLERANCE * max(a.max(), b.max()):
        raise ValueError(
            f"the plan between {len(a)} and {len(b)} points does not move their masses"
        )
    v = np.min(cost - u[:, None], axis=0)
    u = np.min(cost - v[None, :], axis=1)
    rows, columns = np.nonzero(flow)
    return Plan(rows, columns, flow[rows, columns], float(u @ a + v @ b))
