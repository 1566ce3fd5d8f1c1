"""Each loss is its formula, worked out term by term in float64, and finite where there is little to learn from."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from indexer.errors import UsageError
from trainer.batch import Contrast
from trainer.objectives import OBJECTIVES
from trainer.objectives.distillation import ListDistillation
from trainer.objectives.infonce import InfoNCE, select
from trainer.objectives.listwise import ListNet
from trainer.objectives.margin_mse import MarginMSE
from trainer.objectives.similarity import similarity

SEEDS = st.integers(0, 2**32 - 1)
DOUBLE = torch.float64


def unit(rng: np.random.Generator, count: int, width: int) -> torch.Tensor:
    return functional.normalize(torch.from_numpy(rng.standard_normal((count, width))), dim=1)


def make(seed: int, *, queue: bool = True, teacher: bool = True) -> Contrast:
    """Draw a contrast in float64: any sizes from one on, shared targets, exclusions, lists of any length or none."""
    rng = np.random.default_rng(seed)
    anchors, extra, width, keys = rng.integers(1, 6), rng.integers(0, 5), rng.integers(2, 9), rng.integers(1, 12)
    passages = anchors + extra
    target = rng.integers(passages, size=anchors)
    excluded = rng.random((anchors, passages)) < rng.choice([0.0, 0.3, 1.0])
    excluded[np.arange(anchors), target] = False
    barred = rng.random((anchors, keys)) < rng.choice([0.0, 0.4, 1.0])
    columns = int(rng.integers(1, 5))
    listed = np.full((anchors, columns), -1)
    for row in range(anchors):
        count = int(rng.integers(0, min(columns, passages) + 1))
        others = rng.permutation(np.delete(np.arange(passages), target[row]))
        listed[row, :count] = [target[row], *others][:count]
    return Contrast(
        query_BD=unit(rng, anchors, width),
        passage_PD=unit(rng, passages, width),
        target_B=torch.from_numpy(target),
        excluded_BP=torch.from_numpy(excluded),
        queue_ND=unit(rng, keys, width) if queue else None,
        queue_excluded_BN=torch.from_numpy(barred) if queue else None,
        listed_BC=torch.from_numpy(listed) if teacher else None,
        teacher_BC=torch.from_numpy(rng.normal(0, 5, (anchors, columns))) if teacher else None,
    )


def picked(positive: float, negatives: list[float], temperature: float, weights: list[float] | None = None) -> float:
    """Work out -log of the positive's share in a softmax."""
    weights = weights or [1.0] * len(negatives)
    total = math.exp(positive / temperature) + sum(
        weight * math.exp(value / temperature) for value, weight in zip(negatives, weights, strict=True)
    )
    return -math.log(math.exp(positive / temperature) / total)


def selected(values: list[float], size: int, positive: float, hardest: float, ceiling: float) -> list[float]:
    """Choose negatives of one anchor from its queue by sorting."""
    if ceiling < 1:
        values = [value for value in values if value <= ceiling * positive]
    values = sorted(values, reverse=True)
    return values[: max(1, round(hardest * size))] if hardest < 1 else values


def expected(contrast: Contrast, temperature: float = 0.05, **options: float) -> float:
    """Work out InfoNCE anchor by anchor."""
    query, passage = contrast.query_BD.numpy(), contrast.passage_PD.numpy()
    target, excluded = contrast.target_B.tolist(), contrast.excluded_BP.numpy()
    queue = np.zeros((0, query.shape[1])) if contrast.queue_ND is None else contrast.queue_ND.numpy()
    barred = np.zeros((len(query), 0)) if contrast.queue_excluded_BN is None else contrast.queue_excluded_BN.numpy()
    share, hardest, ceiling = (options.get(name, 1.0) for name in ("queue_share", "hardest", "ceiling"))

    def keys(vector: np.ndarray, row: int) -> list[float]:
        if share == 0:
            return []
        positive = float(query[row] @ passage[target[row]])
        values = [float(vector @ key) for key, out in zip(queue, barred[row], strict=True) if not out]
        return selected(values, len(queue), positive, hardest, ceiling)

    forward, backward, dual = [], [], []
    for row, at in enumerate(target):
        positive = float(query[row] @ passage[at])
        inside = [float(query[row] @ passage[j]) for j in range(len(passage)) if j != at and not excluded[row, j]]
        queued = keys(query[row], row)
        weights = [1.0] * len(inside) + [share] * len(queued)
        forward.append(picked(positive, inside + queued, temperature, weights))
        rivals = [
            float(query[other] @ passage[at])
            for other in range(len(query))
            if target[other] != at and not excluded[other, at]
        ]
        backward.append(picked(positive, rivals, temperature))
        queued = keys(passage[at], row)
        dual.append(picked(positive, queued, temperature, [share] * len(queued)))
    loss = float(np.mean(forward))
    if options.get("symmetric"):
        loss = (loss + float(np.mean(backward))) / 2
    if options.get("dual") and contrast.queue_ND is not None and share > 0:
        loss = (1 - options["dual"]) * loss + options["dual"] * float(np.mean(dual))
    return loss


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 1.0},
        {"symmetric": True},
        {"queue_share": 0.25},
        {"queue_share": 0.0},
        {"dual": 0.5},
        {"hardest": 0.3},
        {"ceiling": 0.9},
        {"temperature": 0.2, "symmetric": True, "queue_share": 0.5, "dual": 0.3, "hardest": 0.5, "ceiling": 0.95},
    ],
)
@given(seed=SEEDS, queue=st.booleans())
@settings(max_examples=40, deadline=None)
def test_infonce_is_its_formula(options, seed, queue):
    contrast = make(seed, queue=queue)
    assert InfoNCE(**options)(contrast).item() == pytest.approx(expected(contrast, **options), rel=1e-9, abs=1e-9)


