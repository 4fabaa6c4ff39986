import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional

from t2v import training


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    # Nets this small gain nothing from a second thread, and lose much where other tests keep the cores busy.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def digits() -> training.Split:
    return training.mnist(train=300, test=300, side=7, seed=0)


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([w.detach().ravel() for w in model.parameters()])


def blobs(n: int = 120, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    x = rng.normal(size=(n, 2)) * 0.3 + 3 * np.eye(3)[y][:, :2]
    return torch.from_numpy(x).float(), torch.from_numpy(y)


@pytest.mark.parametrize("optimizer", training.OPTIMIZERS)
def test_one_step_is_the_optimisers_step(optimizer: str) -> None:
    # Oracle: full batch, one epoch, against torch's optimiser driven by hand.
    x, y = blobs()
    model, other = training.mlp((2, 8, 3), seed=1), training.mlp((2, 8, 3), seed=1)
    training.fit(model, x, y, epochs=1, lr=0.1, batch_size=len(x), optimizer=optimizer)
    steps = {
        "sgd": torch.optim.SGD(other.parameters(), lr=0.1, momentum=0.9),
        "adam": torch.optim.Adam(other.parameters(), lr=0.1),
    }[optimizer]
    functional.cross_entropy(other(x), y).backward()
    steps.step()
    torch.testing.assert_close(weights(model), weights(other), atol=1e-5, rtol=1e-4)


def test_history_is_what_the_model_does() -> None:
    x, y = blobs()
    model = training.mlp((2, 16, 3), seed=0)
    start = functional.cross_entropy(model(x), y).item()
    history = training.fit(model, x, y, epochs=1, batch_size=len(x), x_test=x[:10], y_test=y[:10])
    assert history.loss[0] == pytest.approx(start, rel=1e-5)  # the mean over samples before the only step
    assert history.train_accuracy[0] == pytest.approx(float((model(x).argmax(1) == y).float().mean()))
    assert len(history.test_accuracy) == 1
    history = training.fit(model, x, y, epochs=30, lr=0.01, every=7)
    assert history.epoch == [7, 14, 21, 28, 30]
    assert history.test_accuracy == []
    assert history.train_accuracy[-1] > 0.95


def test_loss_is_a_mean_over_samples_also_with_a_ragged_last_batch() -> None:
    x, y = blobs(10)
    model = training.mlp((2, 4, 3), seed=0)
    want = functional.cross_entropy(model(x), y).item()
    # lr is too small to move anything: batches of 8 and 2 must average to the whole.
    history = training.fit(model, x, y, epochs=1, lr=1e-12, batch_size=8, optimizer="sgd")
    assert history.loss[0] == pytest.approx(want, rel=1e-5)


def test_same_seed_same_weights_and_the_callers_random_state_is_left_alone() -> None:
    x, y = blobs()

    def run(seed: int) -> torch.Tensor:
        model = training.mlp((2, 16, 3), seed=0)
        model.insert(2, nn.Dropout(0.5))
        training.fit(model, x, y, epochs=2, batch_size=16, seed=seed)
        return weights(model)

    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = run(0)
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(7)
    assert torch.equal(first, run(0))
    assert not torch.equal(first, run(1))


def test_model_is_left_in_eval_mode_and_callback_sees_every_epoch() -> None:
    x, y = blobs()
    model = training.mlp((2, 4, 3))
    seen: list[tuple[int, bool]] = []
    training.fit(model, x, y, epochs=3, every=3, on_epoch=lambda epoch: seen.append((epoch, model.training)))
    assert seen == [(1, False), (2, False), (3, False)]
    assert not model.training


def test_penalty_is_added_once_a_step() -> None:
    x, y = blobs()
    model = training.mlp((2, 4, 3), seed=0)
    plain = training.fit(model, x, y, epochs=1, lr=1e-12, optimizer="sgd", batch_size=7).loss[0]
    loaded = training.fit(
        model, x, y, epochs=1, lr=1e-12, optimizer="sgd", batch_size=7, penalty=lambda m: torch.tensor(2.5)
    ).loss[0]
    assert loaded - plain == pytest.approx(2.5, abs=1e-4)
    model = training.mlp((2, 4, 3), seed=0)
    training.fit(
        model,
        x,
        y,
        epochs=300,
        lr=0.05,
        penalty=lambda m: 100 * sum(w.square().sum() for w in m.parameters()),
    )
    assert float(weights(model).abs().max()) < 0.05


def test_loss_that_is_not_finite_names_the_epoch() -> None:
    x, y = blobs()
    calls = 0

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return functional.cross_entropy(logits, labels) * (float("nan") if calls == 3 else 1.0)

    with pytest.raises(FloatingPointError, match="loss is nan in epoch 3"):
        training.fit(training.mlp((2, 4, 3)), x, y, epochs=5, batch_size=len(x), loss=loss)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": torch.zeros(119, dtype=torch.long)}, r"x has 120 samples and y 119"),
        ({"y": torch.zeros(120)}, r"y has shape \(120,\) and type torch.float32"),
        ({"y": torch.full((120,), 3)}, r"y runs from 3 to 3; accepted: 0 … 2"),
        ({"y": torch.arange(120) // 30}, r"y runs from 0 to 3"),
        ({"y": torch.full((120,), -1)}, r"y runs from -1 to -1"),
        ({"x": torch.full((120, 2), float("nan"))}, r"x has values that are not finite"),
        ({"epochs": 0}, r"epochs is 0; accepted: an integer of at least 1"),
        ({"batch_size": 0}, r"batch_size is 0"),
        ({"every": 0}, r"every is 0"),
        ({"lr": 0.0}, r"lr is 0.0; accepted: a number above 0"),
        ({"lr": float("nan")}, r"lr is nan"),
        ({"lr": float("inf")}, r"lr is inf"),
        ({"optimizer": "lbfgs"}, r"unknown optimizer 'lbfgs'; accepted: adam, sgd"),
        ({"x_test": torch.zeros(3, 2)}, r"x_test and y_test go together"),
        ({"x_test": torch.zeros(3, 2), "y_test": torch.zeros(2, dtype=torch.long)}, r"x_test has 3 samples"),
    ],
)
def test_bad_input_is_named(change: dict, message: str) -> None:
    x, y = blobs()
    arguments = {"x": x, "y": y, **change}
    with pytest.raises(ValueError, match=message):
        training.fit(training.mlp((2, 4, 3)), arguments.pop("x"), arguments.pop("y"), **arguments)


def test_arrays_and_models_that_do_not_fit_are_refused() -> None:
    x, y = blobs()
    with pytest.raises(TypeError, match="x is a ndarray; accepted: a torch tensor"):
        training.fit(training.mlp((2, 4, 3)), x.numpy(), y)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"accepted: logits \(n, classes\)"):
        training.fit(nn.Sequential(nn.Linear(2, 1), nn.Flatten(0)), x, y)
    frozen = training.mlp((2, 4, 3)).requires_grad_(False)
    with pytest.raises(ValueError, match="nothing to train"):
        training.fit(frozen, x, y)


