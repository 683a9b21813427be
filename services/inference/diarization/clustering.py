"""Spans of one voice get one label: average-link clustering, then merges and splits of its clusters.

Constants fitted to real single-speaker audio with spans of 2.0 s every 0.5 s.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from services.inference.pcm import Floats

Labels = npt.NDArray[np.intp]

LINK_DISTANCE = 0.34
LINK_DISTANCE_OF_FEW = 0.36
MERGE_SIMILARITY = 0.85
ROOT_SIMILARITY = 0.885
SPLIT_MARGIN = 0.01
MOST_LINKED_SPANS = 4_000
MOST_SPEAKERS = 20
REFINEMENT_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class SpeakerCount:
    """What the caller knows about the number of speakers; raises ValueError for an empty range."""

    minimum: int = 1
    maximum: int = MOST_SPEAKERS

    def __post_init__(self) -> None:
        if not 1 <= self.minimum <= self.maximum:
            raise ValueError("speakers: 1 <= minimum <= maximum")

    @classmethod
    def exactly(cls, speakers: int) -> "SpeakerCount":
        """A known number."""
        return cls(speakers, speakers)


def cluster_speakers(embeddings: Floats, count: SpeakerCount) -> Labels:
    """One label per span, 0 .. speakers - 1.

    embeddings: (spans, 256) rows of length 1. Past 4,000 spans (half an hour of speech) an even sample is
    clustered, as the distance matrix grows with the square, and every span goes to its nearest centroid.
    """
    if len(embeddings) > MOST_LINKED_SPANS:
        sample = np.linspace(0, len(embeddings) - 1, MOST_LINKED_SPANS).astype(np.intp)
        labels = cluster_speakers(embeddings[sample], count)
        return nearest(embeddings, centroids(embeddings[sample], labels))
    if not len(embeddings):
        return np.zeros(0, np.intp)
    return enforce_count(embeddings, estimate_speakers(embeddings), count)


def estimate_speakers(embeddings: Floats) -> Labels:
    """Labels with the number of speakers found by similarity alone."""
    if len(embeddings) < 4:
        return average_link(embeddings, LINK_DISTANCE_OF_FEW)
    crumb = smallest_cluster(len(embeddings))
    labels = absorb_crumbs(embeddings, average_link(embeddings, LINK_DISTANCE), crumb)
    labels = refine(embeddings, labels)
    for _ in range(REFINEMENT_ROUNDS):
        before = labels.max()
        labels = refine(embeddings, merge_alike(embeddings, labels))
        labels = refine(embeddings, split_unlike(embeddings, labels, crumb))
        if labels.max() == before:
            break
    labels = absorb_crumbs(embeddings, labels, crumb)
    return labels if labels.max() else split_root(embeddings, labels)


def smallest_cluster(spans: int) -> float:
    """Spans that a speaker needs: 3 % of all, between 1.6 and 4 (2 s of speech)."""
    return min(4.0, max(1.6, 0.03 * spans))


def own_similarity(spans: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """How alike two halves of one speaker's spans are at least; small halves are noisy."""
    return np.minimum(MERGE_SIMILARITY, 0.905 - 2.0 / (np.asarray(spans) * 5 / 6 + 4))


def only_similarity(spans: int) -> float:
    """The same for a file that seems to have one speaker: stricter, as nothing else will part two voices.

    Halves of eight recordings of one voice (8 to 48 spans, telephone, meeting, archive, synthetic) are more alike, those of two
    telephone voices in one recording less.
    """
    return min(ROOT_SIMILARITY, 0.945 - 2.4 / (spans * 5 / 6 + 4))


def average_link(embeddings: Floats, distance: float) -> Labels:
    """Agglomeration by mean cosine distance up to a limit."""
    if len(embeddings) < 2:
        return np.zeros(len(embeddings), np.intp)
    distances = np.clip(1 - embeddings.astype(np.float64) @ embeddings.T, 0, None)
    distances = (distances + distances.T) / 2
    np.fill_diagonal(distances, 0)
    tree = linkage(squareform(distances, checks=False), "average")
    return renumber(fcluster(tree, distance, "distance"))


def absorb_crumbs(embeddings: Floats, labels: Labels, crumb: float) -> Labels:
    """Give clusters with fewer spans than `crumb` to their most similar neighbour, smallest first.

    Sums are kept up to date, not recomputed: noise taken for speech makes thousands of crumbs.
    """
    labels = renumber(labels)
    sums, sizes = cluster_sums(embeddings, labels), np.bincount(labels).astype(np.float64)
    heir = np.arange(len(sizes))
    while np.isfinite(sizes).sum() > 1 and sizes.min() < crumb:
        smallest = int(sizes.argmin())
        likeness = (sums @ sums[smallest]) / (np.linalg.norm(sums, axis=1) + 1e-9)
        likeness[smallest] = -np.inf
        likeness[np.isinf(sizes)] = -np.inf
        closest = int(likeness.argmax())
        sums[closest] += sums[smallest]
        sizes[closest] += sizes[smallest]
        sizes[smallest] = np.inf
        heir[heir == smallest] = closest
    return renumber(heir[labels])


def refine(embeddings: Floats, labels: Labels) -> Labels:
    """Move spans to their nearest centroid, three rounds at most."""
    for _ in range(REFINEMENT_ROUNDS):
        moved = renumber(nearest(embeddings, centroids(embeddings, labels)))
        if np.array_equal(moved, labels):
            break
        labels = moved
    return labels