@given(seed=SEEDS)
@settings(max_examples=40, deadline=None)
def test_single_precision_is_near_double(seed):
    contrast = make(seed)
    single = replace(
        contrast, **{name: getattr(contrast, name).float() for name in ("query_BD", "passage_PD", "queue_ND")}
    )
    assert InfoNCE()(single).item() == pytest.approx(expected(contrast), rel=1e-4, abs=1e-4)


def test_half_precision_and_autocast_leave_the_loss_in_single():
    contrast = make(3)
    half = replace(contrast, query_BD=contrast.query_BD.bfloat16(), queue_ND=contrast.queue_ND.half())
    exact = replace(contrast, query_BD=half.query_BD.float(), queue_ND=half.queue_ND.float())
    exact = replace(exact, passage_PD=contrast.passage_PD.float())
    plain = InfoNCE()(exact)
    with torch.autocast("cpu", torch.bfloat16):
        assert InfoNCE()(exact).item() == plain.item()
    loss = InfoNCE()(replace(half, passage_PD=exact.passage_PD))
    assert loss.dtype == torch.float32
    assert loss.item() == plain.item()


@given(seed=SEEDS)
@settings(max_examples=40, deadline=None)
def test_what_is_excluded_for_everyone_never_changes_the_loss(seed):
    contrast = make(seed)
    rng = np.random.default_rng(seed)
    loss = InfoNCE(symmetric=True, dual=0.5, queue_share=0.5)
    outside = ~torch.isin(torch.arange(len(contrast.passage_PD)), contrast.target_B)
    unlisted = replace(contrast, excluded_BP=contrast.excluded_BP | outside)
    barred = replace(unlisted, queue_excluded_BN=torch.ones_like(unlisted.queue_excluded_BN))
    width = contrast.query_BD.shape[1]
    passages = torch.where(outside[:, None], unit(rng, len(outside), width), contrast.passage_PD)
    moved = replace(barred, passage_PD=passages, queue_ND=unit(rng, len(contrast.queue_ND), width))
    assert loss(moved).item() == loss(barred).item()


