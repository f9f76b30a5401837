"""Proxies from other papers against values computed by hand, and what holds for all of them."""

import copy
import functools
import inspect
import math

import pytest
import torch
from prescreen.search_spaces import nas_bench_201
from torch import nn

from benchmarks import baselines

K = 1e-5
# Log 2 and the like are exact to the sixth digit in float32.
approx = functools.partial(pytest.approx, rel=1e-5)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Networks have few weights: on a busy machine threads would only wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def linear(weight, bias=None):
    weight = torch.tensor(weight, dtype=torch.float32)
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(torch.tensor(bias, dtype=torch.float32))
    return layer


def two_layers():
    """The image (3, -2): h = 3 - 2 = 1, logits (h - 1, 1 - h) = (0, 0), p = (1/2, 1/2).

    With label 0: r = p - y = (-1/2, 1/2), dL/dW2 = r h = (-1/2, 1/2), dL/dh = W2'r = -1 and
    dL/dW1 = -1 (3, -2) = (-3, 2).
    """
    return nn.Sequential(nn.Flatten(), linear([[1, 1]], [0]), linear([[1], [-1]], [-1, 1]))


IMAGE, LABEL = torch.tensor([3.0, -2.0]).view(1, 1, 1, 2), torch.tensor([0])


def gates(*scales):
    """ReLU, then weights: the logit is the sum of scale x relu(x) and its gradient scale x (x > 0)."""
    return nn.Sequential(nn.Flatten(), nn.ReLU(), linear([scales]))


def images(*rows):
    return torch.tensor(rows, dtype=torch.float32)[:, None, None, :]


def test_parameters_are_the_trainable_ones():
    # 3·4·9 + 4 of the convolution, 2·4 of the normalization, 4·5 + 5 of the linear layer
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 5))
    assert baselines.parameters(model) == 112 + 8 + 25
    model[2].requires_grad_(False)
    assert baselines.parameters(model) == 112 + 8


def test_flops_count_a_multiply_add_twice():
    pool = [nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)]
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), *pool)
    # 8·8 places, 4 channels, 3·9 weights each; 4·5 of the linear layer
    assert baselines.flops(model, (3, 8, 8)) == 2 * (64 * 4 * 27 + 20)


def test_flops_see_into_transformer_layers():
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    model = nn.Sequential(nn.Flatten(2), layer)
    # An image (5, 2, 4) is 5 tokens of width 8. Per token 8·24 for q, k, v, 8·8 after attention and
    # 2·8·16 for the MLP; attention itself is 2·5·5·8.
    assert baselines.flops(model, (5, 2, 4)) == 2 * (5 * (8 * 24 + 64 + 256) + 2 * 5 * 5 * 8)


def test_flops_are_twice_the_published_multiply_adds():
    arch = "|skip_connect~0|+|avg_pool_3x3~0|none~1|+|nor_conv_1x1~0|nor_conv_1x1~1|nor_conv_3x3~2|"
    with torch.device("meta"):
        model = nas_bench_201.build({"arch": arch}, channels=16, cells_per_stage=5)
    assert baselines.flops(model, (3, 32, 32)) / 2e6 == pytest.approx(51.0368, abs=1e-4)


def test_grad_norm_sums_the_norms_of_the_layers():
    # ‖(-1/2, 1/2)‖ + ‖(-3, 2)‖; biases would add ‖r‖ + 1.
    assert baselines.grad_norm(two_layers(), IMAGE, LABEL) == approx(0.5**0.5 + 13**0.5)


def test_snip_sums_weight_times_gradient():
    # 1·½ + 1·½ in the second layer, 1·3 + 1·2 in the first
    assert baselines.snip(two_layers(), IMAGE, LABEL) == approx(6)


def test_synflow_is_the_number_of_layers_times_the_flow():
    # ones(1, 1, 2) -> h = |1| + |1| = 2 -> R = (|1| + |-1|) 2 = 4, and every layer's Σ w dR/dw is R
    assert baselines.synflow(two_layers(), (1, 1, 2)) == approx(2 * 4)


