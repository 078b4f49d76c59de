"""Objectives of the game: values against the paper's formulas with logarithms, gradients against differences, stability."""

import inspect
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from planted_faults import compiled, faults
from ranks_in_threads import check_objective_over_ranks

from minigan import check_loss, get_backend, losses
from minigan.checks.suite import check_objective, objective_table
from minigan.errors import OptionError, ShapeError
from minigan.losses import relativistic, relativistic_average
from minigan.losses.base import PerSample

logits = hnp.arrays(np.float64, st.tuples(st.integers(1, 6), st.just(1)), elements=st.floats(-8, 8))
every_objective = pytest.mark.parametrize("objective", objective_table(), ids=repr)


def sigma(s):
    return 1 / (1 + np.exp(-s))


def subclasses(kind):
    return {kind, *(heir for child in kind.__subclasses__() for heir in subclasses(child))}


def test_every_objective_has_a_name_and_is_checked():
    public = {kind for kind in vars(losses).values() if isinstance(kind, type) and issubclass(kind, losses.Objective)}
    own = {kind for kind in subclasses(losses.Objective) if kind.__module__.startswith("minigan.")}
    assert public == own - {PerSample} == {losses.Objective, *losses.OBJECTIVES.values()}
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


def pairs():
    """Real and generated logits, as many of each."""
    shapes = st.tuples(st.just(2), st.integers(1, 6), st.just(1))
    return shapes.flatmap(lambda shape: hnp.arrays(np.float64, shape, elements=st.floats(-8, 8)))


@every_objective
@given(pairs())
def test_gradients_equal_differences(objective, both):
    assume(np.abs(np.abs(both) - 1).min() > 1e-3)  # where hinges bend
    s_real, s_fake = both
    for report in check_objective(objective, s_real, s_fake, get_backend("textbook")):
        assert report.ok, str(report)


@pytest.mark.slow_on_stand_in
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
    """At |s| = 1000 the naive log(sigmoid(s)) is −∞ and its gradient NaN. Exponentials that stand in the formula overflow."""
    be = get_backend(backend)
    far = 80.0 if isinstance(objective, (losses.KL, losses.ReverseKL)) else 1000.0
    s, bound = be.asarray([[-far], [-1.0], [far]], "float32"), objective.bind(be)
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        found = [*flat(bound.discriminator(s, s)), *flat(bound.discriminator(s, -s)), *flat(bound.generator(s, -s))]
    for value in found:
        assert be.owns(value)
        assert value.dtype == np.float32
        assert np.isfinite(be.to_numpy(value)).all()
    assert [value.shape for value in found] == [(), (3, 1), (3, 1), (), (3, 1), (3, 1), (), (3, 1)]


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


@pytest.mark.parametrize("kind", [losses.NonSaturating, losses.Saturating])
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


# -- objectives whose s is a score ---------------------------------------------------------------------------------------


def mean(values):
    return values.mean()


# L_D and L_G as the papers print them, in PyTorch's own functions.
def torch_forms():
    import torch
    from torch.nn import functional as f

    one, zero = torch.ones_like, torch.zeros_like
    bce = f.binary_cross_entropy_with_logits
    return {
        "non-saturating": (lambda r, k: bce(r, one(r)) + bce(k, zero(k)), lambda k, r: bce(k, one(k))),
        "saturating": (lambda r, k: bce(r, one(r)) + bce(k, zero(k)), lambda k, r: -bce(k, zero(k))),
        "least-squares": (
            lambda r, k: (f.mse_loss(r, one(r)) + f.mse_loss(k, zero(k))) / 2,
            lambda k, r: f.mse_loss(k, one(k)) / 2,
        ),
        "hinge": (lambda r, k: mean(f.relu(1 - r)) + mean(f.relu(1 + k)), lambda k, r: -mean(k)),
        "wasserstein": (lambda r, k: mean(k) - mean(r), lambda k, r: -mean(k)),
        "relativistic": (lambda r, k: bce(r - k, one(r)), lambda k, r: bce(k - r, one(k))),
        "relativistic-average": (
            lambda r, k: bce(r - mean(k), one(r)) + bce(k - mean(r), zero(k)),
            lambda k, r: bce(k - mean(r), one(k)) + bce(r - mean(k), zero(r)),
        ),
        "kl": (lambda r, k: mean(torch.exp(k - 1)) - mean(r), lambda k, r: -mean(torch.exp(k - 1))),
        "reverse-kl": (
            lambda r, k: mean(torch.exp(-r)) - mean(1 + torch.log(torch.exp(-k))),
            lambda k, r: mean(1 + torch.log(torch.exp(-k))),
        ),
        "pearson": (lambda r, k: mean(k * k / 4 + k) - mean(r), lambda k, r: -mean(k * k / 4 + k)),
    }


@pytest.mark.parametrize("name", losses.OBJECTIVES)
@given(pairs())
def test_against_torch(name, both):
    torch = pytest.importorskip("torch")
    assume(np.abs(np.abs(both) - 1).min() > 1e-9)
    s_real, s_fake = both
    objective, (loss_d, loss_g) = losses.OBJECTIVES[name](), torch_forms()[name]
    real, fake = (torch.tensor(s, requires_grad=True) for s in both)
    value, (ds_real, ds_fake) = objective.discriminator(s_real, s_fake)
    expected = loss_d(real, fake)
    assert float(value) == pytest.approx(expected.item(), rel=1e-9, abs=1e-12)
    for ours, theirs in zip((ds_real, ds_fake), torch.autograd.grad(expected, (real, fake)), strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-9, atol=1e-12)
    value, ds = objective.generator(s_fake, s_real)
    expected = loss_g(fake, real)
    assert float(value) == pytest.approx(expected.item(), rel=1e-9, abs=1e-12)
    np.testing.assert_allclose(ds, torch.autograd.grad(expected, fake)[0].numpy(), rtol=1e-9, atol=1e-12)