@pytest.mark.parametrize("kind", OBJECTIVES)
@given(seed=SEEDS)
@settings(max_examples=30, deadline=None)
def test_the_order_of_anchors_passages_and_keys_does_not_matter(kind, seed):
    contrast = make(seed)
    rng = np.random.default_rng(seed)
    anchors = torch.from_numpy(rng.permutation(len(contrast.query_BD)))
    passages = torch.from_numpy(rng.permutation(len(contrast.passage_PD)))
    keys = torch.from_numpy(rng.permutation(len(contrast.queue_ND)))
    place = torch.argsort(passages)
    listed = contrast.listed_BC[anchors]
    moved = Contrast(
        query_BD=contrast.query_BD[anchors],
        passage_PD=contrast.passage_PD[passages],
        target_B=place[contrast.target_B[anchors]],
        excluded_BP=contrast.excluded_BP[anchors][:, passages],
        queue_ND=contrast.queue_ND[keys],
        queue_excluded_BN=contrast.queue_excluded_BN[anchors][:, keys],
        listed_BC=torch.where(listed < 0, -1, place[listed.clamp(min=0)]),
        teacher_BC=contrast.teacher_BC[anchors],
    )
    objective = InfoNCE(symmetric=True, dual=0.5, hardest=0.5, ceiling=0.9) if kind == "infonce" else OBJECTIVES[kind]()
    assert objective(moved).item() == pytest.approx(objective(contrast).item(), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("kind", OBJECTIVES)
@given(seed=SEEDS, queue=st.booleans())
@settings(max_examples=40, deadline=None)
def test_every_loss_and_its_gradient_are_finite(kind, seed, queue):
    options = {"learned": True, "symmetric": True, "dual": 0.5, "hardest": 0.5, "ceiling": 0.9}
    objective = OBJECTIVES[kind](**options) if kind == "infonce" else OBJECTIVES[kind]()
    contrast = make(seed, queue=queue)
    query, passage = (t.float().requires_grad_() for t in (contrast.query_BD, contrast.passage_PD))
    keys = contrast.queue_ND.half() if queue else None
    loss = objective(replace(contrast, query_BD=query, passage_PD=passage, queue_ND=keys))
    assert loss.shape == ()
    loss.backward()
    gradients = [query.grad, passage.grad, *(parameter.grad for parameter in objective.parameters())]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    assert loss.isfinite()


def test_an_anchor_without_negatives_costs_nothing():
    contrast = make(1)
    alone = replace(
        contrast,
        excluded_BP=torch.ones_like(contrast.excluded_BP),
        queue_excluded_BN=torch.ones_like(contrast.queue_excluded_BN),
    )
    assert InfoNCE(symmetric=True, dual=0.5)(alone).item() == 0
    empty = replace(alone, queue_ND=contrast.queue_ND[:0], queue_excluded_BN=contrast.queue_excluded_BN[:, :0])
    assert InfoNCE(hardest=0.5, ceiling=0.5, dual=0.5)(empty).item() == 0


@given(seed=SEEDS, temperature=st.floats(0.02, 0.9))
@settings(max_examples=30, deadline=None)
def test_a_learned_temperature_follows_the_slope_of_the_loss(seed, temperature):
    contrast = make(seed)
    objective = InfoNCE(temperature, learned=True).double()
    with torch.no_grad():
        objective.log_temperature.fill_(math.log(temperature))
    objective(contrast).backward()
    step = 1e-5
    above, below = (expected(contrast, temperature * math.exp(sign * step)) for sign in (1, -1))
    assert objective.log_temperature.grad.item() == pytest.approx((above - below) / (2 * step), rel=1e-3, abs=1e-5)


def test_a_learned_temperature_is_held_in_its_range_and_can_return():
    contrast = make(4)
    objective = InfoNCE(learned=True)
    for logarithm, held in ((-9.0, 0.01), (2.0, 1.0)):
        with torch.no_grad():
            objective.log_temperature.fill_(logarithm)
        objective.zero_grad()
        loss = objective(contrast)
        loss.backward()
        assert objective.temperature.item() == pytest.approx(held)
        assert loss.item() == pytest.approx(expected(contrast, held), rel=1e-4)
        assert objective.log_temperature.grad.item() != 0


def test_the_hardest_keys_are_kept_and_those_near_the_positive_dropped():
    keys = torch.tensor([[0.1, 0.5, 0.9, 0.3, -0.2]])
    positive = torch.tensor([0.8])
    assert select(keys, positive, None).all()
    assert select(keys, positive, keys > 0.4).tolist() == [[True, False, False, True, True]]
    assert select(keys, positive, None, hardest=0.4).tolist() == [[False, True, True, False, False]]
    assert select(keys, positive, keys > 0.4, hardest=0.4).tolist() == [[True, False, False, True, False]]
    assert select(keys, positive, None, ceiling=0.95).tolist() == [[True, True, False, True, True]]
    assert select(keys, positive, None, 0.4, 0.95).tolist() == [[False, True, False, True, False]]
    assert select(keys, positive, keys < 9, 0.4, 0.95).tolist() == [[False] * 5]
    assert select(keys, positive, None, hardest=0).sum() == 1  # one at least


def lists(contrast: Contrast) -> list[tuple[np.ndarray, np.ndarray]]:
    """Collect each scored anchor's similarities and teacher's scores."""
    found = []
    for row, listed in enumerate(contrast.listed_BC.numpy()):
        places = listed[listed >= 0]
        if len(places):
            score = contrast.passage_PD.numpy()[places] @ contrast.query_BD.numpy()[row]
            found.append((score, contrast.teacher_BC.numpy()[row, : len(places)]))
    return found


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max())
    return powers / powers.sum()


