"""Objectives of the game: values against the paper's formulas with logarithms, gradients against differences, stability."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minigan import check_loss, get_backend, losses
from minigan.checks.suite import check_objective, objective_table
from minigan.errors import OptionError

logits = hnp.arrays(np.float64, st.tuples(st.integers(1, 6), st.just(1)), elements=st.floats(-8, 8))
every_objective = pytest.mark.parametrize("objective", objective_table(), ids=repr)


def sigma(s):
    return 1 / (1 + np.exp(-s))


def subclasses(kind):
    return {kind, *(heir for child in kind.__subclasses__() for heir in subclasses(child))}


def test_every_objective_has_a_name_and_is_checked():
    public = {kind for kind in vars(losses).values() if isinstance(kind, type) and issubclass(kind, losses.Objective)}
    own = {kind for kind in subclasses(losses.Objective) if kind.__module__.startswith("minigan.")}
    assert public == own == {losses.Objective, *losses.OBJECTIVES.values()}
    assert set(losses.OBJECTIVES.values()) == {type(objective) for objective in objective_table()}
    assert all(name == name.lower() for name in losses.OBJECTIVES)


@given(logits, logits, st.sampled_from([0.0, 0.1, 0.3]), st.sampled_from([losses.NonSaturating, losses.Saturating]))
def test_discriminators_loss_is_the_papers(s_real, s_fake, smoothing, kind):
    loss, _ = kind(smoothing).discriminator(s_real, s_fake)
    d_real, d_fake, t = sigma(s_real), sigma(s_fake), 1 - smoothing
    expected = -np.mean(t * np.log(d_real) + (1 - t) * np.log(1 - d_real)) - np.mean(np.log(1 - d_fake))
    assert float(loss) == pytest.approx(expected, rel=1e-9)


@given(logits, st.sampled_from([0.0, 0.3]))
def test_generators_losses_are_the_papers(s, smoothing):
    """Smoothing is D's alone."""
    loss, _ = losses.NonSaturating(smoothing).generator(s)
    assert float(loss) == pytest.approx(-np.mean(np.log(sigma(s))), rel=1e-9)
    loss, _ = losses.Saturating(smoothing).generator(s)
    assert float(loss) == pytest.approx(np.mean(np.log(1 - sigma(s))), rel=1e-9)


@every_objective
@given(logits, logits)
def test_gradients_equal_differences(objective, s_real, s_fake):
    for report in check_objective(objective, s_real, s_fake, get_backend("textbook")):
        assert report.ok, str(report)


@every_objective
def test_on_every_backend(objective, backend):
    be, rng = get_backend(backend), np.random.default_rng(0)
    s_real, s_fake = 3 * rng.standard_normal((2, 6, 1))
    for report in check_objective(objective, s_real, s_fake, be):
        assert report.ok, str(report)
    bound = objective.bind(be)
    for quick, book in (
        (bound.discriminator(*map(be.asarray, (s_real, s_fake))), objective.discriminator(s_real, s_fake)),
        (bound.generator(be.asarray(s_fake), be.asarray(s_real)), objective.generator(s_fake, s_real)),
    ):
        for ours, expected in zip(flat(quick), flat(book), strict=True):
            np.testing.assert_allclose(be.to_numpy(ours), expected, rtol=1e-13)


def flat(result):
    loss, grads = result
    return [loss, *(grads if isinstance(grads, tuple) else (grads,))]


@every_objective
def test_bind_gives_a_copy(objective):
    be = get_backend("numpy")
    bound = objective.bind(be)
    assert type(bound) is type(objective)
    assert bound is not objective
    assert bound.backend is be
    assert objective.backend is get_backend("textbook")
    assert repr(bound) == repr(objective)


@every_objective
def test_extreme_logits_stay_finite_and_in_float32(objective, backend):
    """At |s| = 1000 the naive log(sigmoid(s)) is −∞ and its gradient NaN."""
    be = get_backend(backend)
    s, bound = be.asarray([[-1000.0], [-1.0], [1000.0]], "float32"), objective.bind(be)
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        found = [*flat(bound.discriminator(s, s)), *flat(bound.generator(s, s))]
    for value in found:
        assert be.owns(value)
        assert value.dtype == np.float32
        assert np.isfinite(be.to_numpy(value)).all()
    assert [value.shape for value in found] == [(), (3, 1), (3, 1), (), (3, 1)]


def test_extreme_values():
    s = np.array([[-1000.0], [-1.0], [1000.0]], np.float32)
    loss, gradient = losses.NonSaturating().generator(s)
    assert float(loss) == pytest.approx((1000 + math.log(1 + math.e)) / 3, rel=1e-5)
    np.testing.assert_allclose(gradient[[0, 2], 0], [-1 / 3, 0], atol=1e-7)
    loss, gradient = losses.Saturating().generator(s)
    np.testing.assert_allclose(gradient[[0, 2], 0], [0, -1 / 3], atol=1e-7)


def test_at_even_odds():
    s = np.zeros((4, 1))
    loss_d, (ds_real, ds_fake) = losses.NonSaturating().discriminator(s, s)
    assert float(loss_d) == pytest.approx(2 * math.log(2))
    np.testing.assert_allclose(ds_real, -1 / 8)
    np.testing.assert_allclose(ds_fake, 1 / 8)


def test_batches_of_different_sizes_have_a_mean_each():
    s_real, s_fake = np.zeros((4, 1)), np.zeros((2, 1))
    loss, (ds_real, ds_fake) = losses.NonSaturating().discriminator(s_real, s_fake)
    assert float(loss) == pytest.approx(2 * math.log(2))
    np.testing.assert_allclose(ds_real, -1 / 8)
    np.testing.assert_allclose(ds_fake, 1 / 4)


def test_smoothing():
    """D's best answer to real images is then 1 − α: there its gradient is 0."""
    s = np.full((3, 1), math.log(0.9 / 0.1))
    _, (ds_real, _) = losses.NonSaturating(0.1).discriminator(s, s)
    np.testing.assert_allclose(ds_real, 0, atol=1e-16)
    assert repr(losses.NonSaturating(0.1)) == "NonSaturating(smoothing=0.1)"
    assert repr(losses.Saturating()) == "Saturating()"


def test_an_objective_of_ones_own_says_what_it_lacks():
    class Half(losses.Objective):
        """Neither loss."""

    with pytest.raises(NotImplementedError, match="Half has no discriminator"):
        Half().discriminator(None, None)
    with pytest.raises(NotImplementedError, match="Half has no generator"):
        Half().generator(None)


@pytest.mark.parametrize("kind", losses.OBJECTIVES.values())
@pytest.mark.parametrize("smoothing", [-0.1, 1, 1.5, math.nan])
def test_errors(kind, smoothing):
    with pytest.raises(OptionError, match=rf"smoothing is {smoothing}: expected a number in \[0, 1\)"):
        kind(smoothing)


def test_a_wrong_gradient_is_seen():
    objective = losses.NonSaturating()
    s = np.array([[0.3], [-2.0]])
    assert check_loss(objective.generator, s, backend="textbook").ok
    doubled = lambda s: (objective.generator(s)[0], 2 * objective.generator(s)[1])  # noqa: E731
    assert not check_loss(doubled, s, backend="textbook", name="doubled").ok