def test_closed_forms():
    """The best D against samples like the data knows nothing, and says so."""
    r, k = np.array([[3.0], [1.0]]), np.array([[-1.0], [0.5]])
    assert float(losses.LeastSquares().discriminator(r, k)[0]) == pytest.approx((4 + 0) / 4 + (1 + 0.25) / 4)
    assert float(losses.Hinge().discriminator(r, k)[0]) == pytest.approx((0 + 0) / 2 + (0 + 1.5) / 2)
    assert float(losses.Wasserstein().discriminator(r, k)[0]) == pytest.approx(-0.25 - 2)
    same = np.zeros((2, 1))
    assert float(losses.Relativistic().discriminator(same, same)[0]) == pytest.approx(math.log(2))
    assert float(losses.RelativisticAverage().discriminator(same, same)[0]) == pytest.approx(2 * math.log(2))


@given(st.floats(0.2, 4), st.floats(0.2, 4))
def test_the_best_score_gives_the_divergence(p, q):
    """At a point where data have density p and samples q: L_D is flat at T = f'(p/q), and is there −q f(p/q)."""
    u = p / q
    best = {losses.KL: 1 + math.log(u), losses.ReverseKL: math.log(u), losses.Pearson: 2 * (u - 1)}
    divergence = {losses.KL: u * math.log(u), losses.ReverseKL: -math.log(u), losses.Pearson: (u - 1) ** 2}
    for kind, s in best.items():
        objective, at = kind(), np.array([[s]])
        value, slope = (p * a + q * b for a, b in zip(objective.real(np, at), objective.fake(np, at), strict=True))
        assert slope.item() == pytest.approx(0, abs=1e-9)
        assert value.item() == pytest.approx(-q * divergence[kind], rel=1e-9, abs=1e-9)


def test_relativistic_ones_see_differences_alone():
    """A shift of all scores changes neither loss."""
    s_real, s_fake = np.random.default_rng(0).standard_normal((2, 5, 1))
    for kind in (losses.Relativistic, losses.RelativisticAverage):
        for ours, shifted in zip(
            (*flat(kind().discriminator(s_real, s_fake)), *flat(kind().generator(s_fake, s_real))),
            (*flat(kind().discriminator(s_real + 7, s_fake + 7)), *flat(kind().generator(s_fake + 7, s_real + 7))),
            strict=True,
        ):
            np.testing.assert_allclose(ours, shifted, rtol=1e-9)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ShapeError, match=r"in pairs, and have shapes \(3, 1\) and \(2, 1\)"):
        losses.Relativistic().discriminator(np.zeros((3, 1)), np.zeros((2, 1)))
    for kind in (losses.Relativistic, losses.RelativisticAverage):
        with pytest.raises(ShapeError, match=r"give generator.* the logits of real images too"):
            kind().generator(np.zeros((3, 1)))
    losses.RelativisticAverage().discriminator(np.zeros((3, 1)), np.zeros((2, 1)))


# -- planted faults ------------------------------------------------------------------------------------------------------

SCORES = [kind for kind in losses.OBJECTIVES.values() if not kind.is_logit]
TERMS = [
    *(
        (kind, name)
        for kind in SCORES
        if issubclass(kind, PerSample)
        for name in vars(kind)
        if name in PerSample.__annotations__
    ),
    *((relativistic, name) for name in ("pair_loss", "pair_grad")),
    *((relativistic_average, name) for name in ("raised", "lowered", "average_grad")),
    *((kind, "_paid") for kind in (losses.Relativistic, losses.RelativisticAverage)),
]


def objective_is_caught():
    """Whether differences or PyTorch's formulas see it."""
    both = np.array([[[0.3], [-2.0], [1.7], [0.0]], [[0.2], [2.5], [0.0], [-1.4]]])
    torch = pytest.importorskip("torch")
    real, fake = (torch.tensor(s) for s in both)
    forms = torch_forms()

    def wrong(name):
        objective, (loss_d, loss_g) = losses.OBJECTIVES[name](), forms[name]
        if any(ds.shape != (4, 1) for ds in (*objective.discriminator(*both)[1], objective.generator(both[1], both[0])[1])):
            return True
        values = float(objective.discriminator(*both)[0]), float(objective.generator(both[1], both[0])[0])
        expected = float(loss_d(real, fake)), float(loss_g(fake, real))
        return values != pytest.approx(expected) or not all(
            report.ok for report in check_objective(objective, *both, get_backend("textbook"))
        )

    def seen(name):
        try:
            return wrong(name)
        except Exception:  # a fault may break it altogether
            return True

    def seen_over_ranks(kind):
        try:
            check_objective_over_ranks(kind(), *both)
        except Exception:
            return True
        return False

    kinds = {name: kind for name, kind in losses.OBJECTIVES.items() if not kind.is_logit}
    return any(seen(name) for name in kinds) or any(seen_over_ranks(kind) for kind in kinds.values())


@pytest.mark.parametrize(("owner", "name"), TERMS, ids=lambda part: getattr(part, "__name__", part))
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_every_fault_in_a_score_is_caught(owner, name, monkeypatch):
    assert not objective_is_caught(), "the real ones pass"
    given = inspect.getattr_static(owner, name)
    function = getattr(given, "__func__", given)
    for description, tree in faults(function):
        with monkeypatch.context() as patch:
            faulty = compiled(tree, inspect.getmodule(function))
            for same in [other for other, value in vars(owner).items() if value is given]:
                patch.setattr(owner, same, type(given)(faulty) if function is not given else faulty)
            assert objective_is_caught(), description