def test_accuracy_and_logits_give_the_mode_back() -> None:
    x, y = blobs()
    model = training.mlp((2, 4, 3)).train()
    want = float((model(x).argmax(1) == y).double().mean())
    assert training.accuracy(model, x, y) == want
    assert model.training
    torch.testing.assert_close(training.logits_of(model, x, batch_size=7), model(x))
    model[1].eval()  # a layer that its owner has fixed stays so in a model that trains
    training.accuracy(model, x, y)
    assert [m.training for m in model.modules()] == [True, True, False, True, True]


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8])
def test_labels_of_any_integer_type_serve(dtype: torch.dtype) -> None:
    x, y = blobs()
    model, other = training.mlp((2, 4, 3)), training.mlp((2, 4, 3))
    training.fit(model, x, y, epochs=1)
    training.fit(other, x, y.to(dtype), epochs=1)
    assert torch.equal(weights(model), weights(other))


def test_networks_have_the_parameters_that_they_should() -> None:
    assert training.n_parameters(training.mlp((784, 64, 10))) == 785 * 64 + 65 * 10
    width = 6
    convolutions = 10 * width + (9 * width + 1) * 2 * width
    want = convolutions + (32 * width + 1) * 8 * width + (8 * width + 1) * 10
    net = training.convnet(width)
    assert training.n_parameters(net) == want
    assert net(torch.zeros(3, 1, 28, 28)).shape == net(torch.zeros(3, 1, 14, 14)).shape == (3, 10)
    net[0].requires_grad_(False)
    assert training.n_parameters(net) == want - 10 * width
    assert torch.equal(weights(training.convnet(3, seed=4)), weights(training.convnet(3, seed=4)))
    assert not torch.equal(weights(training.convnet(3, seed=4)), weights(training.convnet(3, seed=5)))
    with pytest.raises(ValueError, match=r"sizes is \(5,\)"):
        training.mlp((5,))
    with pytest.raises(ValueError, match="width is 0"):
        training.convnet(0)


