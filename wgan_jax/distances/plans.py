"""Optimal transport plans between point clouds: solvers, and a check of their results.

Solvers lose precision relative to the largest cost: one point at 1e16 swamps the distances
of all others. So costs that no optimal plan can use are capped and the plan is solved
again, and a plan is accepted only if its cost meets a lower bound.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy

from wgan_jax.errors import install_extra

_RANGE = 1e7  # largest ratio of maximum to mean cost trusted to float64 solvers
_TOLERANCE = 1e-7  # relative excess of a plan's cost over the lower bound
_TRIES = 24
_LARGEST_PROGRAM = 4_000_000


class Plan(NamedTuple):
    """A transport plan: `mass[k]` moves from point `rows[k]` to point `columns[k]`.

    `low` is a lower bound on the optimal cost.
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
    """Compute and check the plan of least cost, for a cost matrix [n, m] and masses a [n], b [m].

    Without masses, it is the assignment of n to n points with a mass of 1 each. The masses must
    have equal sums. Integers are best: they are moved without rounding.

    Raises:
      ValueError: no plan meets its lower bound, or too many points for a linear program.

    Example:
      >>> import numpy as np
      >>> far = np.array([[1e16, 1e16 + 4, 2], [1, 3, 1e16], [3, 1, 1e16]])
      >>> plan = optimal_plan(far)
      >>> plan.columns, plan.paid(far)
      (array([2, 0, 1]), 4.0)
    """
    if not np.isfinite(cost).all():
        raise ValueError("points are so far apart that their distances overflow; rescale them")
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
        plan_cost = plan.paid(cost)
        if best is None or plan_cost <= paid:
            best, paid = plan, plan_cost
        if paid == 0 or (cap <= _RANGE * paid / total and paid - plan.low <= _TOLERANCE * paid):
            return best._replace(low=plan.low)
        # No optimal plan moves a unit of mass at more than the total cost.
        if cap > paid / least:
            cap = min(1.01 * paid / least, largest)
        elif scale <= paid / total:
            cap = min(100 * cap, largest)
        scale = paid / total
    raise ValueError(
        f"no plan between {cost.shape[0]} and {cost.shape[1]} points passed the check: distances "
        f"go up to {largest:.3g} and the best plan costs {paid / total:.6g}; leave out the "
        "outlying points"
    )


def _least_mass(a: np.ndarray, b: np.ndarray) -> float:
    """The smallest mass that a basic plan moves: integer masses are never divided."""
    are_integers = all((z == np.round(z)).all() for z in (a, b))
    return 1.0 if are_integers else 10 * float(a.sum()) / _RANGE


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
    """The plan that moves `flow` [n, m], with the dual value of potentials improved from u."""
    moved = [np.abs(flow.sum(1) - a).max(), np.abs(flow.sum(0) - b).max()]
    if not max(moved) <= _TOLERANCE * max(a.max(), b.max()):
        raise ValueError(
            f"the plan between {len(a)} and {len(b)} points does not preserve their masses"
        )
    v = np.min(cost - u[:, None], axis=0)
    u = np.min(cost - v[None, :], axis=1)
    rows, columns = np.nonzero(flow)
    return Plan(rows, columns, flow[rows, columns], float(u @ a + v @ b))
