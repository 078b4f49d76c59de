"""The whole of what minigan has to prove, as `minigan gradcheck` runs it."""

import pytest

import minigan as mg
from minigan.backends.numpy.backend import NumpyBackend
from minigan.checks import suite
from minigan.checks.report import TOLERANCE, Report


@pytest.mark.slow_on_stand_in
def test_the_whole_suite(fast, monkeypatch, two_threads):
    """Large batches, every loss and both reference games at full size, below 1e-6; and a check for each layer of the table.

    The table's gradients are checked row by row in tests/layers, the second order of layers and every penalty in
    test_second_order, so one report stands for all of them here; games entry by entry in test_game, so one entry or one
    direction is enough here.
    """
    one = {"max_entries": 1}
    checked, check = [], suite.check_layer
    first = check(mg.Dense(4), (5,), backend=fast).rows

    def check_large(layer, shape, **options):
        checked.append((repr(layer), shape, options.get("train", True)))
        return check(layer, shape, **options, **one) if "batch" in options else Report(repr(layer), TOLERANCE, first)

    monkeypatch.setattr(suite, "check_layer", check_large)
    game = suite.check_game
    monkeypatch.setattr(suite, "check_game", lambda gan, real, **options: game(gan, real, **{**options, **one}))
    monkeypatch.setattr(
        suite, "check_second_order", lambda layer, *_, **__: Report(f"{layer!r}, second order", TOLERANCE, first)
    )
    monkeypatch.setattr(suite, "check_penalty", lambda *_, name, **__: Report(name, TOLERANCE, first))
    reports = list(suite.check_all(fast))
    assert [report.name for report in reports if not report.ok] == []
    for make, shape in suite.layer_table():
        assert (repr(make()), shape, True) in checked
        assert ((repr(make()), shape, False) in checked) == isinstance(
            make(), (mg.BatchNorm, mg.DiffAugment, mg.Dropout, mg.PhaseShuffle)
        )
    names = [report.name for report in reports]
    assert {f"{make()!r}, second order" for make, _ in suite.layer_table() if suite.has_second_order(make())} <= set(names)
    for penalty in suite.penalty_table():
        assert sum(name.startswith(f"{penalty!r} through a") for name in names) == len(suite.discriminator_table())
    for make, _, batch in suite.block_table():
        assert f"{make()!r} on a batch of {batch}" in names
    for objective in suite.objective_table():
        assert {f"{objective!r}.discriminator", f"{objective!r}.generator"} <= set(names)
    likelihoods = list(map(repr, suite.likelihood_table()))
    for other in ("bce_with_logits", "mse", "softmax_cross_entropy", "reparametrise", "gaussian_kl", *likelihoods):
        assert other in names
    for model, likelihood in zip(mg.models.MODELS["vae"], likelihoods, strict=True):
        assert f"game vae {model} ({likelihood})" in names
    games = ("mlp", "dcgan", "with R1 and R2 in one pass with the loss", "with classes and R1, likewise")
    assert names[-8:] == [f"game {model} ({mode})" for model in games for mode in ("full", "projection")]


def test_faults_between_blocks_turn_the_suite_red(monkeypatch, two_threads):
    """What only goes wrong where the numpy backend works in several blocks or threads."""
    spread = NumpyBackend._spread
    monkeypatch.setattr(
        NumpyBackend, "_spread", lambda self, *args, **options: spread(self, *args, **options)[:1]
    )  # other threads' sums are lost
    failed = {
        repr(make())
        for make, shape, batch in suite.block_table()
        if not mg.check_layer(make(), shape, batch=batch, backend="numpy", mode="projection", max_entries=1).ok
    }
    assert any(name.startswith("Conv2d") for name in failed)
    assert "BatchNorm()" in failed
