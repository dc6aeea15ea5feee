"""Measures of two sets of images by their features, float [N, F], from `gan.feature_networks` or elsewhere.

Every function takes the features of real images first, those of generated images second, and returns one number.
`report` returns all of them, each with its 95 % interval. A number depends on the feature network, and most depend on
the number of images: compare what was measured with the same network, the same real images and as many generated ones.
"""

import dataclasses

import numpy as np
from etils import epy

from gan import seeds

with epy.lazy_imports():
    import scipy.stats
    import threadpoolctl
    from sklearn import linear_model, pipeline, preprocessing
    from sklearn import metrics as sklearn_metrics
    from sklearn.metrics import pairwise

NEIGHBOURS = 5
GROUPS = 20
_ROWS = 500  # compared with all training images at once
_COPIES = 0.5  # of the usual distance to the training images: nearer looks like copying
LEAST_DISTANCE = 1e-12  # between real images, so that equal ones do not divide by 0
_LEAST_PENALTY = 1e-3  # so that exact copies do not divide by 0
_RANGES = {
    "kid": (-np.inf, np.inf),
    **dict.fromkeys(("precision", "recall", "coverage", "two_sample_accuracy"), (0.0, 1.0)),
}


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A measure's value and its 95 % interval: what other images of the same two sources would have given."""

    value: float
    low: float
    high: float

    def __str__(self):
        return f"{self.value:.4g} ({self.low:.4g} to {self.high:.4g})"


def kid(real, generated):
    """Kernel Inception Distance: the squared maximum mean discrepancy with the kernel (x.y / F + 1)^3.

    The unbiased estimate over all pairs, so equal distributions give 0 on average for any number of images, and single
    values may be below 0. Lower is better. Bińkowski et al. 2018, Demystifying MMD GANs, section 4.

    Args:
      real, generated: float [N, F], [M, F]; at least 2 each.
    """
    real, generated = _checked(real, generated, least=2)
    return _kid(_kernels(real, generated), np.ones(len(real)), np.ones(len(generated)))


def frechet_distance(real, generated):
    """Fréchet distance of two Gaussians with the features' means and covariances: FID, where the network is Inception.

    From 0 up; lower is better. It is biased upwards where images are few: prefer `kid` under about 20 images a feature.
    Heusel et al. 2017, GANs Trained by a Two Time-Scale Update Rule, section 3 (equation 6).

    Args:
      real, generated: float [N, F], [M, F]; at least 2 each.
    """
    real, generated = _checked(real, generated, least=2)
    shift = real.mean(axis=0) - generated.mean(axis=0)
    # With A'A and B'B the covariances, tr((A'A B'B)^1/2) is the sum of the singular values of AB', and A and B may be
    # triangular: no covariance is squared or rooted, so singular ones lose no digits.
    a, b = (
        np.linalg.qr(features - features.mean(axis=0), mode="r") / np.sqrt(len(features) - 1)
        for features in (real, generated)
    )
    shared = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return float(max(0.0, shift @ shift + np.sum(a**2) + np.sum(b**2) - 2.0 * shared))


def precision(real, generated):
    """Share of generated images that look real: that lie within the 5th-neighbour ball of a real image.

    From 0 to 1; higher is better. Kynkäänniemi et al. 2019, Improved Precision and Recall Metric, section 2.

    Args:
      real, generated: float [N, F], [M, F]; at least 6 each.
    """
    return _all_neighbourhoods(real, generated)["precision"]


def recall(real, generated):
    """Share of real images that the generator could have made: within the 5th-neighbour ball of a generated image.

    From 0 to 1; higher is better. Outliers among the generated images raise it, as their balls are large; they leave
    `coverage` as it is. Source and arguments as of `precision`.
    """
    return _all_neighbourhoods(real, generated)["recall"]


def density(real, generated):
    """How many real images' 5th-neighbour balls a generated image lies in, divided by 5.

    From 0 up; about 1 where the distributions are equal, more where the generated images keep to the most usual ones.
    Like `precision`, but no single real outlier decides. Naeem et al. 2020, Reliable Fidelity and Diversity Metrics,
    section 3.2. Arguments as of `precision`.
    """
    return _all_neighbourhoods(real, generated)["density"]


def coverage(real, generated):
    """Share of real images in whose 5th-neighbour ball a generated image lies.

    From 0 to 1; higher is better; about 0.97 where the distributions are equal and the sets of one size, less where
    fewer images were generated. Source and arguments as of `density`.
    """
    return _all_neighbourhoods(real, generated)["coverage"]


def memorisation_distance(generated, training):
    """Mean over the generated images of the cosine distance to the nearest training image.

    From 0, all copies, to 2; compare with that of real images that were not trained on. Bai et al. 2021, On Training
    Sample Memorization, section 4.1 (MiFID), but without the absolute value of the cosine: there features are not
    negative, so it changes nothing; here, where they have mean 0, an opposite would pass for a copy.

    Args:
      generated, training: float [M, F], [T, F].
    """
    generated, training = _checked(generated, training, least=1, names=("generated", "training"))
    return float(_to_nearest(generated, training).mean())


