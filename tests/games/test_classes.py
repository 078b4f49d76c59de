"""Games with classes: the score of a sample and its label, its gradients in the whole step, samples by class, bad labels."""

import inspect

import numpy as np
import pytest
from planted_faults import faults, is_caught
from small_games import IMAGE, no_complaint, same

import minigan as mg
from minigan.checks.suite import objective_table, penalty_table
from minigan.data import Batches, Dataset
from minigan.errors import ModelError, OptionError, ShapeError
from minigan.losses import Score
from minigan.losses import score as score_module

K, SHAPE = 3, (4, 4, 1)
REAL = np.random.default_rng(0).uniform(-1, 1, (4, *SHAPE))
LABELS = np.array([2, 0, 0, 1])


def game(backend="textbook", dtype="float64", middle=None, **options):
    """middle: layers in the midst of D, else it is piecewise linear."""
    g = mg.models.mlp(SHAPE, 3, 5, backend, dtype, classes=K)[0]
    layers = [mg.Flatten(), mg.Dense(5), *(middle or [mg.LeakyReLU(0.2)]), mg.Dense(1 + K)]
    return mg.GAN(g, mg.Sequential(layers, SHAPE, backend, dtype, 1), classes=K, **options)


# -- the score ---------------------------------------------------------------------------------------------------------


def test_the_score_is_what_the_paper_says(backend):
    """s(x, y) = ψᵀφ + c + v_yᵀφ + d_y, written out."""
    be, rng = mg.get_backend(backend), np.random.default_rng(0)
    phi, w, bias = rng.standard_normal((4, 5)), rng.standard_normal((5, 1 + K)), rng.standard_normal(1 + K)
    expected = [phi[n] @ w[:, 0] + bias[0] + phi[n] @ w[:, 1 + y] + bias[1 + y] for n, y in enumerate(LABELS)]
    score = Score(be, be.asarray(np.eye(K)[LABELS]))
    o = be.asarray(phi @ w + bias)
    np.testing.assert_allclose(be.to_numpy(score.value(o))[:, 0], expected, rtol=1e-14)
    ds = rng.standard_normal((4, 1))
    do, h = be.to_numpy(score.backward(be.asarray(ds))), 1e-6
    for place in np.ndindex(4, 1 + K):
        step = h * (np.arange(4 * (1 + K)).reshape(4, 1 + K) == place[0] * (1 + K) + place[1])
        up, down = (be.to_numpy(score.value(be.asarray(phi @ w + bias + sign * step))) for sign in (1, -1))
        assert ((up - down) * ds).sum() / (2 * h) == pytest.approx(do[place], abs=1e-8)
    ones = be.asarray(np.ones((4, 1)))
    np.testing.assert_array_equal(be.to_numpy(score.upstream(o)), be.to_numpy(score.backward(ones)))


def test_without_labels_the_score_is_what_d_puts_out():
    be = mg.get_backend("textbook")
    o, ds = np.arange(3.0)[:, None], np.ones((3, 1))
    assert Score(be).value(o) is o
    assert Score(be).backward(ds) is ds
    np.testing.assert_array_equal(Score(be).upstream(o), np.ones((3, 1)))


# -- the whole step ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", objective_table(), ids=repr)
def test_every_objective(objective):
    report = mg.check_game(game(objective=objective), REAL, labels=LABELS, mode="projection")
    assert report.ok, str(report)


@pytest.mark.parametrize("penalty", penalty_table(), ids=repr)
@pytest.mark.parametrize("middle", [[], [mg.BatchNorm(), mg.Tanh()]], ids=["shared pass", "three sweeps"])
def test_every_penalty(penalty, middle):
    middle = [layer.fresh() for layer in middle]
    own = game(middle=middle, penalties=[penalty, mg.losses.R1(0.5)])
    report = mg.check_game(own, REAL, labels=LABELS, mode="projection", max_entries=2)
    assert report.ok, str(report)