def test_synflow_sees_neither_batch_norm_nor_bias():
    conv = nn.Conv2d(1, 1, 2)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([[[[1.0, -2.0], [3.0, -4.0]]]]))
        conv.bias.fill_(-7.0)
    norm = nn.BatchNorm2d(1)
    norm.running_mean.fill_(5.0)
    norm.running_var.fill_(9.0)
    nn.init.constant_(norm.weight, -3.0)
    model = nn.Sequential(conv, norm, nn.ReLU(), nn.Flatten(), linear([[-1], [2]], [8, 8]))
    # 1 + 2 + 3 + 4 = 10, (1 + 2) 10 = 30, two layers
    assert baselines.synflow(model, (1, 2, 2)) == approx(60)


def test_synflow_does_not_overflow():
    layers = [linear([[1000.0] * 10] * 10) for _ in range(60)]
    # Each layer multiplies the sum by 10⁴: 10·10²⁴⁰ leaves the last of 60 layers.
    flow = baselines.synflow(nn.Sequential(nn.Flatten(), *layers), (1, 1, 10))
    assert flow == pytest.approx(60 * 1e241, rel=1e-9)


@pytest.mark.parametrize("label", [0, 1])
def test_zico_is_the_log_of_mean_over_deviation(label):
    model = nn.Sequential(nn.Flatten(), linear([[0], [0]]))
    # p = ½: |dL/dw| is |x|/2 for both weights, ½ and 3/2 in the two batches: mean 1, deviation ½,
    # whatever the sign.
    batches = [(images([1]), torch.tensor([0])), (images([3]), torch.tensor([label]))]
    assert baselines.zico(model, batches) == approx(math.log(2 + 2))


def test_zico_leaves_out_layers_whose_gradient_does_not_vary():
    batches = [(images([1]), torch.tensor([0]))] * 2
    assert baselines.zico(nn.Sequential(nn.Flatten(), linear([[0], [0]])), batches) == 0
    with pytest.raises(ValueError, match="`batches` must be at least 2, got 1"):
        baselines.zico(two_layers(), batches[:1])


def test_zico_adds_layers():
    # First batch: |dL/dW2| = (½, ½), |dL/dW1| = (3, 2). Second: h = 2, logits (1, -1), r = (-q, q)
    # with q = 1/(1 + e²), so |dL/dW2| = (2q, 2q) and |dL/dW1| = 2q (6, 4).
    batches = [(IMAGE, LABEL), (2 * IMAGE, LABEL)]
    q = 1 / (1 + math.exp(2))
    ratio_1 = (1 + 4 * q) / abs(1 - 4 * q)  # (a + b)/2 over |a - b|/2: 3 and 12q, 2 and 8q
    ratio_2 = (0.5 + 2 * q) / abs(0.5 - 2 * q)
    expected = math.log(2 * ratio_1) + math.log(2 * ratio_2)
    assert baselines.zico(two_layers(), batches) == approx(expected)


def test_jacob_cov_of_two_gradients():
    # Gradients (1, 0, 0) and (0, 2, 0): centred and normalised they have the product -½, so the
    # eigenvalues are 1 ± ½.
    expected = -sum(math.log(v + K) + 1 / (v + K) for v in (0.5, 1.5))
    assert baselines.jacob_cov(gates(1, 2, 4), images([1, -1, -1], [-1, 1, -1])) == approx(expected)


def test_jacob_cov_of_equal_gradients():
    # Both (1, 0, 0): eigenvalues 2 and 0
    expected = -sum(math.log(v + K) + 1 / (v + K) for v in (0, 2))
    value = baselines.jacob_cov(gates(1, 2, 4), images([1, -1, -1], [2, -1, -1]))
    assert value == approx(expected)