def penalised_frechet_distance(real, generated, training, threshold=None):
    """Fréchet distance, divided by the memorisation distance where that is below a threshold: MiFID.

    From 0 up; lower is better. Bai et al. 2021, section 4.2.

    Args:
      real: float [N, F], of images that were not trained on.
      generated, training: float [M, F], [T, F].
      threshold: the paper's is 0.1, for Inception. Without one: half the memorisation distance of `real`, since what is
        near depends on the network.
    """
    if threshold is None:
        threshold = _COPIES * memorisation_distance(real, training)
    distance = memorisation_distance(generated, training)
    return frechet_distance(real, generated) / _penalty(distance, threshold)


def two_sample_accuracy(real, generated, seed=0):
    """How often a logistic regression, trained on half of the images, tells the other half's real from generated.

    About 0.5 where nothing tells them apart (best), 1 where everything does. Both kinds count alike, however many there
    are. Lopez-Paz and Oquab 2017, Revisiting Classifier Two-Sample Tests, section 3.

    Args:
      real, generated: float [N, F], [M, F]; at least 4 each.
      seed: of the halves.
    """
    real, generated = _checked(real, generated, least=4)
    return _two_sample_accuracy(real, generated, *_halves(real, generated, seed))


def variety(real, generated):
    """Mean distance between two generated images divided by that between two real ones.

    From 0, all images equal; 1 is best; more says that the generated images differ more than real ones do, for instance
    by noise.

    Args:
      real, generated: float [N, F], [M, F]; at least 2 each.
    """
    real, generated = _checked(real, generated, least=2)
    return _variety(_distances(real, generated), np.ones(len(real)), np.ones(len(generated)))


def mean_distance(features):
    """Mean distance between two images, float [N, F]; at least 2."""
    features, _ = _checked(features, features, least=2)
    return float(_mean_of_pairs(pairwise.euclidean_distances(features), np.ones(len(features))))


def nearest_distance(features):
    """Mean distance of an image to the other one that is most like it, float [N, F]; at least 2.

    Repeats bring it down, however many different images there are. It falls with N: compare it for as many images.
    """
    features, _ = _checked(features, features, least=2)
    distances = pairwise.euclidean_distances(features)
    np.fill_diagonal(distances, np.inf)
    return float(distances.min(axis=1).mean())


def report(real, generated, training=None, seed=0):
    """Returns {name: `Estimate`} of every measure.

    The intervals come from one mechanism, the delete-a-group jackknife: both sets are cut into 20 groups at random, all
    is measured 20 times without one group of each, and Student's t with 19 degrees of freedom makes an interval of the
    spread (Kott 2001, The Delete-a-Group Jackknife). They tell what other images would have given, not what another
    training run would have. Takes 4 seconds and 0.2 GB for 2,000 images of each kind with 128 features; both grow with
    the square of the number.

    Args:
      real, generated: float [N, F], [M, F]; at least 40 each.
      training: float [T, F], features of the training images; with them memorisation is measured too, for which `real`
        must not have been trained on.
      seed: of the groups and of the halves of `two_sample_accuracy`.

    Raises:
      ValueError: the shapes do not fit, there are too few images, or a feature is not a finite number.
    """
    # Threads gain little on products this small, and lose twentyfold where another process wants the same cores.
    with threadpoolctl.threadpool_limits(1):
        comparison = _Comparison(real, generated, training, seed)
        whole = comparison.measures(-1)
        parts = [comparison.measures(group) for group in range(GROUPS)]
    reach = scipy.stats.t.ppf(0.975, GROUPS - 1)
    estimates = {}
    for name, value in whole.items():
        spread = np.std([part[name] for part in parts]) * np.sqrt(GROUPS - 1)
        low, high = _RANGES.get(name, (0.0, np.inf))
        estimates[name] = Estimate(value, max(low, value - reach * spread), min(high, value + reach * spread))
    return estimates


class _Comparison:
    """Two sets of features with what does not change as groups of images are left out, which is nearly everything."""

    def __init__(self, real, generated, training, seed):
        real, generated = _checked(real, generated, least=2 * GROUPS)
        self._features = real, generated
        self._kernels = _kernels(real, generated)
        self._distances = _distances(real, generated)
        self._halves = _halves(real, generated, seed)
        self._groups = [
            seeds.generator(seed, "groups", name).permutation(len(rows)) % GROUPS
            for name, rows in (("real", real), ("generated", generated))
        ]
        self._to_training = None
        if training is not None:
            training, _ = _checked(training, real, least=1, names=("training", "real"))
            self._to_training = _to_nearest(real, training), _to_nearest(generated, training)

    def measures(self, group):
        """Returns {name: value}, without the images of a group."""
        kept = [groups != group for groups in self._groups]
        real, generated = (features[rows] for features, rows in zip(self._features, kept, strict=True))
        halves = [half[rows] for half, rows in zip(self._halves, kept, strict=True)]
        values = {
            "kid": _kid(self._kernels, *kept),
            "frechet_distance": frechet_distance(real, generated),
            **_neighbourhoods(self._distances, *kept),
            "two_sample_accuracy": _two_sample_accuracy(real, generated, *halves),
            "variety": _variety(self._distances, *kept),
        }
        if self._to_training is not None:
            usual, distance = (distances[rows].mean() for distances, rows in zip(self._to_training, kept, strict=True))
            penalty = _penalty(distance, _COPIES * usual)
            values["memorisation_distance"] = float(distance)
            values["penalised_frechet_distance"] = values["frechet_distance"] / penalty
        return values