def test_mnist_is_disjoint_and_pooled(digits: training.Split) -> None:
    assert digits.x.shape == (300, 1, 7, 7)
    assert digits.x.dtype == torch.float32
    assert digits.y.dtype == torch.int64
    assert 0 <= float(digits.x.min()) <= float(digits.x.max()) <= 1
    large = training.mnist(train=300, test=300, side=28, seed=0)
    block = large.x[5, 0, 4:8, 8:12].mean()
    assert float(digits.x[5, 0, 1, 2]) == pytest.approx(float(block), rel=1e-5)
    standard = training.mnist(train=300, test=300, side=7, seed=0, standardize=True)
    assert float(standard.x.mean()) == pytest.approx(0, abs=1e-5)
    assert float(standard.x.std()) == pytest.approx(1, rel=1e-4)
    want = (digits.x_test - digits.x.mean()) / digits.x.std()  # the test part never enters the scale
    torch.testing.assert_close(standard.x_test, want)
    everything = training.mnist(train=3000, test=2000, side=28)
    rows = torch.cat([everything.x, everything.x_test]).flatten(1)
    assert len(torch.unique(rows, dim=0)) == 5000  # all images differ, so the two parts are disjoint
    assert torch.equal(torch.bincount(torch.cat([everything.y, everything.y_test])), torch.full((10,), 500))
    with pytest.raises(ValueError, match="together at most 5000"):
        training.mnist(train=4000, test=2000)
    with pytest.raises(ValueError, match="side is 10; accepted: a divisor of 28"):
        training.mnist(side=10)


def test_a_small_net_learns_the_digits() -> None:
    d = training.mnist(train=300, test=300, standardize=True)
    history = training.fit(
        training.convnet(8), d.x, d.y, epochs=20, lr=4e-3, x_test=d.x_test, y_test=d.y_test
    )
    assert history.train_accuracy[-1] > 0.98
    assert history.test_accuracy[-1] > 0.8
    assert history.loss[-1] < 0.2 < history.loss[0]


def by_heart(seed: int, fraction: float = 1.0) -> training.History:
    # Whatever the training labels, the test labels are the true ones: on shuffled ones anything is at chance.
    d = training.mnist(train=100, test=1000, standardize=True, seed=seed)
    y = training.shuffled(d.y, fraction=fraction, seed=seed)
    test = {"x_test": d.x_test, "y_test": d.y_test, "every": 60}
    net = training.convnet(16, seed=seed)
    return training.fit(net, d.x, y, epochs=60, lr=2e-3, batch_size=25, seed=seed, **test)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_small_net_fits_shuffled_labels(seed: int) -> None:
    # C07, small: by heart, and without learning to read (a tenth of the labels stayed by chance).
    history = by_heart(seed)
    assert history.train_accuracy[-1] > 0.97
    assert history.test_accuracy[-1] < 0.3


def test_the_same_net_generalises_on_true_labels() -> None:
    # C07's control: same net, same 100 images, the labels as they are.
    history = by_heart(0, fraction=0.0)
    assert history.train_accuracy[-1] > 0.97
    assert history.test_accuracy[-1] > 0.7