def test_jacob_cov_sums_over_classes():
    # Rows of W add up: with (1, 0, 0), (0, 2, 0) and (0, 0, 4) as rows it is the same function.
    rows = nn.Sequential(nn.Flatten(), nn.ReLU(), linear([[1, 0, 0], [0, 2, 0], [0, 0, 4]]))
    x = torch.randn(5, 1, 1, 3, generator=torch.Generator().manual_seed(3))
    assert baselines.jacob_cov(rows, x) == approx(baselines.jacob_cov(gates(1, 2, 4), x))


def test_naswot_counts_agreeing_units():
    # Codes 100 and 010 disagree in two of three units: K = [[3, 1], [1, 3]], det 8.
    x = images([1, -1, -1], [-1, 1, -1])
    assert baselines.naswot(gates(1, 1, 1), x) == approx(math.log(8))
    # A second layer of one unit, active for the first sample only: K = [[4, 1], [1, 4]], det 15.
    deeper = nn.Sequential(nn.Flatten(), nn.ReLU(), linear([[1, -1, 0]]), nn.ReLU())
    assert baselines.naswot(deeper, x) == approx(math.log(15))


def test_naswot_without_difference_or_relu():
    assert baselines.naswot(gates(1, 1, 1), images([1, 2, -1], [2, 1, -2])) == -math.inf
    with pytest.raises(ValueError, match="`model` must execute ReLU modules, Sequential has none"):
        baselines.naswot(two_layers(), IMAGE)


def patterns_one_by_one(model, inputs, seed, draws, samples):
    """SWAP by its definition: a set of tuples, unit by unit."""
    generator, counts = torch.Generator().manual_seed(seed), []
    twin = copy.deepcopy(model).train()
    for _ in range(draws):
        for layer in twin.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                layer.weight.data = torch.randn(layer.weight.shape, generator=generator)
        x, found = inputs[:samples], set()
        for layer in twin:
            x = layer(x)
            if isinstance(layer, nn.ReLU) and x.ndim == 4:
                units = x.detach().flatten(1).T.tolist()
                found |= {tuple(value > 0 for value in unit) for unit in units}
        counts.append(len(found))
    return sum(counts) / draws


def test_swap_counts_distinct_patterns_of_units_over_samples():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        convolutions = [nn.Conv2d(1, 3, 3, bias=False), nn.BatchNorm2d(3), nn.ReLU()]
        convolutions += [nn.Conv2d(3, 2, 2, bias=False), nn.BatchNorm2d(2), nn.ReLU()]
        # Of vectors nothing counts: the paper looks at feature maps.
        model = nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(18, 4), nn.ReLU())
        x = torch.randn(9, 1, 6, 6)
    for samples in (4, 9):
        expected = patterns_one_by_one(model, x, 5, 3, samples)
        assert baselines.swap(model, x, samples=samples, draws=3, seed=5) == expected
    # Four samples have no more than 2⁴ patterns, and two of the same kind no more than 2².
    assert baselines.swap(model, x, samples=4) <= 16
    assert baselines.swap(model, x[[0, 0, 1, 1]]) <= 4


def test_swap_of_units_that_agree():
    # The image's pixels are (+, -) and (-, +): patterns 10 and 01; a pixel that is never active: 00.
    pixels = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(3, 2))
    x = images([1, -1, -1], [-1, 1, -1])
    assert baselines.swap(pixels, x) == 3
    assert baselines.swap(pixels, images([1, 2, -1], [-1, -1, 1])) == 2
    assert baselines.swap(pixels, images([1, 2, 3])) == 1


def test_swap_ignores_weights_biases_and_what_normalizations_learned():
    available = material(network())
    expected = value("swap", available)
    for module in available["model"].modules():
        if isinstance(module, (nn.Conv2d, nn.BatchNorm2d)):
            nn.init.constant_(module.weight, 0.3)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.bias, -5.0)
    assert value("swap", available) == expected
    other = baselines.swap(available["model"], available["inputs"], seed=1)
    assert other != expected