def _checked(first, second, least, names=("real", "generated")):
    """Returns both as float64, or says which is wrong."""
    arrays = [np.asarray(features, np.float64) for features in (first, second)]
    for name, array in zip(names, arrays, strict=True):
        if array.ndim != 2:
            raise ValueError(f"{name} features have shape {list(array.shape)}; expected [images, features]")
        if len(array) < least:
            raise ValueError(f"{len(array)} {name} images; expected at least {least}")
        if bad := np.count_nonzero(~np.isfinite(array)):
            raise ValueError(f"{bad} {name} features are not finite; expected numbers")
    if arrays[0].shape[1] != arrays[1].shape[1]:
        raise ValueError(
            f"{arrays[0].shape[1]} {names[0]} and {arrays[1].shape[1]} {names[1]} features an image; "
            "expected those of one network"
        )
    return arrays


def _kernels(real, generated):
    """KID's kernel within the real, within the generated and between both."""
    return [
        pairwise.polynomial_kernel(a, b, degree=3, coef0=1.0)
        for a, b in ((real, real), (generated, generated), (real, generated))
    ]


def _distances(real, generated):
    """Euclidean distances within the real, within the generated and between both."""
    within = pairwise.euclidean_distances(real), pairwise.euclidean_distances(generated)
    return *within, pairwise.euclidean_distances(real, generated)


def _mean_of_pairs(matrix, kept):
    """The mean over ordered pairs of two different images among those that are kept."""
    kept = kept.astype(np.float64)
    count = kept.sum()
    return (kept @ matrix @ kept - kept @ np.diag(matrix)) / (count * (count - 1))


def _kid(kernels, kept_real, kept_generated):
    within = _mean_of_pairs(kernels[0], kept_real) + _mean_of_pairs(kernels[1], kept_generated)
    between = kept_real.astype(np.float64) @ kernels[2] @ kept_generated / (kept_real.sum() * kept_generated.sum())
    return float(within - 2.0 * between)


def _variety(distances, kept_real, kept_generated):
    usual = _mean_of_pairs(distances[0], kept_real)
    return float(_mean_of_pairs(distances[1], kept_generated) / max(usual, LEAST_DISTANCE))


def _all_neighbourhoods(real, generated):
    real, generated = _checked(real, generated, least=NEIGHBOURS + 1)
    return _neighbourhoods(_distances(real, generated), np.ones(len(real)), np.ones(len(generated)))


def _neighbourhoods(distances, kept_real, kept_generated):
    """Precision, recall, density and coverage."""
    rows, columns = np.flatnonzero(kept_real), np.flatnonzero(kept_generated)
    between = distances[2][np.ix_(rows, columns)]
    real_radii = _radii(distances[0][np.ix_(rows, rows)])
    in_real_ball = between < real_radii[:, None]
    in_generated_ball = between < _radii(distances[1][np.ix_(columns, columns)])
    return {
        "precision": float(in_real_ball.any(axis=0).mean()),
        "recall": float(in_generated_ball.any(axis=1).mean()),
        "density": float(in_real_ball.sum(axis=0).mean() / NEIGHBOURS),
        "coverage": float(in_real_ball.any(axis=1).mean()),
    }


def _radii(distances):
    """Each image's distance to its 5th neighbour; the image itself is the 0th."""
    return np.partition(distances, NEIGHBOURS, axis=1)[:, NEIGHBOURS]


def _to_nearest(features, training):
    """The cosine distance of each image to the nearest training image."""
    features, training = preprocessing.normalize(features), preprocessing.normalize(training)
    likeness = np.concatenate(
        [(features[i : i + _ROWS] @ training.T).max(axis=1) for i in range(0, len(features), _ROWS)]
    )
    return np.maximum(0.0, 1.0 - likeness)


def _penalty(distance, threshold):
    """What MiFID divides by: 1 where the images are not suspiciously near to the training images."""
    return max(distance, _LEAST_PENALTY) if distance < threshold else 1.0


def _halves(real, generated, seed):
    """Which images the two-sample test trains on; the others are its test."""
    return [
        seeds.generator(seed, "halves", name).permutation(len(rows)) % 2 == 0
        for name, rows in (("real", real), ("generated", generated))
    ]


def _two_sample_accuracy(real, generated, train_real, train_generated):
    train = np.concatenate([train_real, train_generated])
    features = np.concatenate([real, generated])
    truth = np.repeat([1, 0], [len(real), len(generated)])
    model = pipeline.make_pipeline(
        preprocessing.StandardScaler(), linear_model.LogisticRegression(class_weight="balanced", max_iter=1000)
    )
    model.fit(features[train], truth[train])
    return float(sklearn_metrics.balanced_accuracy_score(truth[~train], model.predict(features[~train])))
