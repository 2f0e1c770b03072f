"""Adam for the packed item table, in the three variants of `OPTIMIZERS`:

adam       dense, as TensorFlow's AdamOptimizer: every row moves at every step, rows without a
           gradient by their momentum. The cost depends on the number of items.
row-adam   the same trajectory at a cost that depends on the batch: a row's pending updates are
           applied in closed form when it is next used.
lazy-adam  rows outside the batch do not move, nor do their moments decay.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpy.typing import NDArray

from reprise.training import item_table
from reprise.training.schedules import CONSTANT, Schedule
from reprise.training.state import Arrays

B1 = 0.9
B2 = 0.999
EPSILON = 1e-8
# Ratio of one step without gradient to the one before it, ignoring epsilon; and the same ratio for
# the correction by epsilon.
_RATIOS = (B1 / B2**0.5, B1 / B2)
_WARM = 2**15  # updates after which the bias correction is 1 in float32
_BLOCK = 4096  # rows per block of `apply_all`, which avoids a second copy of the table

ApplyPending = Callable[[Arrays, int, float], Arrays]


class Update(NamedTuple):
    """An update's number (from 1), its learning rate, and `rate`: the learning rate times schedule
    and bias correction.
    """

    number: ArrayLike
    learning_rate: ArrayLike
    rate: ArrayLike


class Table(NamedTuple):
    """The item table [V+1, 3*d] float32 (value | m | v) and, for row-adam, the last update applied
    to each row, [V+1] int32 (otherwise zero).
    """

    rows: Array
    row_steps: Array


class Pulled(NamedTuple):
    """Value, m and v of the unique rows before the update, [M, d] each."""

    value: Array
    m: Array
    v: Array


@dataclass(frozen=True)
class Optimizer:
    """A way of updating the item rows.

    Attributes:
        pull: pull(table, unique_rows [M], update) returns the unique rows before the update.
        push: push(table, unique_rows, pulled, gradient [M, d], update) returns the table after the
            update; rows past the end are dropped.
        apply_all: apply_all(table, number, learning_rate) returns the table with the pending
            updates of all rows applied, up to update `number`.
        up_to_date: up_to_date(rows before the update, their last updates [M], update) returns them
            with the updates that are pending; None: none ever is.
        by_row: Whether rows without a gradient need no work.
    """

    pull: Callable[[Table, ArrayLike, Update], Pulled]
    push: Callable[[Table, ArrayLike, Pulled, Array, Update], Table]
    apply_all: Callable[[Table, ArrayLike, ArrayLike], Table]
    up_to_date: Callable[[Pulled, Array, Update], Pulled] | None = None
    by_row: bool = True


def make_update(learning_rate: float, number: int, schedule: Schedule = CONSTANT) -> Update:
    """Return update `number` (from 1) of a run, with the rate of TensorFlow's Adam,
    lr * sqrt(1 - b2^t) / (1 - b1^t), times the schedule's factor.
    """
    return Update(number, learning_rate, learning_rate * float(_rate(np.array(number), schedule)))


def make_updates(learning_rate: float, numbers: Iterable[int], schedule: Schedule) -> Update:
    """Return the updates of these numbers stacked along a first axis (int32, float32, float32)."""
    made = [make_update(learning_rate, number, schedule) for number in numbers]
    number, rate, scheduled = zip(*made, strict=True)
    return Update(
        np.array(number, np.int32), np.array(rate, np.float32), np.array(scheduled, np.float32)
    )


def adam(
    value: Array, m: Array, v: Array, gradient: Array, rate: ArrayLike
) -> tuple[Array, Array, Array]:
    """Apply one Adam update to arrays of one shape; `rate` includes the bias correction."""
    m = B1 * m + (1 - B1) * gradient
    v = B2 * v + (1 - B2) * jnp.square(gradient)
    return value - rate * m / (jnp.sqrt(v) + EPSILON), m, v


def apply_pending(
    held: Pulled,
    row_steps: Array,
    number: ArrayLike,
    learning_rate: ArrayLike,
    schedule: Schedule = CONSTANT,
) -> Pulled:
    """Apply dense Adam's updates without gradient to rows [M, d], from their last updates
    `row_steps` [M] up to update `number`.

    Update t + j moves such a row by c(t+j) b1^j m / (b2^(j/2) sqrt(v) + epsilon), where c is the
    rate with bias correction and schedule. If epsilon shrank like the root, n updates would add up
    to m / D * S(r), with D = sqrt(v) + epsilon, r = b1 / sqrt(b2), S(r) = sum of r^j c(t+j) for
    j = 1..n. A constant epsilon reduces this, to first order, by
    m / D * epsilon / D * (S(b1 / b2) - S(r)); the remaining error is below (epsilon / D)^2 / 5000
    of the movement. A row never used (m = 0) does not move, and n = 0 is bitwise the identity.
    """
    waited = jnp.asarray(number) - row_steps
    shrinking, staying = (
        learning_rate * _pending_sum(ratio, row_steps, number, waited, schedule)[:, None]
        for ratio in _RATIOS
    )
    root = jnp.sqrt(held.v) + EPSILON
    movement = held.m / root * (shrinking - EPSILON / root * (staying - shrinking))
    m_kept, v_kept = (_power(base, waited)[:, None] for base in (B1, B2))
    return Pulled(held.value - movement, held.m * m_kept, held.v * v_kept)


def _pending_sum(
    ratio: float, last_update: Array, number: ArrayLike, waited: Array, schedule: Schedule
) -> Array:
    """Return the sum of ratio^j c(t+j) over the `waited` steps j after t = `last_update`, at
    learning rate 1: A(t) - ratio^n A(t+n) with the infinite sums A of `_momentum_ahead`.
    """
    ahead = jnp.asarray(_momentum_ahead(ratio, schedule))
    here, there = (ahead[jnp.minimum(t, len(ahead) - 1)] for t in (last_update, number))
    return here - _power(ratio, waited) * there


def _power(base: float, exponent: Array) -> Array:
    return jnp.exp(exponent * jnp.float32(np.log(base)))


def _rate(number: NDArray[np.integer], schedule: Schedule) -> NDArray[np.float64]:
    """Return sqrt(1 - b2^t) / (1 - b1^t) times the schedule's factor, float64."""
    rate: NDArray[np.float64] = np.sqrt(1 - B2**number) / (1 - B1**number)
    return rate * schedule.factor(number)