def test_swap_needs_feature_maps_and_finite_values():
    with pytest.raises(ValueError, match="`model` must execute ReLU modules on feature maps, Seq"):
        baselines.swap(two_layers(), IMAGE)
    deep = [layer for _ in range(40) for layer in (nn.Conv2d(50, 50, 3, padding=1), nn.ReLU())]
    model = nn.Sequential(nn.Conv2d(1, 50, 1), *deep)
    assert math.isnan(baselines.swap(model, torch.ones(2, 1, 3, 3), draws=1))


def test_regularised_swap_prefers_the_size_of_the_largest():
    parts = [(100, 40), (100, 80), (200, 20), (math.nan, 30), (50, math.nan)]
    scores = baselines.regularised_swap_scores(
        [dict(zip(("patterns", "size"), part, strict=True)) for part in parts]
    )
    expected = [math.exp(-((size / 80 - 1) ** 2)) * patterns for patterns, size in parts]
    assert scores == approx([math.log(one) for one in expected], nan_ok=True)
    available = material(network())
    found = value("swap_regularised", available)
    assert found == {"patterns": value("swap", available), "size": value("parameters", available)}


class Block(nn.Module):
    """A block of AZ-NAS: a module with a child."""

    def __init__(self, function):
        super().__init__()
        self.child = nn.Identity()
        self.function = function

    def forward(self, x):
        return self.function(self.child(x))


def head(channels):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 2))


def parts(*functions, channels=1, size=4):
    """AZ-NAS of blocks on images of one channel; `channels` leave the last block."""
    model = nn.Sequential(*map(Block, functions), *head(channels))
    return baselines.az_nas(model, (1, size, size))


def test_az_nas_trainability_of_scaling_and_pooling():
    # One channel: E[v v] is 1 whatever the signs. x2: σ = 2, 2 - 2 - 1/2. x3: 2 - 3 - 1/3.
    # Pooling: v/4 for each of 4 pixels, σ = ‖(¼, ¼, ¼, ¼)‖ = ½, again 2 - ½ - 2.
    found = parts(lambda x: 2 * x, lambda x: 3 * x, nn.AvgPool2d(2))
    assert found["trainability"] == approx((-1 / 2 - 4 / 3 - 1 / 2) / 3)
    assert found["expressivity"] == pytest.approx(0, abs=1e-6)
    assert found["complexity"] == 2 * (1 * 2)


def test_az_nas_trainability_of_a_block_that_does_nothing():
    assert parts(lambda x: 2 * x, lambda x: x)["trainability"] == -math.inf


def test_az_nas_odd_sizes_are_padded():
    # 5×5 -> 3×3 places. Of each place's 2×2 pixels, 4 places have all four (¼ each), 4 at the border
    # two (½ each), 1 in the corner one (1). Means over the 9 places, for the first pixel, for each of
    # its two neighbours and for the fourth; σ is their norm.
    first, neighbour, fourth = (4 / 4 + 4 / 2 + 1) / 9, (4 / 4 + 2 / 2) / 9, (4 / 4) / 9
    sigma = math.sqrt(first**2 + 2 * neighbour**2 + fourth**2)
    found = parts(nn.AvgPool2d(2, ceil_mode=True), size=5)
    assert found["trainability"] == approx(2 - sigma - 1 / (sigma + 1e-6))


def fixed(*points):
    """A block whose output is these points in channel space, for every image."""
    pattern = torch.tensor(points, dtype=torch.float32).T.reshape(len(points[0]), 2, -1)
    return lambda x: pattern.to(x).expand(len(x), *pattern.shape)


def test_az_nas_expressivity_and_progressivity():
    # One channel of noise enters: entropy 0. Then variances 2 and ½, shares 0.8 and 0.2; then equal
    # shares, entropy log 2; then shares 0.8 and 0.2 again.
    uneven = fixed((2, 7), (-2, 7), (0, 8), (0, 6))
    even = fixed((1, 0), (-1, 0), (0, 1), (0, -1))
    found = parts(uneven, even, uneven, channels=2)
    entropy = -0.8 * math.log(0.8) - 0.2 * math.log(0.2)
    assert found["expressivity"] == approx(2 * entropy + math.log(2))
    assert found["progressivity"] == approx(entropy - math.log(2))
    assert found["trainability"] == approx(2 - 1e6)  # nothing that enters reaches the output