def test_convolutions_critic_steps_lazy_penalties_and_noise():
    own = mg.GAN(
        *mg.models.dcgan((8, 8, 1), 5, 2, extra_conv=True, backend="numpy", classes=K),
        **{"classes": K, "critic_steps": 2, "instance_noise": 0.2},
        **{"penalties": [mg.losses.R1(2.0), mg.losses.GradientPenalty(1.0)], "penalty_every": 2},
    )
    for net in own.networks.values():
        net.flat_params *= 6  # else gradients are of the size of the differences' rounding
    real = np.random.default_rng(0).uniform(-1, 1, (4, 8, 8, 1))
    report = mg.check_game(own, real, labels=LABELS, mode="projection", max_entries=1)
    assert report.ok, str(report)


def test_labels_say_which_class_is_pulled():
    """A class that no label names moves nothing of its own: neither its row of G's first layer nor D's output for it."""
    own = game()
    before = {name: net.params[key].copy() for name, key, net in _of_classes(own)}
    own.step(REAL, labels=np.array([0, 0, 1, 1]))
    for name, key, net in _of_classes(own):
        moved = net.params[key] - before[name]
        of_class = moved[3:] if name == "G" else moved.T[1:]
        assert [bool(part.any()) for part in of_class] == [True, True, False], name


def _of_classes(own):
    g, d = own.generator, own.discriminator
    return (("G", "0.weight", g), ("D", "3.weight", d))


# -- planted faults ----------------------------------------------------------------------------------------------------


def step_is_caught(kind=mg.GAN):
    def check(**options):
        own = game(**options)
        own.__class__ = kind
        return is_caught(lambda: mg.check_game(own, REAL, labels=LABELS, mode="projection", max_entries=2))

    r1, compares = {"penalties": [mg.losses.R1(2.0)]}, {"objective": mg.losses.Relativistic()}
    return check(**r1) or check(middle=[mg.Tanh()], **r1) or check(**compares)


@pytest.mark.parametrize("name", ["value", "backward", "upstream"])
def test_every_fault_in_the_score_is_caught(name, monkeypatch):
    """value: against the written-out score; its gradients: in the whole step, against differences."""
    be, rows = mg.get_backend("textbook"), np.eye(K)[LABELS]
    o = np.random.default_rng(0).standard_normal((4, 1 + K))
    expected = o[:, 0] + o[np.arange(4), 1 + LABELS]
    from planted_faults import compiled

    planted = list(faults(getattr(Score, name)))
    assert planted
    for description, tree in planted:
        with monkeypatch.context() as patch:
            patch.setattr(Score, name, compiled(tree, score_module))
            try:
                is_wrong = name == "value" and not np.allclose(Score(be, rows).value(o)[:, 0], expected)
            except Exception:
                is_wrong = True
            assert is_wrong or step_is_caught(), description