def linear_rule(seed: int, fraction: float, c: float = 100.0, steps: int = 2000) -> tuple[float, float]:
    """Fit 170 weights to chapter 2's labels; the share that is fitted, and the largest slope left (nats)."""
    d = training.mnist(train=300, test=1, side=4, standardize=True, seed=seed)
    y = training.shuffled(d.y, fraction=fraction, seed=seed).numpy()
    x = d.x.flatten(1).numpy().astype(float)
    rule = LogisticRegression(C=c, max_iter=steps).fit(x, y)
    residual = rule.predict_proba(x) - np.eye(10)[y]
    return rule.score(x, y), float(np.abs(residual.T @ x).max() / len(x))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_converged_linear_rule_does_not_fit_shuffled_labels(seed: int) -> None:
    # C07's control: that training ends near 1 is no matter of course. A narrow network is no such control, as
    # time makes it fit; here the loss is convex, a slope of zero is the optimum, and no more steps can help.
    share, slope = linear_rule(seed, 1.0)
    assert slope < 2e-3
    assert share < 0.4
    assert linear_rule(seed, 1.0, steps=4000)[0] == share
    assert abs(linear_rule(seed, 1.0, c=1e4)[0] - share) < 0.03  # nor is it the penalty, a hundredth here
    assert linear_rule(seed, 0.0)[0] > 0.75  # the same rule does fit what can be learned


def test_memorise_shatters_eight_samples() -> None:
    # C06: all 2^8 labellings, one after the other, by a net of 32 features and eight units.
    x = training.mnist(train=8, test=1, standardize=True).x
    for k in range(2**8):
        net = training.convnet(1, classes=2)
        y = torch.tensor([k >> i & 1 for i in range(8)])
        training.memorise(net, x, y)
        assert torch.equal(net(x).argmax(1), y)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_memorise_holds_any_labels_of_600_digits(seed: int) -> None:
    # C06: twice the 300 samples of chapter 2, labels from a die; the convolutions stay as they were drawn.
    x = training.mnist(train=600, test=1, standardize=True, seed=seed).x
    y = torch.from_numpy(np.random.default_rng(seed).integers(0, 10, 600))
    net, start = training.convnet(16, seed=seed), training.convnet(16, seed=seed)
    assert training.accuracy(net, x, y) < 0.3
    training.memorise(net, x, y, seed=seed)
    assert training.accuracy(net, x, y) == 1
    assert torch.equal(net[0].weight, start[0].weight)
    assert torch.equal(net[3].weight, start[3].weight)


def test_memorise_says_where_it_ends() -> None:
    x = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))
    y = torch.arange(12) % 3
    training.memorise(training.mlp((5, 4, 3)), x[:10], y[:10])
    # 5 features and a constant are independent for 6 samples a half, and for no more.
    with pytest.raises(ValueError, match="accepted: as many dimensions as samples"):
        training.memorise(training.mlp((5, 4, 3)), torch.randn(20, 5), torch.arange(20) % 3)
    with pytest.raises(ValueError, match="at least four units"):
        training.memorise(training.mlp((5, 3, 3)), x, y)
    with pytest.raises(ValueError, match="Linear, ReLU, Linear"):
        training.memorise(training.mlp((5, 4, 3), activation=nn.Tanh), x, y)
    with pytest.raises(ValueError, match="memorise: y runs from 0 to 2; accepted: 0 … 1"):
        training.memorise(training.mlp((5, 4, 2)), x, y)
    with pytest.raises(ValueError, match="memorise: x has 1 samples; accepted: at least 2"):
        training.memorise(training.mlp((5, 4, 3)), x[:1], y[:1])


@pytest.mark.parametrize("fraction", [0.0, 0.5, 1.0])
def test_shuffled_keeps_the_counts(fraction: float, digits: training.Split) -> None:
    y = training.shuffled(digits.y, fraction=fraction, seed=3)
    assert torch.equal(torch.bincount(y), torch.bincount(digits.y))
    # a permuted label is its own again with chance 1/10: 0.9 of what was shuffled changes
    assert float((y != digits.y).double().mean()) == pytest.approx(0.9 * fraction, abs=0.06)
    assert torch.equal(y, training.shuffled(digits.y, fraction=fraction, seed=3))
    with pytest.raises(ValueError, match="fraction is 2"):
        training.shuffled(digits.y, fraction=2)