def test_az_nas_blocks_by_name():
    model = nn.Sequential(Block(lambda x: 2 * x), Block(lambda x: 3 * x), *head(1))
    found = baselines.az_nas(model, (1, 4, 4), blocks=["1"])
    assert found["trainability"] == approx(-4 / 3)
    with pytest.raises(ValueError, match=r"`blocks` must have .* outputs"):
        baselines.az_nas(head(1), (1, 4, 4))


def test_az_nas_scores_are_sums_of_log_ranks():
    names = ("expressivity", "progressivity", "trainability", "complexity")
    values = [(1, math.nan, 5, 10), (2, 0, 5, 20), (3, -1, 5, 20)]
    scores = baselines.az_nas_scores([dict(zip(names, row, strict=True)) for row in values])
    # Ranks of 3, ties sharing their mean: (1, 1, 2, 1), (2, 3, 2, 2½) and (3, 2, 2, 2½)
    ranks = [1 * 1 * 2 * 1, 2 * 3 * 2 * 2.5, 3 * 2 * 2 * 2.5]
    assert scores == approx([math.log(product / 3**4) for product in ranks])


def test_training_speed_estimates():
    assert baselines.tse([3.0, 2.0, 1.0]) == 6
    assert baselines.tse_e([3.0, 2.0, 1.0], window=2) == 1.5
    assert math.isnan(baselines.tse_e([1.0, math.nan], window=1))


@pytest.mark.parametrize("window", [0, 4])
def test_window_must_lie_within_the_training(window):
    with pytest.raises(ValueError, match=f"`window` must be 1 to 3 steps, got {window}"):
        baselines.tse_e([3.0, 2.0, 1.0], window)


def signs():
    """Class 0 where the normalised input is positive, class 1 else; running mean 0, variance 1."""
    return nn.Sequential(nn.BatchNorm1d(1), linear([[1], [0]]))


FOUR, LABELS = torch.tensor([[1.0], [2.0], [3.0], [4.0]]), torch.tensor([1, 1, 0, 0])


def test_accuracy_with_batch_and_with_running_statistics():
    # About the batch's mean 2½, two samples are negative. Running statistics leave all positive.
    assert baselines.accuracy(signs(), FOUR, LABELS, batch_statistics=True) == 1
    assert baselines.accuracy(signs(), FOUR, LABELS, batch_statistics=False) == 0.5
    # 3 at most a pass: passes of 2 and 2, each with one positive sample.
    parts = {"batch_statistics": True, "batch_size": 3}
    assert baselines.accuracy(signs(), FOUR, LABELS, **parts) == 0.5
    broken = signs()
    nn.init.constant_(broken[1].weight, math.nan)
    assert math.isnan(baselines.accuracy(broken, FOUR, LABELS, batch_statistics=True))


def test_loss_with_batch_and_with_running_statistics():
    # Logits (x, 0): the loss is log(1 + e^-x) for label 0 and log(1 + e^x) for label 1, to which the
    # batch's statistics give x = ±1.5/√1.25 and ±0.5/√1.25, all on the right side.
    scale = math.sqrt(1.25 + 1e-5)
    expected = sum(math.log(1 + math.exp(-x / scale)) for x in (1.5, 0.5)) / 2
    assert baselines.loss(signs(), FOUR, LABELS, batch_statistics=True) == approx(expected)
    x = [x / math.sqrt(1 + 1e-5) for x in (1, 2, -3, -4)]
    expected = sum(math.log(1 + math.exp(v)) for v in x) / 4
    assert baselines.loss(signs(), FOUR, LABELS, batch_statistics=False) == approx(expected)