FAULTS = {
    "G's images are judged without their labels": ("score.value(o_judged)", "o_judged[:, :1]"),
    "the gradient of G's images goes to the logit alone": ("score.backward(ds_fake)", "0 * score.t + [1, 0, 0, 0] * ds_fake"),
    "D's gradient without labels": ("[score.backward(part) for part in ds]", "[part + 0 * score.t for part in ds]"),
    "the penalties without labels": ("self.penalties, d.grads, score)", "self.penalties, d.grads, Score(self.backend, 0 * y))"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_the_labels_way_through_the_step_is_caught(name):
    from minigan.games import gan as gan_module

    source = inspect.cleandoc("\n" + inspect.getsource(mg.GAN.compute))
    old, new = FAULTS[name]
    assert source.count(old) == 1
    scope = {}
    exec(source.replace(old, new), vars(gan_module), scope)

    def caught(**options):
        own = game(**options)
        own.__class__ = type("Rewritten", (mg.GAN,), dict(scope))
        return is_caught(lambda: mg.check_game(own, REAL, labels=LABELS, mode="projection", max_entries=2))

    assert caught() or caught(penalties=[mg.losses.R1(2.0)])


# -- PyTorch -----------------------------------------------------------------------------------------------------------


class TorchGame:
    """The same game in PyTorch: its networks from ours, its gradients and R1's by autodiff, and its Adam."""

    def __init__(self, own, lr, betas, r1):
        self.torch, self.r1 = pytest.importorskip("torch"), r1
        self.nets = [self._linear(net) for net in (own.generator, own.discriminator)]
        self.optimizers = [self.torch.optim.Adam([p for pair in net for p in pair], lr, betas) for net in self.nets]

    def _linear(self, net):
        names = sorted({name.partition(".")[0] for name in net.params}, key=int)
        tensors = [[self.torch.tensor(net.params[f"{n}.{part}"].copy()) for part in ("weight", "bias")] for n in names]
        return [[t.requires_grad_() for t in pair] for pair in tensors]

    def generate(self, z, y):
        (w0, b0), (w1, b1) = self.nets[0]
        return self.torch.tanh(self.torch.relu(self.torch.cat([z, y], 1) @ w0 + b0) @ w1 + b1)

    def judge(self, x, y):
        """The projection discriminator as its paper draws it: a linear ψ, and an embedding of the label."""
        (w0, b0), (w1, b1) = self.nets[1]
        phi = self.torch.nn.functional.leaky_relu(x @ w0 + b0, 0.2)
        embedded = y @ w1[:, 1:].T
        return phi @ w1[:, :1] + b1[0] + (phi * embedded).sum(1, keepdim=True) + (y @ b1[1:])[:, None]

    def step(self, real, z, y):
        torch, zeta = self.torch, self.torch.nn.functional.softplus
        real, z, y = (torch.tensor(a.reshape(len(a), -1)) for a in (real, z, y))
        fake, x = self.generate(z, y), real.requires_grad_()
        s_real = self.judge(x, y)
        loss = zeta(-s_real).mean() + zeta(self.judge(fake.detach(), y)).mean()
        if self.r1:
            (g,) = torch.autograd.grad(s_real.sum(), x, create_graph=True)
            loss = loss + self.r1 / 2 * (g**2).sum(1).mean()
        self._update(1, loss)
        self._update(0, zeta(-self.judge(fake, y)).mean())

    def _update(self, which, loss):
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss.backward()
        self.optimizers[which].step()

    def weights(self):
        return [p.detach().numpy() for net in self.nets for pair in net for p in pair]


@pytest.mark.parametrize("r1", [0.0, 3.0])
def test_ten_steps_are_pytorchs(r1):
    own = game("numpy", lr=2e-3, betas=(0.5, 0.99), penalties=[mg.losses.R1(r1)] if r1 else [])
    theirs, rng = TorchGame(own, 2e-3, (0.5, 0.99), r1), np.random.default_rng(1)
    for _ in range(10):
        real, z, numbers = rng.uniform(-1, 1, (6, *SHAPE)), rng.standard_normal((6, 3)), rng.integers(0, K, 6)
        own.step(real, z, labels=numbers)
        theirs.step(real, z, np.eye(K)[numbers])
    ours = [a for net in (own.generator, own.discriminator) for a in net.params.values()]
    for a, b in zip(ours, theirs.weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-9)


# -- captured ----------------------------------------------------------------------------------------------------------

LABELLED = Dataset(
    "labelled",
    np.random.default_rng(0).integers(0, 256, (20, *IMAGE), dtype=np.uint8),
    np.random.default_rng(1).integers(0, K, 20),
    class_names=("a", "b", "c"),
)
CAPTURED = {
    "dense, with a penalty": lambda be: mg.GAN(
        *mg.models.mlp(IMAGE, 5, 6, backend=be, classes=K), classes=K, ema=0.9, penalties=[mg.losses.R1(2.0)]
    ),
    "dcgan, critic steps": lambda be: mg.GAN(
        *mg.models.dcgan(IMAGE, 5, 3, backend=be, classes=K),
        **{"classes": K, "critic_steps": 2, "penalties": [mg.losses.GradientPenalty(2.0)]},
    ),
}


@pytest.mark.parametrize("name", CAPTURED)
def test_captured_it_is_the_same_to_the_bit(fast, name):
    results, be = [], mg.get_backend(fast)
    for captured in (False, True):
        own, batches = CAPTURED[name](be), Batches(LABELLED, 6, be, classes=True)
        step = mg.capture(own, batches, no_complaint) if captured else None
        stats = [step() if step else own.step(batches.next(), **batches.labels()) for _ in range(8)]
        values = [{key: be.to_numpy(value).item() for key, value in each.items()} for each in stats]
        results.append((values, own.state_dict(), own.random_state, batches.state))
    assert same(*results)
    if step.phase == "eager":  # work for several threads, beside which Python's share is nothing
        assert name.startswith("dcgan")


# -- samples -----------------------------------------------------------------------------------------------------------


def test_samples_of_a_class_do_not_depend_on_how_they_are_asked_for(backend):
    own = game(backend, "float32", ema=0.5)
    own.step(own.backend.asarray(REAL, "float32"), labels=LABELS)
    in_turn, all_one = own.sample(7, seed=1), own.sample(7, seed=1, classes=1)
    assert in_turn.shape == (7, *SHAPE)
    np.testing.assert_array_equal(in_turn, own.sample(7, seed=1, classes=np.arange(7) % K))
    np.testing.assert_array_equal(all_one, own.sample(7, seed=1, classes=[1] * 7))
    np.testing.assert_array_equal(in_turn[1::K], all_one[1::K])
    assert np.abs(in_turn[0] - all_one[0]).max() > 0, "one z, two classes"
    np.testing.assert_array_equal(own.sample(7, seed=1), own.decode(own.latent(7, 1)))
    assert (own.latent_dim, own.latent(2).shape) == (3, (2, 3))


@pytest.mark.parametrize("classes", [3, -1, 1.0, "7", [0, 1], [0, 1, 3], [[0, 1, 2]], True, 10**30])
def test_a_class_that_is_none_is_refused(classes):
    with pytest.raises(OptionError, match=r"^classes is .*: expected a class from 0 to 2, 3 of them"):
        game().sample(3, classes=classes)


def test_a_game_without_classes_takes_none():
    plain = mg.GAN(*mg.models.mlp(SHAPE, 3, 5, backend="textbook", dtype="float64"))
    with pytest.raises(OptionError, match="classes is 1, and this game takes no labels"):
        plain.sample(3, classes=1)
    with pytest.raises(ShapeError, match="labels are given, and this game takes none"):
        plain.step(REAL, labels=np.eye(K)[LABELS])


@pytest.mark.parametrize(
    "labels",
    [None, np.eye(K)[LABELS][:3], np.eye(K + 1)[LABELS], np.eye(K, dtype="f4")[LABELS], np.zeros((4, K, 1)), "labels"],
)
def test_labels_that_do_not_fit_are_refused_before_anything_moves(labels):
    own = game()
    before = own.state_dict()
    with pytest.raises(ShapeError, match=r"^labels is .*: expected one-hot rows \(4, 3\), float64 on textbook") as caught:
        own.step(REAL, labels=labels)
    assert len(str(caught.value)) <= 300
    assert all(np.array_equal(value, before[name]) for name, value in own.state_dict().items())


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [0, -1, 0, 0], [0, 1], [0.5, 1, 1, 1]])
def test_class_numbers_that_are_none_are_refused(labels):
    with pytest.raises(OptionError, match=r"^classes is "):
        game().step(REAL, labels=labels)


def test_networks_that_do_not_fit():
    g, d = mg.models.mlp(SHAPE, 3, 5, backend="textbook", classes=K)
    plain_g, plain_d = mg.models.mlp(SHAPE, 2, 5, backend="textbook")
    with pytest.raises(ModelError, match=r"must end in 1 \+ 3 outputs for its classes, shape \(4,\); it ends in \(1,\)"):
        mg.GAN(g, plain_d, classes=K)
    with pytest.raises(ModelError, match=r"must end in one logit, shape \(1,\); it ends in \(4,\)"):
        mg.GAN(g, d)
    with pytest.raises(ModelError, match=r"beside 3 numbers for the class; it takes \(2,\)"):
        mg.GAN(plain_g, d, classes=K)
    for classes in (-1, 2.5, "3", None):
        with pytest.raises(OptionError, match="classes"):
            mg.GAN(g, d, classes=classes)
    packed = mg.models.mlp(SHAPE, 3, 5, backend="textbook", classes=K, pack=2)
    with pytest.raises(OptionError, match="pack is 2, and a game with classes judges one image at a time"):
        mg.GAN(*packed, classes=K, pack=2)