@given(seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_margin_mse_is_its_formula(seed):
    contrast = make(seed)
    squares = [
        (4 * (score[0] - score[j]) - (teacher[0] - teacher[j])) ** 2
        for score, teacher in lists(contrast)
        for j in range(1, len(score))
    ]
    assert MarginMSE(scale=4)(contrast).item() == pytest.approx(float(np.mean(squares)) if squares else 0, rel=1e-9)


@given(seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_list_distillation_is_its_formula(seed):
    contrast = make(seed)
    divergences = []
    for score, teacher in lists(contrast):
        wanted, given_ = softmax(teacher / 2), softmax(score / 0.1)
        divergences.append(float((wanted * np.log(wanted / given_)).sum()))
    divergence = float(np.mean(divergences)) if divergences else 0
    alone = ListDistillation(0.1, teacher_temperature=2, contrastive=0)(contrast).item()
    assert alone == pytest.approx(divergence, rel=1e-7, abs=1e-9)
    both = ListDistillation(0.1, teacher_temperature=2, contrastive=0.2)(contrast).item()
    assert both == pytest.approx(divergence + 0.2 * expected(contrast, 0.1), rel=1e-7, abs=1e-9)


@given(seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_listnet_is_its_formula(seed):
    contrast = make(seed)
    terms = [-(softmax(grade / 3) * np.log(softmax(score / 0.1))).sum() for score, grade in lists(contrast)]
    loss = ListNet(0.1, grade_temperature=3)(contrast).item()
    assert loss == pytest.approx(float(np.mean(terms)) if terms else 0, rel=1e-7, abs=1e-9)


@given(seed=SEEDS, shift=st.floats(-20, 20))
@settings(max_examples=30, deadline=None)
def test_only_differences_between_a_teachers_scores_count(seed, shift):
    contrast = make(seed)
    shifted = replace(contrast, teacher_BC=contrast.teacher_BC + shift)
    for objective in (MarginMSE(), ListDistillation(), ListNet()):
        assert objective(shifted).item() == pytest.approx(objective(contrast).item(), rel=1e-7, abs=1e-7)


def test_a_model_that_agrees_with_its_teacher_has_nothing_to_learn():
    contrast = make(11)
    score = similarity(contrast.query_BD, contrast.passage_PD)
    teacher = score.gather(1, contrast.listed_BC.clamp(min=0))
    assert MarginMSE(scale=7)(replace(contrast, teacher_BC=7 * teacher)).item() == pytest.approx(0, abs=1e-12)
    distillation = ListDistillation(0.05, teacher_temperature=2, contrastive=0)
    assert distillation(replace(contrast, teacher_BC=teacher * 40)).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("kind", [name for name in OBJECTIVES if name != "infonce"])
def test_a_teacher_is_missed_by_name_and_a_batch_without_its_scores_is_none_the_worse(kind):
    with pytest.raises(UsageError, match="needs a teacher's scores or graded labels, and the data has none"):
        OBJECTIVES[kind]()(make(2, teacher=False))
    contrast = make(2)
    unscored = replace(contrast, listed_BC=torch.full_like(contrast.listed_BC, -1))
    wanted = 0.2 * expected(contrast) if kind == "distillation" else 0
    assert OBJECTIVES[kind]()(unscored).item() == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize(
    ("kind", "wrong", "message"),
    [
        (InfoNCE, {"temperature": 0}, "temperature must be a number of at least 0.0001, not 0"),
        (InfoNCE, {"temperature": 2, "learned": True}, "temperature must be a number from 0.01 to 1, not 2"),
        (InfoNCE, {"queue_share": 1.1}, "queue_share must be a number from 0 to 1, not 1.1"),
        (InfoNCE, {"dual": -1}, "dual must be a number from 0 to 1, not -1"),
        (InfoNCE, {"hardest": 2}, "hardest must be a number from 0 to 1, not 2"),
        (InfoNCE, {"ceiling": 1.5}, "ceiling must be a number from 0 to 1, not 1.5"),
        (MarginMSE, {"scale": 0}, "scale must be a number of at least 0.0001, not 0"),
        (ListDistillation, {"temperature": 0}, "temperature must be a number of at least 0.0001, not 0"),
        (
            ListDistillation,
            {"teacher_temperature": 0},
            "teacher_temperature must be a number of at least 0.0001, not 0",
        ),
        (ListDistillation, {"contrastive": -1}, "contrastive must be a number of at least 0, not -1"),
        (ListNet, {"temperature": 0}, "temperature must be a number of at least 0.0001, not 0"),
        (ListNet, {"grade_temperature": 0}, "grade_temperature must be a number of at least 0.0001, not 0"),
    ],
)
def test_a_setting_out_of_its_range_is_refused_by_name_value_and_range(kind, wrong, message):
    with pytest.raises(UsageError) as caught:
        kind(**wrong)
    assert str(caught.value) == message