def merge_alike(embeddings: Floats, labels: Labels) -> Labels:
    """Join the two clusters most clearly of one voice until none are."""
    while labels.max() > 0:
        sizes = np.bincount(labels)
        margins = pair_similarities(embeddings, labels) - own_similarity(2 * np.minimum.outer(sizes, sizes))
        one, other = np.unravel_index(margins.argmax(), margins.shape)
        if margins[one, other] < 0:
            break
        labels = renumber(np.where(labels == one, other, labels))
    return labels


def split_unlike(embeddings: Floats, labels: Labels, crumb: float) -> Labels:
    """Halve every cluster whose halves are less alike than one voice's."""
    labels = labels.copy()
    for cluster in range(int(labels.max()) + 1):
        members = np.flatnonzero(labels == cluster)
        if len(members) < max(6.0, 2 * crumb) or labels.max() + 1 >= MOST_SPEAKERS:
            continue
        half, similarity = bisect(embeddings[members])
        alike = own_similarity(len(members)) - SPLIT_MARGIN
        if similarity < alike and np.bincount(half, minlength=2).min() >= crumb:
            labels[members[half == 1]] = labels.max() + 1
    return labels


def split_root(embeddings: Floats, labels: Labels) -> Labels:
    """One speaker or two: a stricter test on the whole file."""
    spans = len(embeddings)
    if spans < 8:
        return labels
    half, similarity = bisect(embeddings)
    enough = np.bincount(half, minlength=2).min() >= max(2.0, 0.1 * spans)
    return half if enough and similarity < only_similarity(spans) else labels


def enforce_count(embeddings: Floats, labels: Labels, count: SpeakerCount) -> Labels:
    """Merge the most similar or split the least alike until the caller's range holds.

    Fewer than the minimum remain only where there are fewer distinct spans.
    """
    while labels.max() + 1 > count.maximum:
        similarities = pair_similarities(embeddings, labels)
        one, other = np.unravel_index(similarities.argmax(), similarities.shape)
        labels = renumber(np.where(labels == one, other, labels))
    while labels.max() + 1 < count.minimum:
        divided = split_widest(embeddings, labels)
        if divided is None:
            break
        labels = divided
    refined = refine(embeddings, labels)
    return refined if refined.max() == labels.max() else labels


def split_widest(embeddings: Floats, labels: Labels) -> Labels | None:
    """Halve the cluster with the least similar halves, larger halves preferred; None if none divides."""
    best: tuple[float, Labels] | None = None
    for cluster in range(int(labels.max()) + 1):
        members = np.flatnonzero(labels == cluster)
        if len(members) < 2:
            continue
        half, similarity = bisect(embeddings[members])
        smaller = int(np.bincount(half, minlength=2).min())
        cost = similarity - 0.02 * np.log(max(smaller * 0.5, 0.3))
        if smaller and (best is None or cost < best[0]):
            best = (cost, members[half == 1])
    if best is None:
        return None
    labels = labels.copy()
    labels[best[1]] = labels.max() + 1
    return labels


def bisect(embeddings: Floats) -> tuple[Labels, float]:
    """Two halves by 2-means on the sphere, and the similarity of their centroids.

    Fitted without the twentieth least like the mean: a cough is no speaker. Five starts, fixed seed.
    """
    typical = embeddings
    if len(embeddings) >= 20:
        likeness = embeddings @ embeddings.mean(axis=0)
        typical = embeddings[likeness >= np.quantile(likeness, 0.05)]
    random = np.random.default_rng(0)
    runs = [two_means(typical, random) for _ in range(5)]
    best = max(runs, key=lambda run: run[1])[0]
    return nearest(embeddings, best), float(best[0] @ best[1])


def two_means(embeddings: Floats, random: np.random.Generator) -> tuple[Floats, float]:
    """Two centroids and how well they fit: the mean similarity of a span to its own."""
    first = embeddings[random.integers(len(embeddings))]
    distances = np.clip(1 - embeddings @ first, 0, None).astype(np.float64)
    total = distances.sum()
    weights = distances / total if total > 1e-9 else None
    means = np.stack([first, embeddings[random.choice(len(embeddings), p=weights)]])
    for _ in range(50):
        labels = nearest(embeddings, means)
        if np.bincount(labels, minlength=2).min() == 0:
            break
        moved = centroids(embeddings, labels)
        if np.allclose(moved, means):
            break
        means = moved
    return means, float((embeddings @ means.T).max(axis=1).mean())


def centroids(embeddings: Floats, labels: Labels) -> Floats:
    """(clusters, 256) mean directions, rows of length 1."""
    sums = cluster_sums(embeddings, labels)
    return np.asarray(sums / (np.linalg.norm(sums, axis=1, keepdims=True) + 1e-9), np.float32)


def cluster_sums(embeddings: Floats, labels: Labels) -> Floats:
    """(clusters, 256) sums of the rows of each cluster; every cluster has a row."""
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], np.arange(int(labels.max()) + 1))
    return np.asarray(np.add.reduceat(embeddings[order], starts, axis=0), np.float32)


def nearest(embeddings: Floats, means: Floats) -> Labels:
    """Index of the most similar centroid per span."""
    return np.asarray((embeddings @ means.T).argmax(axis=1), np.intp)


def pair_similarities(embeddings: Floats, labels: Labels) -> npt.NDArray[np.float64]:
    """(clusters, clusters) cosines of centroids, -inf on the diagonal."""
    means = centroids(embeddings, labels).astype(np.float64)
    similarities = means @ means.T
    np.fill_diagonal(similarities, -np.inf)
    return similarities


def renumber(labels: npt.NDArray[np.integer]) -> Labels:
    """The same clusters as 0 .. clusters - 1."""
    return np.asarray(np.unique(labels, return_inverse=True)[1], np.intp)