@cache
def _momentum_ahead(ratio: float, schedule: Schedule) -> NDArray[np.float32]:
    """Return A(t) = sum of ratio^j c(t+j), j >= 1, at learning rate 1 for t = 0..max(_WARM, end of
    the schedule), after which c is constant. Backward recurrence in float64.
    """
    last = max(_WARM, schedule.end)
    rate = _rate(np.arange(1, last + 1), schedule)
    ahead = np.empty(last + 1)
    ahead[-1] = ratio / (1 - ratio) * float(schedule.factor(np.array(last)))
    for t in reversed(range(last)):
        ahead[t] = ratio * (rate[t] + ahead[t + 1])
    return ahead.astype(np.float32)


def _pull(table: Table, unique_rows: ArrayLike, update: Update) -> Pulled:
    return Pulled(*item_table.pull(table.rows, unique_rows))


def _pull_up_to_date(
    schedule: Schedule, table: Table, unique_rows: ArrayLike, update: Update
) -> Pulled:
    held = Pulled(*item_table.pull(table.rows, unique_rows))
    return _up_to_date(schedule, held, _last_updates(table, unique_rows), update)


def _up_to_date(schedule: Schedule, held: Pulled, last_update: Array, update: Update) -> Pulled:
    return apply_pending(held, last_update, update.number - 1, update.learning_rate, schedule)


def _last_updates(table: Table, unique_rows: ArrayLike) -> Array:
    return table.row_steps.at[unique_rows].get(mode="clip")


def _push(
    table: Table, unique_rows: ArrayLike, pulled: Pulled, gradient: Array, update: Update
) -> Table:
    updated = adam(*pulled, gradient, update.rate)
    return table._replace(rows=item_table.push(table.rows, unique_rows, *updated))


def _push_and_note(
    table: Table, unique_rows: ArrayLike, pulled: Pulled, gradient: Array, update: Update
) -> Table:
    pushed = _push(table, unique_rows, pulled, gradient, update)
    # Computed from the old values, so that the write depends on the read: without that order, XLA
    # would copy the step numbers of all rows at each step.
    number = jnp.maximum(_last_updates(table, unique_rows), update.number)
    noted = table.row_steps.at[unique_rows].set(number, mode="drop", unique_indices=True)
    return pushed._replace(row_steps=noted)