def network(**changes):
    config = dict.fromkeys(next(iter(nas_bench_201.grid())), "nor_conv_3x3") | changes
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nas_bench_201.build(config, channels=2, num_classes=3)
    return model.append(nn.Dropout(0.5))


def material(model, samples=6):
    generator = torch.Generator().manual_seed(0)

    def batch():
        x = torch.randn(samples, 3, 8, 8, generator=generator)
        return x, torch.randint(3, (samples,), generator=generator)

    inputs, labels = batch()
    batches = [batch(), batch()]
    return {
        "model": model,
        "image_shape": (3, 8, 8),
        "inputs": inputs,
        "labels": labels,
        "batches": batches,
        "losses": [2.0, 1.0],
        "window": 1,
    }


def value(name, available):
    baseline = baselines.BASELINES[name]
    return baseline.function(**{argument: available[argument] for argument in baseline.needs})


@pytest.mark.parametrize("name", baselines.BASELINES)
def test_needs_are_the_arguments_without_default(name):
    baseline = baselines.BASELINES[name]
    signature = inspect.signature(baseline.function).parameters.values()
    required = tuple(p.name for p in signature if p.default is p.empty)
    assert baseline.needs == required
    assert baseline.source
    uses_labels = {"labels", "batches", "losses"} & set(baseline.needs)
    assert (baseline.labels == "none") == (not uses_labels)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", baselines.BASELINES)
def test_model_and_random_state_are_untouched_and_values_repeat(name, training):
    available = material(network().train(training))
    model = available["model"]
    model[-2].weight.grad = torch.ones_like(model[-2].weight)
    before = copy.deepcopy(model.state_dict())
    identities = {key: id(tensor) for key, tensor in model.state_dict(keep_vars=True).items()}
    state = torch.get_rng_state()
    first = value(name, available)
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert {k: id(t) for k, t in model.state_dict(keep_vars=True).items()} == identities
    assert all(module.training == training for module in model.modules())
    grads = [key for key, p in model.named_parameters() if p.grad is not None]
    assert len(grads) == 1
    assert torch.equal(model[-2].weight.grad, torch.ones_like(model[-2].weight))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    torch.manual_seed(99)
    with torch.no_grad():
        assert value(name, available) == first


@pytest.mark.parametrize(
    "name", ["grad_norm", "snip", "jacob_cov", "naswot", "swap", "training_loss"]
)
def test_order_of_samples_does_not_matter(name):
    available = material(network())
    order = [3, 1, 5, 0, 2, 4]
    shuffled = available | {key: available[key][order] for key in ("inputs", "labels")}
    assert value(name, shuffled) == pytest.approx(value(name, available), rel=1e-3)


@pytest.mark.parametrize("name", ["jacob_cov", "naswot", "grad_norm"])
def test_scores_use_batch_statistics(name):
    available = material(network())
    expected = value(name, available)
    for module in available["model"].modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.fill_(100.0)
    assert value(name, available) == expected


def test_az_nas_depends_on_the_seed_and_not_on_the_weights():
    available = material(network())
    first = value("az_nas", available)
    nn.init.constant_(available["model"][0].weight, 0.0)
    assert value("az_nas", available) == first
    other = baselines.az_nas(available["model"], (3, 8, 8), seed=1)
    assert other["expressivity"] != first["expressivity"]
    assert other["complexity"] == first["complexity"]


def test_a_cell_without_a_path_ranks_last_everywhere():
    dead = network(edge_3_0="none", edge_3_1="none", edge_3_2="none")
    found = {name: value(name, material(dead)) for name in baselines.AT_INITIALISATION}
    assert math.isnan(found["jacob_cov"])
    assert found["naswot"] == -math.inf
    assert found["grad_norm"] == found["snip"] == found["synflow"] == 0
    assert math.isnan(found["az_nas"]["progressivity"])
    alive = value("az_nas", material(network()))
    scores = baselines.az_nas_scores([found["az_nas"], alive])
    assert scores[0] == approx(4 * math.log(1 / 2))
    assert scores[1] == 0
