"""Random masks, against those of JAX."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.effort import examples
from reprise.models.draws import bernoulli

shapes = st.sampled_from([(1,), (7,), (3, 5), (2, 4, 6)])


@examples(20)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1), shapes)
def test_bernoulli_is_bitwise_that_of_jax(seed: int, chance: float, shape: tuple[int, ...]) -> None:
    key = jax.random.key(seed)
    np.testing.assert_array_equal(
        bernoulli(key, chance, shape), jax.random.bernoulli(key, chance, shape)
    )


def test_bernoulli_of_several_keys_is_that_of_each() -> None:
    keys = jax.random.split(jax.random.key(3), 4)
    every = jax.vmap(lambda key: bernoulli(key, 0.7, (50, 3)))(keys)
    for made, key in zip(every, keys, strict=True):
        np.testing.assert_array_equal(made, jax.random.bernoulli(key, 0.7, (50, 3)))
    assert np.asarray(every).mean() == pytest.approx(0.7, abs=0.08)
