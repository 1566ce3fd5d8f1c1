"""Each regulariser is its formula, worked out in float64 numpy, and its gradients are finite."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from indexer.errors import UsageError
from trainer.batch import Contrast
from trainer.objectives.infonce import InfoNCE
from trainer.regularisers import REGULARISERS
from trainer.regularisers.matryoshka import Matryoshka
from trainer.regularisers.matryoshka2d import Matryoshka2d, layer_divergence
from trainer.regularisers.plain import Plain
from trainer.regularisers.preserving import Preserving, moved
from trainer.regularisers.uniformity import Uniformity, alignment, uniformity
from trainer.regularisers.whitening import InverseRoot, Whitening, whiten, zca

SEEDS = st.integers(0, 2**32 - 1)
SMALL = {"matryoshka": {"dimensions": (8, 4)}, "matryoshka2d": {"dimensions": (8, 4)}, "whitening": {"groups": 2}}


def unit(rng: np.random.Generator, count: int, width: int) -> torch.Tensor:
    return functional.normalize(torch.from_numpy(rng.standard_normal((count, width))), dim=1)


def make(seed: int, anchors: int = 4, extra: int = 2, width: int = 8, keys: int = 5) -> Contrast:
    rng = np.random.default_rng(seed)
    excluded = torch.from_numpy(rng.random((anchors, anchors + extra)) < 0.3)
    # a target may be marked excluded too: it counts all the same
    return Contrast(
        query_BD=unit(rng, anchors, width),
        passage_PD=unit(rng, anchors + extra, width),
        target_B=torch.arange(anchors),
        excluded_BP=excluded,
        queue_ND=unit(rng, keys, width) if keys else None,
        queue_excluded_BN=torch.from_numpy(rng.random((anchors, keys)) < 0.3) if keys else None,
        start_query_BD=unit(rng, anchors, width),
        start_passage_PD=unit(rng, anchors + extra, width),
    )


def cut(vectors: torch.Tensor, width: int) -> torch.Tensor:
    """Slice and divide by the length, by hand."""
    part = vectors.numpy()[:, :width]
    return torch.from_numpy(part / np.sqrt((part**2).sum(axis=1, keepdims=True)))


@given(seed=SEEDS, width=st.integers(1, 8), keys=st.sampled_from([0, 5]))
@settings(max_examples=30, deadline=None)
def test_a_truncated_contrast_is_sliced_and_of_unit_length_and_else_the_same(seed, width, keys):
    contrast = make(seed, keys=keys)
    short = contrast.truncated(width)
    for name in ("query_BD", "passage_PD", "queue_ND"):
        if getattr(contrast, name) is None:
            assert getattr(short, name) is None
        else:
            torch.testing.assert_close(getattr(short, name), cut(getattr(contrast, name), width))
    for name in ("target_B", "excluded_BP", "queue_excluded_BN"):
        assert getattr(short, name) is getattr(contrast, name)


@pytest.mark.parametrize("name", REGULARISERS)
@given(seed=SEEDS, anchors=st.integers(1, 4), extra=st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_every_loss_and_its_gradient_are_finite(name, seed, anchors, extra):
    regulariser = REGULARISERS[name](**SMALL.get(name, {}))
    contrasts = []
    for layer in regulariser.layers(seed, 6):
        contrast = make(seed + layer, anchors, extra)
        rows = {key: getattr(contrast, key).float().requires_grad_() for key in ("query_BD", "passage_PD")}
        contrasts.append(dataclasses.replace(contrast, queue_ND=contrast.queue_ND.half(), **rows))
    loss = regulariser(InfoNCE(symmetric=True, learned=True), contrasts)
    assert loss.shape == ()
    assert loss.isfinite()
    loss.backward()
    for contrast in contrasts:
        assert contrast.query_BD.grad.isfinite().all()
        assert contrast.passage_PD.grad.isfinite().all()


@pytest.mark.parametrize("name", REGULARISERS)
def test_every_regulariser_asks_for_layers_that_end_in_the_last(name):
    regulariser = REGULARISERS[name]()
    regulariser.check(384)
    for depth in (1, 2, 6):
        for step in range(50):
            layers = regulariser.layers(step, depth)
            assert list(layers) == sorted(set(layers))
            assert layers[-1] == depth
            assert layers[0] >= 1


def test_no_regulariser_is_the_objective_alone():
    assert Plain()(InfoNCE(), [make(1), make(2)]).item() == InfoNCE()(make(2)).item()


@given(seed=SEEDS, weights=st.none() | st.tuples(*[st.floats(0, 3)] * 3))
@settings(max_examples=30, deadline=None)
def test_matryoshka_is_the_weighted_sum_over_its_cuts(seed, weights):
    contrast, objective = make(seed), InfoNCE()
    total = 0.0
    for width, weight in zip((8, 5, 2), weights or (1, 1, 1), strict=True):
        short = dataclasses.replace(
            contrast,
            query_BD=cut(contrast.query_BD, width),
            passage_PD=cut(contrast.passage_PD, width),
            queue_ND=cut(contrast.queue_ND, width),
        )
        total += weight * objective(short).item()
    loss = Matryoshka((8, 5, 2), weights)(objective, [contrast]).item()
    assert loss == pytest.approx(total, rel=1e-9, abs=1e-12)


def test_matryoshka2d_draws_every_shallower_layer_as_often_by_seed_and_step_alone():
    regulariser = Matryoshka2d(seed=3)
    drawn = [regulariser.layers(step, 6)[0] for step in range(2000)]
    assert drawn == [Matryoshka2d(seed=3).layers(step, 6)[0] for step in range(2000)]
    assert drawn != [Matryoshka2d(seed=4).layers(step, 6)[0] for step in range(2000)]
    counts = np.bincount(drawn, minlength=7)
    assert counts[0] == counts[6] == 0
    assert counts[1:6] == pytest.approx(400, abs=80)


def divergence(last: Contrast, shallower: Contrast, temperature: float) -> float:
    """Work out KL(last ‖ shallower) anchor by anchor."""
    rows = []
    for row in range(len(last.query_BD)):
        counted = ~last.excluded_BP[row].numpy()
        counted[last.target_B[row]] = True
        shares = []
        for contrast in (last, shallower):
            powers = np.exp((contrast.passage_PD.numpy() @ contrast.query_BD[row].numpy())[counted] / temperature)
            shares.append(powers / powers.sum())
        rows.append(float((shares[0] * np.log(shares[0] / shares[1])).sum()))
    return float(np.mean(rows))


@given(seed=SEEDS)
@settings(max_examples=30, deadline=None)
def test_matryoshka2d_is_its_formula(seed):
    shallower = make(seed)
    last = dataclasses.replace(
        make(seed + 1), excluded_BP=shallower.excluded_BP, queue_excluded_BN=shallower.queue_excluded_BN
    )
    objective, one = InfoNCE(), Matryoshka((8, 3), (1, 2))
    assert layer_divergence(last, shallower, 0.3).item() == pytest.approx(divergence(last, shallower, 0.3), rel=1e-9)
    both = Matryoshka2d((8, 3), (1, 2), layer_weight=0.5, kl=0.7)(objective, [shallower, last]).item()
    wanted = one(objective, [last]).item() + 0.5 * one(objective, [shallower]).item()
    assert both == pytest.approx(wanted + 0.7 * divergence(last, shallower, 0.3), rel=1e-9)
    assert Matryoshka2d((8, 3), (1, 2))(objective, [last]).item() == one(objective, [last]).item()


def test_the_last_layer_learns_nothing_from_the_divergence():
    last, shallower = make(1), make(2)
    for contrast in (last, shallower):
        contrast.query_BD.requires_grad_()
    loss = layer_divergence(last, shallower, 0.3)
    loss.backward()
    assert last.query_BD.grad is None
    assert shallower.query_BD.grad.abs().sum() > 0
    assert layer_divergence(last, last, 0.3).item() == pytest.approx(0, abs=1e-12)


@given(seed=SEEDS, count=st.integers(2, 9), width=st.integers(2, 6))
@settings(max_examples=40, deadline=None)
def test_uniformity_and_alignment_are_their_formulas(seed, count, width):
    rng = np.random.default_rng(seed)
    x, y = unit(rng, count, width), unit(rng, count, width)
    terms = [math.exp(-2 * float(((x[i] - x[j]) ** 2).sum())) for i in range(count) for j in range(count) if i != j]
    assert uniformity(x).item() == pytest.approx(math.log(np.mean(terms)), abs=1e-9)
    assert alignment(x, y).item() == pytest.approx(np.mean([((x[i] - y[i]) ** 2).sum() for i in range(count)]))


def test_uniformity_is_0_at_one_point_and_falls_as_points_part():
    point = torch.ones(5, 4) / 2
    assert uniformity(point).item() == pytest.approx(0, abs=1e-6)
    assert uniformity(point[:1]).item() == 0
    circle = torch.arange(8) * math.tau / 8
    spread = torch.stack([circle.cos(), circle.sin()], dim=1)
    assert uniformity(spread).item() < uniformity(torch.cat([spread[:2]] * 4)).item() < 0


def test_the_uniformity_term_is_weighed_and_of_both_sides():
    contrast = make(5)
    wanted = InfoNCE()(contrast) + 0.3 * (uniformity(contrast.query_BD) + uniformity(contrast.passage_PD)) / 2
    assert Uniformity(0.3)(InfoNCE(), [contrast]).item() == pytest.approx(wanted.item(), rel=1e-12)


@given(seed=SEEDS, anchors=st.integers(1, 4), extra=st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_what_is_preserved_is_every_cosine_but_those_of_answers_and_of_what_is_no_negative(seed, anchors, extra):
    contrast = make(seed, anchors, extra)
    now_q, now_p, then_q, then_p = (
        getattr(contrast, name).numpy() for name in ("query_BD", "passage_PD", "start_query_BD", "start_passage_PD")
    )
    across = [
        (now_q[b] @ now_p[p] - then_q[b] @ then_p[p]) ** 2
        for b in range(len(now_q))
        for p in range(len(now_p))
        if p != contrast.target_B[b] and not contrast.excluded_BP[b, p]
    ]
    among = [
        (x @ y - a @ b) ** 2 for x, a in zip(now_p, then_p, strict=True) for y, b in zip(now_p, then_p, strict=True)
    ]
    wanted = (np.mean(across) if across else 0) + np.mean(among)
    assert moved(contrast).item() == pytest.approx(wanted, abs=1e-12)
    loss = Preserving(3.0)(InfoNCE(), [contrast])
    assert loss.item() == pytest.approx(InfoNCE()(contrast).item() + 3 * wanted)


def test_nothing_has_moved_at_the_start_nor_where_all_vectors_turn_together():
    contrast = make(2)
    turn = torch.linalg.qr(torch.from_numpy(np.random.default_rng(1).standard_normal((8, 8))))[0]
    turned = {"start_query_BD": contrast.query_BD @ turn, "start_passage_PD": contrast.passage_PD @ turn}
    assert moved(dataclasses.replace(contrast, **turned)).item() == pytest.approx(0, abs=1e-12)
    assert moved(contrast).item() > 0.01


def test_without_a_start_there_is_nothing_to_preserve():
    with pytest.raises(UsageError, match="reads pairs"):
        Preserving()(InfoNCE(), [dataclasses.replace(make(1), start_query_BD=None)])


def whitened(vectors: np.ndarray, sample: np.ndarray, groups: int, shrinkage: float) -> np.ndarray:
    """Whiten group by group with numpy, and bring to unit length."""
    mean, parts = sample.mean(axis=0), []
    for columns in np.split(np.arange(sample.shape[1]), groups):
        covariance = np.cov(sample[:, columns].T, bias=True).reshape(len(columns), len(columns))
        spread = np.trace(covariance) / len(columns)
        values, axes = np.linalg.eigh((1 - shrinkage) * covariance + (shrinkage * spread + 1e-6) * np.eye(len(columns)))
        parts.append((vectors - mean)[:, columns] @ axes @ np.diag(values**-0.5) @ axes.T)
    rows = np.concatenate(parts, axis=1)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@given(seed=SEEDS, groups=st.sampled_from([1, 2, 8]), anchors=st.integers(2, 12))
@settings(max_examples=40, deadline=None)
def test_whitening_is_its_formula_for_all_that_is_compared(seed, groups, anchors):
    contrast, seen = make(seed, anchors), []
    sample = torch.cat([contrast.query_BD, contrast.passage_PD]).numpy()
    Whitening(groups, shrinkage=0.2)(lambda one: seen.append(one) or one.query_BD.sum(), [contrast])
    for name in ("query_BD", "passage_PD", "queue_ND"):
        wanted = whitened(getattr(contrast, name).numpy(), sample, groups, 0.2)
        np.testing.assert_allclose(getattr(seen[0], name).numpy(), wanted, atol=1e-8)
    assert seen[0].excluded_BP is contrast.excluded_BP


def test_whitened_dimensions_are_uncorrelated_and_of_equal_spread_within_a_group():
    rng = np.random.default_rng(0)
    vectors = torch.from_numpy(rng.standard_normal((500, 6)) @ rng.standard_normal((6, 6)) + 3)
    mean, transform = zca(vectors, 2, 0.0)
    for group, columns in enumerate((slice(0, 3), slice(3, 6))):
        rows = ((vectors - mean)[:, columns] @ transform[group]).numpy()
        np.testing.assert_allclose(rows.T @ rows / 500, np.eye(3), atol=1e-4)


def test_whitening_stands_one_point_and_batches_smaller_than_the_width():
    point = torch.full((3, 64), 1 / 8).requires_grad_()
    mean, transform = zca(point, 1, 0.1)
    rows = whiten(point, mean, transform)
    rows.square().sum().backward()
    assert rows.isfinite().all()
    assert point.grad.isfinite().all()
    few = unit(np.random.default_rng(0), 3, 64).float().requires_grad_()  # 62 of 64 eigenvalues are equal
    whiten(few, *zca(few, 1, 0.1))[0, :9].sum().backward()
    assert few.grad.isfinite().all()
    assert 0 < few.grad.abs().max() < 1e3


@pytest.mark.parametrize("rank", [0, 1, 4])
def test_the_inverse_root_and_its_gradient_are_right_even_for_equal_eigenvalues(rank):
    torch.manual_seed(0)
    factor = torch.randn(2, 4, rank, dtype=torch.float64, requires_grad=True)
    identity = torch.eye(4, dtype=torch.float64)
    scale = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)

    def root(factor: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return InverseRoot.apply(factor @ factor.mT + scale * identity)

    matrix = factor @ factor.mT + scale * identity
    product = InverseRoot.apply(matrix)
    torch.testing.assert_close(product @ matrix @ product, identity.expand(2, 4, 4))
    assert torch.autograd.gradcheck(root, (factor, scale))


@pytest.mark.parametrize(
    ("kind", "wrong", "message"),
    [
        (Matryoshka, {"dimensions": []}, "dimensions must be one or more different widths, not []"),
        (Matryoshka, {"dimensions": [4, 4]}, "dimensions must be one or more different widths, not [4, 4]"),
        (Matryoshka2d, {"dimensions": [4, 0]}, "dimensions must be a whole number of at least 1, not 0"),
        (
            Matryoshka,
            {"dimensions": [4], "weights": [1, 2]},
            "weights must be as many as dimensions, 1, not the 2 of [1, 2]",
        ),
        (Matryoshka, {"dimensions": [4], "weights": [-1]}, "weights must be a number of at least 0, not -1"),
        (Matryoshka2d, {"kl_temperature": 0}, "kl_temperature must be a number of at least 0.0001, not 0"),
        (Matryoshka2d, {"kl": -1}, "kl must be a number of at least 0, not -1"),
        (Matryoshka2d, {"layer_weight": -1}, "layer_weight must be a number of at least 0, not -1"),
        (Uniformity, {"weight": -0.1}, "weight must be a number of at least 0, not -0.1"),
        (Whitening, {"groups": 0}, "groups must be a whole number of at least 1, not 0"),
        (Whitening, {"shrinkage": 0}, "shrinkage must be a number from 0.001 to 1, not 0"),
    ],
)
def test_a_setting_out_of_its_range_is_refused_by_name_value_and_range(kind, wrong, message):
    with pytest.raises(UsageError) as caught:
        kind(**wrong)
    assert str(caught.value) == message


def test_a_model_that_the_settings_do_not_fit_is_refused():
    for kind in (Matryoshka, Matryoshka2d):
        kind([256, 64]).check(256)
        with pytest.raises(UsageError) as caught:
            kind([256, 64]).check(128)
        assert str(caught.value) == "dimensions must be at most the model's width, 128, not [256, 64]"
    Whitening(groups=3).check(384)
    with pytest.raises(UsageError, match="groups must divide the model's width, 256, not be 3"):
        Whitening(groups=3).check(256)