def _push_dense(
    table: Table, unique_rows: ArrayLike, pulled: Pulled, gradient: Array, update: Update
) -> Table:
    value, m, v = item_table.split(table.rows)
    scattered = (
        jnp.zeros_like(value).at[unique_rows].set(gradient, mode="drop", unique_indices=True)
    )
    return table._replace(rows=item_table.join(*adam(value, m, v, scattered, update.rate)))


def _apply_pending_to_all(
    schedule: Schedule, table: Table, number: ArrayLike, learning_rate: ArrayLike
) -> Table:
    size = min(_BLOCK, len(table.rows))

    def apply_to_block(block: ArrayLike, held: Array) -> Array:
        start = jnp.minimum(block * size, len(table.rows) - size)
        waiting = Pulled(*item_table.split(jax.lax.dynamic_slice_in_dim(held, start, size)))
        last_update = jax.lax.dynamic_slice_in_dim(table.row_steps, start, size)
        # The last block overlaps the one before it.
        done = start + jnp.arange(size) < block * size
        last_update = jnp.where(done, number, last_update)
        applied = apply_pending(waiting, last_update, number, learning_rate, schedule)
        return jax.lax.dynamic_update_slice_in_dim(held, item_table.join(*applied), start, 0)

    blocks = -(-len(table.rows) // size)
    applied = jax.lax.fori_loop(0, blocks, apply_to_block, table.rows)
    return Table(applied, jnp.full_like(table.row_steps, number))


def _nothing_pending(table: Table, number: ArrayLike, learning_rate: ArrayLike) -> Table:
    return table


def _row_adam(schedule: Schedule) -> Optimizer:
    apply_all = partial(_apply_pending_to_all, schedule)
    pull, up_to_date = (partial(one, schedule) for one in (_pull_up_to_date, _up_to_date))
    return Optimizer(pull, _push_and_note, apply_all, up_to_date)


# Each is built for the schedule that its updates follow.
OPTIMIZERS: dict[str, Callable[[Schedule], Optimizer]] = {
    "row-adam": _row_adam,
    "adam": lambda schedule: Optimizer(_pull, _push_dense, _nothing_pending, by_row=False),
    "lazy-adam": lambda schedule: Optimizer(_pull, _push, _nothing_pending),
}


def parameter(arrays: Arrays, name: str) -> Pulled:
    """Return a parameter and its moments."""
    return Pulled(arrays.params[name], arrays.m[name], arrays.v[name])


def with_parameter(arrays: Arrays, name: str, new: Pulled, steps: Array) -> Arrays:
    """Return the arrays with another parameter of `Arrays.steps`."""
    return arrays._replace(
        params=arrays.params | {name: new.value},
        m=arrays.m | {name: new.m},
        v=arrays.v | {name: new.v},
        steps=arrays.steps | {name: steps},
    )


@cache
def make_apply_pending(optimizer: str, schedule: Schedule = CONSTANT) -> ApplyPending:
    """Return apply(arrays, number, learning rate) -> arrays, which applies the pending updates of
    all item rows up to update `number`; `arrays` is donated.
    """
    return jax.jit(apply_all_of(optimizer, schedule), donate_argnums=0)


def apply_all_of(optimizer: str, schedule: Schedule) -> Callable[..., Arrays]:
    """Return the function of `make_apply_pending`, to be traced by JAX."""
    apply_to_table = OPTIMIZERS[optimizer](schedule).apply_all

    def apply_all(arrays: Arrays, number: ArrayLike, learning_rate: ArrayLike) -> Arrays:
        table = apply_to_table(Table(arrays.rows, arrays.row_steps), number, learning_rate)
        made = arrays._replace(**table._asdict())
        for name, steps in arrays.steps.items():
            held = Table(item_table.join(*parameter(arrays, name)), steps)
            own = apply_to_table(held, number, learning_rate)
            made = with_parameter(made, name, Pulled(*item_table.split(own.rows)), own.row_steps)
        return made

    return apply_all
