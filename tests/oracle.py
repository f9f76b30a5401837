"""All definitions of readouts as naive float64 loops over samples, classes and features.

Slow and obvious on purpose, and written from the definitions, not from the package. A sample's
labels under its own prediction are enumerated; nothing here knows a closed form.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import torch
from scipy.optimize import linprog


@dataclass(frozen=True, eq=False)
class Head:
    """Features Z (N, D), logits A (N, K), weight W (K, D), all float64, and the link."""

    Z: np.ndarray
    A: np.ndarray
    W: np.ndarray
    link: str

    @classmethod
    def of(cls, capture):
        tensors = (capture.features, capture.logits, capture.weight)
        return cls(*[t.detach().double().numpy() for t in tensors], capture.link)

    @property
    def N(self):  # noqa: N802 (the field's letters)
        return self.A.shape[0]

    @property
    def K(self):  # noqa: N802
        return self.A.shape[1]

    @property
    def D(self):  # noqa: N802
        return self.Z.shape[1]

    @cached_property
    def P(self):  # noqa: N802
        if self.link == "softmax":
            return np.array([softmax(row) for row in self.A])
        if self.link == "sigmoid":
            return np.array([[sigmoid(a) for a in row] for row in self.A])
        return self.A


# --- small mathematics ---------------------------------------------------------------------------


def softmax(row):
    terms = [math.exp(a - max(row)) for a in row]
    return [term / sum(terms) for term in terms]


def sigmoid(a):
    return 1 / (1 + math.exp(-a)) if a > 0 else math.exp(a) / (1 + math.exp(a))


def norm(vector, p=2):
    if p == math.inf:
        return max(abs(x) for x in vector)
    return sum(abs(x) ** p for x in vector) ** (1 / p)


def dot(u, v):
    return sum(x * y for x, y in zip(u, v, strict=True))


def mean(values):
    return sum(values) / len(values)


def shannon(probabilities):
    return -sum(p * math.log(p) for p in probabilities if p > 0)


def kullback(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def centre(Z):
    centroid = [mean(column) for column in Z.T]
    return np.array([[z - c for z, c in zip(row, centroid, strict=True)] for row in Z])


def outer_sum(R, Z):
    """Σ_i r_i ⊗ z_i, shape (K, D)."""
    G = np.zeros((R.shape[1], Z.shape[1]))
    for i in range(len(R)):
        for k in range(R.shape[1]):
            for d in range(Z.shape[1]):
                G[k, d] += R[i, k] * Z[i, d]
    return G


def spectral_norm(Z):
    return max(np.linalg.svd(Z, compute_uv=False))


# --- anchors: Q (N, K) ---------------------------------------------------------------------------


def uniform(head):
    return np.full((head.N, head.K), 1 / head.K if head.link == "softmax" else 0.5)


def prior(head):
    return np.array([[mean(head.P[:, k]) for k in range(head.K)] for _ in range(head.N)])


def pseudo(head):
    if head.link == "sigmoid":
        return np.array([[1.0 if p > 0.5 else 0.0 for p in row] for row in head.P])
    return one_hot([int(np.argmax(row)) for row in head.P], head.K)


def gd_score_labels(head):
    drawn = torch.randint(head.K, (head.N,), generator=torch.Generator().manual_seed(0))
    chosen = [
        int(np.argmax(row)) if max(row) >= 0.5 else int(drawn[i]) for i, row in enumerate(head.P)
    ]
    return one_hot(chosen, head.K)


def one_hot(labels, K):
    return np.array([[1.0 if k == y else 0.0 for k in range(K)] for y in labels])


ANCHORS = {"uniform": uniform, "prior": prior, "pseudo": pseudo, "gd_score": gd_score_labels}


# --- every label a sample could draw from its own prediction, with its probability ---------------


def possible_labels(head, i):
    p = head.P[i]
    if head.link == "softmax":
        return [(p[k], one_hot([k], head.K)[0]) for k in range(head.K)]
    chances = []
    for y in itertools.product([0.0, 1.0], repeat=head.K):
        chances.append((math.prod(a if t else 1 - a for a, t in zip(p, y, strict=True)), y))
    return chances


@cache
def residual_moments(head):
    """E[r_i] and E‖r_i‖² of every sample."""
    first, second = [], []
    for i, p in enumerate(head.P):
        drawn = [(chance, [a - t for a, t in zip(p, y, strict=True)])
                 for chance, y in possible_labels(head, i)]  # fmt: skip
        first.append([sum(chance * r[k] for chance, r in drawn) for k in range(head.K)])
        second.append(sum(chance * dot(r, r) for chance, r in drawn))
    return first, second


# --- projections with an anchor ------------------------------------------------------------------


def divergence(head, Q, i):
    if head.link == "softmax":
        return kullback(head.P[i], Q[i])
    return sum(kullback((p, 1 - p), (q, 1 - q)) for p, q in zip(head.P[i], Q[i], strict=True))


def agreement(head, Q, i):
    """The chance that a label drawn from P is one drawn from Q; a class at a time for sigmoid."""
    if head.link == "softmax":
        return dot(head.P[i], Q[i])
    return mean([p * q + (1 - p) * (1 - q) for p, q in zip(head.P[i], Q[i], strict=True)])


def jensen_shannon(head, Q, i):
    """Mean of the divergences of P and of Q from the point between them."""
    pairs = [(head.P[i], Q[i])]
    if head.link == "sigmoid":
        pairs = [((p, 1 - p), (q, 1 - q)) for p, q in zip(head.P[i], Q[i], strict=True)]
    total = 0.0
    for p, q in pairs:
        middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
        total += (kullback(p, middle) + kullback(q, middle)) / 2
    return total


PER_SAMPLE = {
    "gradient": lambda head, Q, i: norm(head.P[i] - Q[i]) * norm(head.Z[i]),
    "divergence": divergence,
    "agreement": agreement,
    "jensen_shannon": jensen_shannon,
    "ood_gradient": lambda head, Q, i: norm(head.Z[i], 1) * norm(head.P[i] - Q[i], 1),
}


def batch_gradient(head, Q):
    return norm((outer_sum(head.P - Q, head.Z) / head.N).ravel())


def centred_batch_gradient(head, Q):
    return norm((outer_sum(head.P - Q, centre(head.Z)) / head.N).ravel())


def quasinorm_batch_gradient(head, Q):
    return norm((outer_sum(head.P - Q, head.Z) / head.N).ravel(), 0.3)


def gwa(head, Q):
    cosines = []
    for i in range(head.N):
        g = np.array([[r * z for z in head.Z[i]] for r in head.P[i] - Q[i]]).ravel()
        cosines.append(dot(-g, head.W.ravel()) / (norm(g) * norm(head.W.ravel())))
    middle = mean(cosines)
    m2 = mean([(c - middle) ** 2 for c in cosines])
    m4 = mean([(c - middle) ** 4 for c in cosines])
    return middle / (m4 / m2**2 - 3 + 1.2)


SCALARS = {
    "batch_gradient": batch_gradient,
    "centred_batch_gradient": centred_batch_gradient,
    "quasinorm_batch_gradient": quasinorm_batch_gradient,
    "sharpness": lambda head, Q: 0.1 * norm(head.W.ravel()) * batch_gradient(head, Q),
    "gwa": gwa,
}


# --- projections without an anchor ---------------------------------------------------------------


def entropy(head, i):
    if head.link == "softmax":
        return shannon(head.P[i])
    return sum(shannon((p, 1 - p)) for p in head.P[i])


def confidence(head, i):
    p = head.P[i]
    return max(p) if head.link == "softmax" else mean([max(x, 1 - x) for x in p])


def margin(head, i):
    if head.link == "sigmoid":
        return mean([abs(2 * p - 1) for p in head.P[i]])
    first, second = sorted(head.P[i], reverse=True)[:2]
    return first - second


def energy(head, i):
    if head.link == "softmax":
        top = max(head.A[i])
        return top + math.log(sum(math.exp(a - top) for a in head.A[i]))
    return sum(max(a, 0) + math.log1p(math.exp(-abs(a))) for a in head.A[i])


def fisher_trace(head, i):
    """‖z_i‖² E‖r_i‖² over labels drawn from p_i, relative to mean ‖z‖²."""
    squares = [norm(z) ** 2 for z in head.Z]
    residual = head.K if head.link == "identity" else residual_moments(head)[1][i]
    return squares[i] * residual / mean(squares)


def curvature_trace(head, i):
    """‖z_i‖² E‖r_i‖² over labels drawn from p_i."""
    residual = head.K if head.link == "identity" else residual_moments(head)[1][i]
    return norm(head.Z[i]) ** 2 * residual


PLAIN_PER_SAMPLE = {
    "curvature_trace": curvature_trace,
    "fisher_trace": fisher_trace,
    "entropy": entropy,
    "confidence": confidence,
    "margin": margin,
    "energy": energy,
}


def nuclear(head):
    singular = np.linalg.svd(head.P, compute_uv=False)
    return sum(singular) / math.sqrt(head.N * min(head.N, head.K))


def mde(head):
    shares = softmax([-energy(head, i) for i in range(head.N)])
    return math.log(-mean([math.log(share) for share in shares]))


def mano(head):
    phi = mean([-mean([math.log(p) for p in row]) for row in head.P])
    rows = []
    for i in range(head.N):
        taylor = [1 + a + a * a / 2 for a in head.A[i]]
        shifted = [t - min(taylor) for t in taylor]
        rows.append(head.P[i] if phi > 5 else [s / sum(shifted) for s in shifted])
    return norm(np.array(rows).ravel(), 4) / (head.N * head.K) ** 0.25


def softmax_corr(head):
    C = np.zeros((head.K, head.K))
    for p in head.P:
        for k in range(head.K):
            for m in range(head.K):
                C[k, m] += p[k] * p[m] / head.N
    D = np.diag(prior(head)[0])
    return dot(C.ravel(), D.ravel()) / (norm(C.ravel()) * norm(D.ravel()))


def class_counts(head):
    """N / K labels per class; the remainder goes to the classes with the largest p̄."""
    counts = [head.N // head.K] * head.K
    by_prior = sorted(range(head.K), key=lambda k: -prior(head)[0][k])
    for k in by_prior[: head.N % head.K]:
        counts[k] += 1
    return counts


def cot(head):
    counts = class_counts(head)
    cost = np.array(
        [[sum(abs((k == m) - p[m]) for m in range(head.K)) / 2 for k in range(head.K)]
         for p in head.P]
    )  # fmt: skip
    if head.N <= 5:
        labels = [k for k in range(head.K) for _ in range(counts[k])]
        orders = itertools.permutations(labels)
        return min(mean([cost[i, k] for i, k in enumerate(order)]) for order in orders)
    return transport(cost, [1.0] * head.N, counts) / head.N


def transport(cost, supply, demand):
    """Least cost of moving `supply` (rows) to `demand` (columns), as a linear program."""
    rows, columns = cost.shape
    constraints = np.zeros((rows + columns, rows * columns))
    for i in range(rows):
        for k in range(columns):
            constraints[i, i * columns + k] = constraints[rows + k, i * columns + k] = 1
    return linprog(cost.ravel(), A_eq=constraints, b_eq=[*supply, *demand]).fun


def separation(head):
    predicted = [int(np.argmax(p)) for p in head.P]
    overall = np.array([mean(column) for column in head.Z.T])
    between = 0.0
    for k in set(predicted):
        members = np.array([head.Z[i] for i in range(head.N) if predicted[i] == k])
        centroid = np.array([mean(column) for column in members.T])
        between += len(members) * norm(centroid - overall) ** 2
    if len(set(predicted)) == 1:
        return 0.0
    return between / sum(norm(z - overall) ** 2 for z in head.Z)


def dispersion(head):
    predicted = [int(np.argmax(p)) for p in head.P]
    overall = np.array([mean(column) for column in head.Z.T])
    total = 0.0
    for k in set(predicted):
        members = np.array([head.Z[i] for i in range(head.N) if predicted[i] == k])
        centroid = np.array([mean(column) for column in members.T])
        total += len(members) * norm(centroid - overall) ** 2
    return math.log(total / head.N) if len(set(predicted)) > 1 else -math.inf


def rankme(head):
    singular = np.linalg.svd(head.Z, compute_uv=False)
    return math.exp(shannon([s / sum(singular) for s in singular]))


@cache
def curvature(head):
    """Eigenvalues of the mean of g gᵀ over samples and labels drawn from P, g = r ⊗ z.

    For identity links those of the mean of I ⊗ zzᵀ, the Hessian of half squared errors.
    """
    H = np.zeros((head.K * head.D, head.K * head.D))
    for i, (p, z) in enumerate(zip(head.P, head.Z, strict=True)):
        C = np.eye(head.K)
        if head.link != "identity":
            drawn = [(chance, p - np.array(y)) for chance, y in possible_labels(head, i)]
            C = sum(chance * np.outer(r, r) for chance, r in drawn)
        H += np.kron(C, np.outer(z, z)) / head.N
    return np.linalg.eigvalsh(H)


def curvature_rank(head):
    return sum(curvature(head)) ** 2 / sum(curvature(head) ** 2)


def sharpness_second_order(head):
    return (0.1 * norm(head.W.ravel())) ** 2 * max(curvature(head)) / 2


PLAIN_SCALARS = {
    "curvature_largest": lambda head: max(curvature(head)),
    "curvature_rank": curvature_rank,
    "sharpness_second_order": sharpness_second_order,
    "nuclear": nuclear,
    "mde": mde,
    "mano": mano,
    "softmax_corr": softmax_corr,
    "cot": cot,
    "dispersion": dispersion,
    "separation": separation,
    "rankme": rankme,
}


# --- normalizations ------------------------------------------------------------------------------


def rms(Z):
    return math.sqrt(mean([norm(z) ** 2 for z in Z]))


NORMALIZATIONS = {
    "none": lambda head: 1.0,
    "head": lambda head: norm(head.W.ravel()),
    "feature": lambda head: rms(head.Z),
    "both": lambda head: norm(head.W.ravel()) * rms(head.Z),
    "centred_feature": lambda head: rms(centre(head.Z)),
}


# --- points of the grid, "anchor/projection/normalization"; anchor "none" for a statistic ---------

ONE_HOT_ANCHORS = {"pseudo", "gd_score", "labels"}  # the divergence from them is infinite
SOFTMAX_ONLY = {"gd_score", "mano", "softmax_corr", "cot", "dispersion", "separation"}
# The power to which normalizations are raised, where it is not 1.
DEGREES = {
    "curvature_trace": 2,
    "curvature_largest": 2,
    "curvature_rank": 0,
    "sharpness_second_order": 2,
}
STATISTICS = {*PLAIN_PER_SAMPLE, *PLAIN_SCALARS}
NOT_FOR_IDENTITY = {
    *("uniform", "pseudo", "gd_score", "divergence", "agreement", "jensen_shannon"),
    *(STATISTICS - {"rankme", "fisher_trace", *DEGREES}),
}
SIMILARITIES = {"agreement"}  # the nearer to the anchor, the larger
MEANS = {*PER_SAMPLE, *PLAIN_PER_SAMPLE}


def all_points():
    """Every combination of parts, defined or not."""
    for normalization in NORMALIZATIONS:
        for projection in [*PER_SAMPLE, *SCALARS]:
            for anchor in ANCHORS:
                yield f"{anchor}/{projection}/{normalization}"
        for statistic in sorted(STATISTICS):
            yield f"none/{statistic}/{normalization}"


def points(link, normalizations=tuple(NORMALIZATIONS)):
    """The points that are defined for a link."""
    chosen = [point for point in all_points() if point.split("/")[2] in normalizations]
    return [point for point in chosen if not why_undefined(link, point)]


def why_undefined(link, point):
    """Pairs (part, the link or anchor that it is undefined for); empty if the point is defined."""
    anchor, projection, normalization = point.split("/")
    reasons = []
    for part in (anchor, projection, normalization):
        if part in {"identity": NOT_FOR_IDENTITY, "sigmoid": SOFTMAX_ONLY, "softmax": set()}[link]:
            reasons.append((part, link))
    if projection == "divergence" and anchor in ONE_HOT_ANCHORS:
        reasons.append((projection, anchor))
    return reasons


def value(head, point):
    anchor, projection, normalization = point.split("/")
    return _value(head, anchor, projection) / scale(head, projection, normalization)


def per_sample(head, point):
    anchor, projection, normalization = point.split("/")
    divisor = scale(head, projection, normalization)
    return [v / divisor for v in _samples(head, anchor, projection)]


def scale(head, projection, normalization):
    return NORMALIZATIONS[normalization](head) ** DEGREES.get(projection, 1)


def value_against(head, Q, projection):
    """A projection on a given Q, shape (N, K)."""
    if projection in MEANS:
        return mean(samples_against(head, Q, projection))
    return SCALARS[projection](head, Q)


def samples_against(head, Q, projection):
    return [PER_SAMPLE[projection](head, Q, i) for i in range(head.N)]


@cache
def _samples(head, anchor, projection):
    if anchor == "none":
        return [PLAIN_PER_SAMPLE[projection](head, i) for i in range(head.N)]
    return samples_against(head, ANCHORS[anchor](head), projection)


@cache
def _value(head, anchor, projection):
    if projection in MEANS:
        return mean(_samples(head, anchor, projection))
    if anchor == "none":
        return PLAIN_SCALARS[projection](head)
    return value_against(head, ANCHORS[anchor](head), projection)


# --- named readouts: (what it is, is higher better; None means as measured, links it is for) ------


def mutual_information(head):
    def spread(p):
        return shannon(p) if head.link == "softmax" else sum(shannon((x, 1 - x)) for x in p)

    return spread(prior(head)[0]) - mean([spread(p) for p in head.P])


ANY = ("softmax", "sigmoid", "identity")
CLASSIFIER = ("softmax", "sigmoid")
SOFTMAX = ("softmax",)

NAMED = {
    "sample_gradient": (lambda h: value(h, "prior/gradient/feature"), True, ANY),
    "covariance_gradient": (
        lambda h: norm((outer_sum(h.P, centre(h.Z)) / h.N).ravel()) / rms(centre(h.Z)), True, ANY
    ),
    "head_gradient": (lambda h: batch_gradient(h, pseudo(h)) / rms(h.Z), False, CLASSIFIER),
    "gd_score": (lambda h: quasinorm_batch_gradient(h, gd_score_labels(h)), None, SOFTMAX),
    "gradnorm_ood": (lambda h: value(h, "uniform/ood_gradient/none"), True, CLASSIFIER),
    "gwa": (lambda h: gwa(h, pseudo(h)), True, CLASSIFIER),
    "mutual_information": (mutual_information, True, CLASSIFIER),
    "entropy": (lambda h: value(h, "none/entropy/none"), False, CLASSIFIER),
    "confidence": (lambda h: value(h, "none/confidence/none"), True, CLASSIFIER),
    "margin": (lambda h: value(h, "none/margin/none"), True, CLASSIFIER),
    "energy": (lambda h: value(h, "none/energy/none"), None, CLASSIFIER),
    "nuclear": (nuclear, True, CLASSIFIER),
    "mde": (mde, None, CLASSIFIER),
    "mano": (mano, True, SOFTMAX),
    "softmax_corr": (softmax_corr, True, SOFTMAX),
    "cot": (cot, False, SOFTMAX),
    "dispersion": (dispersion, True, SOFTMAX),
    "separation": (separation, True, SOFTMAX),
    "rankme": (rankme, True, ANY),
    "fisher_trace": (lambda h: value(h, "none/fisher_trace/none"), False, ANY),
    "curvature_trace": (lambda h: sum(curvature(h)), False, ANY),
    "curvature_largest": (lambda h: max(curvature(h)), False, ANY),
    "curvature_rank": (curvature_rank, False, ANY),
    "sharpness_first_order": (lambda h: value(h, "pseudo/sharpness/none"), False, CLASSIFIER),
    "sharpness_second_order": (sharpness_second_order, False, ANY),
}  # fmt: skip
