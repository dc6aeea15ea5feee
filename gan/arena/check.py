"""Every rule of the contest that a submission can be tested for, one line each: PASS, WARN, FAIL or SKIP.

A FAIL keeps a submission out of the contest; a WARN is for its team, or for the organiser's eyes, to look at. The
organiser and the teams run exactly this.
"""

import dataclasses
import functools
import statistics
import time

import numpy as np
from etils import epy

from gan import memorisation, random_noise_generator, seeds, spec
from gan.arena import rounds, rules
from gan.errors import Fault

with epy.lazy_imports():
    import sklearn.metrics

PASS, WARN, FAIL, SKIP = "PASS", "WARN", "FAIL", "SKIP"
SAMPLES = 64  # images that are looked at for variety, memorisation and D's skill
_BATCH_SIZES = (1, 15, 30, 64)
_ROUND_IMAGES = 15
_SLOW_SECONDS = 1.0
_LARGE_BYTES = 256 << 20
_TRAINING_GAP = 0.15


@dataclasses.dataclass(frozen=True)
class Finding:
    """What one rule says about a submission.

    Attributes:
      rule: its name.
      status: `PASS`, `WARN`, `FAIL` or `SKIP` (could not be looked at).
      message: what was found and, where it should be otherwise, what to change.
    """

    rule: str
    status: str
    message: str


@dataclasses.dataclass
class Report:
    """All findings about a submission, and what was looked at.

    Attributes:
      findings: in the order of the check.
      samples: uint8 [SAMPLES, image_size], generated images; None where G does not work.
      memorisation: a `memorisation.Memorisation`, or None where there was no training set to compare with.
    """

    findings: list = dataclasses.field(default_factory=list)
    samples: np.ndarray | None = None
    memorisation: object = None

    @property
    def may_battle(self):
        return all(finding.status != FAIL for finding in self.findings)

    def first_failure(self):
        """Returns "rule: message" of the first FAIL, or None."""
        return next((f"{f.rule}: {f.message}" for f in self.findings if f.status == FAIL), None)

    def warned(self):
        """Returns the names of the rules that warn."""
        return [finding.rule for finding in self.findings if finding.status == WARN]

    def add(self, rule, fault, passed="", status=FAIL):
        """Notes PASS with the text `passed`, or `status` with the fault; returns whether it passed."""
        self.findings.append(Finding(rule, status, fault) if fault else Finding(rule, PASS, passed))
        return not fault


class Examples:
    """Real images that submissions are checked with.

    Args:
      contest: the `spec.ContestSpec`.
      reals: `records.Records`, or None.
      training: `records.Records` of the images that teams train on, or None.
      validation: `records.Records` of real images that they do not train on; None: `reals`.
      seed: decides which of them are shown.
    """

    def __init__(self, contest, reals=None, training=None, validation=None, seed=0):
        self.contest = contest
        self.seed = seed
        validation = validation or reals
        self.reals = self._some(validation, "validation", SAMPLES)
        self.training = self._some(training, "training", SAMPLES)
        self._all_training = training
        self._others = self._some(validation, "neighbours", 256)

    def _some(self, data, name, count):
        if data is None:
            return None
        return data.pixels.take(seeds.generator(self.seed, "check", name).permutation(len(data))[:count])

    @functools.cached_property
    def training_set(self):
        """A `memorisation.TrainingSet`, or None."""
        if self._all_training is None or self._others is None:
            return None
        every = np.arange(len(self._all_training))
        return memorisation.TrainingSet(self._all_training.pixels.take(every), self.contest.image_shape)

    def training_images(self, indices):
        """Returns uint8 [N, image_size] of the training images at those places."""
        return self._all_training.pixels.take(indices)

    @functools.cached_property
    def other_neighbours(self):
        return self.training_set.nearest(self._others)

    def noise(self):
        """Latents, float32 [SAMPLES, latent_size]."""
        rng = seeds.generator(self.seed, "check", "noise")
        return random_noise_generator.generate_noise(SAMPLES, self.contest.latent_size, rng)


def files_report(snapshot, sizes):
    """Returns a `Report` that begins with what the files alone say.

    Args:
      snapshot: a `snapshot.Snapshot`.
      sizes: bytes of its files, together.
    """
    report = Report()
    form = f"TF1 checkpoint {snapshot.checkpoint}" if snapshot.checkpoint else "SavedModel"
    report.add("files", None, f"{form}, {len(snapshot.sha256)} files, SHA-256 {snapshot.digest[:16]}...")
    large = f"{sizes / 1e6:.0f} MB is much for a contest: remove what does not belong to G and D"
    report.add("size", large if sizes > _LARGE_BYTES else None, f"{sizes / 1e6:.1f} MB", WARN)
    return report


def run(player, examples, report):
    """Checks a submission that could be copied.

    Args:
      player: its `player.Player`.
      examples: the `Examples`.
      report: from `files_report`; findings are added.
    """
    loaded = [_check_loading(player, role, examples.contest, report) for role in spec.ROLES]
    pixels = _check_generator(player, examples, report) if loaded[0] else None
    p = _check_discriminator(player, examples, pixels, report) if loaded[1] else None
    if p is not None:
        _judge_skill(p, report)
    if pixels is not None and loaded[1] and p is not None:
        _check_time(player, examples, report)
    report.samples = pixels
    _check_memorisation(pixels, examples, report)


def _check_loading(player, role, contest, report):
    """The contract's tensors, the allowed operations, the bounds, and the size of the input."""
    player.start_part()
    try:
        size = player.input_size(role)
    except Fault as fault:
        return report.add(f"{role.name}: contract", str(fault))
    wanted = contest.input_size(role)
    wrong = f"{role.input} takes {size} numbers, the contest's {role.input} has {wanted}"
    return report.add(
        f"{role.name}: contract",
        wrong if size not in (None, wanted) else None,
        f"{role.input} and {role.output} found, allowed operations only",
    )


def _outputs(player, call, batches, fault_of):
    """Calls a model on batches; returns (outputs, None) or (None, what is wrong with the first wrong one).

    The team has the time of one part of a round for it.
    """
    player.start_part()
    outputs = []
    for batch in batches:
        try:
            output = call(batch)
        except Fault as fault:
            return None, str(fault)
        if fault := fault_of(output, len(batch)):
            return None, fault
        outputs.append(output)
    return outputs, None


def _batches(array):
    """The first 1, 15, 30 and 64 rows."""
    return [array[:size] for size in _BATCH_SIZES if size <= len(array)]


def _check_generator(player, examples, report):
    """Returns uint8 [SAMPLES, image_size], or None where G fails."""
    noise, contest = examples.noise(), examples.contest
    outputs, fault = _outputs(
        player, player.generate, _batches(noise), lambda images, count: spec.image_fault(images, count, contest)
    )
    sizes = f"[N, {contest.image_size}] for N = 1, 15, 30, 64; finite, in [0, 1]"
    if not report.add("generator: output", fault, sizes):
        return None
    _, fault = _outputs(player, player.generate, [noise], lambda again, _: rounds.repeat_fault(outputs[-1], again))
    report.add("generator: determinism", fault, "the same images for the same latents")
    fault = _difference(outputs[0], outputs[-1][:1], "an image changes with the batch that it is made in")
    report.add("generator: one by one", fault, "an image does not depend on the batch", WARN)
    pixels = spec.to_8bit(outputs[-1])
    fault = spec.variety_fault(pixels[:_ROUND_IMAGES])
    report.add("generator: variety", fault, f"{_ROUND_IMAGES} of {_ROUND_IMAGES} images of a round are different")
    _warn_of_likeness(pixels, report)
    return pixels


def _warn_of_likeness(pixels, report):
    deviation = float(pixels.astype(np.float32).std(axis=0).mean())
    fault = f"pixels vary by {deviation:.1f} of 255 between images: G makes nearly the same image over and over"
    report.add("generator: collapse", fault if deviation < 4 else None, f"pixels vary by {deviation:.1f} of 255", WARN)


def _difference(first, second, words):
    difference = rounds.largest_difference(first, second)
    return f"{words} (by {difference:.2g})" if not difference <= rules.REPEAT_TOLERANCE else None


def _check_discriminator(player, examples, pixels, report):
    """Returns {"generated", "real", "training"}: D's beliefs, where there are such images; None where D fails."""
    rng = seeds.generator(examples.seed, "check", "pixels")
    groups = {"generated": pixels, "real": examples.reals, "training": examples.training}
    groups = {name: spec.from_8bit(images) for name, images in groups.items() if images is not None}
    mixed = _mixed(groups, examples.contest, rng)
    outputs, fault = _outputs(player, player.discriminate, _batches(mixed), spec.prediction_fault)
    if not report.add("discriminator: output", fault, "[N, 1] for N = 1, 15, 30, 64; finite, in [0, 1]"):
        return None
    _, fault = _outputs(player, player.discriminate, [mixed], lambda p, _: rounds.repeat_fault(outputs[-1], p))
    report.add("discriminator: determinism", fault, "the same p for the same image")
    report.add(
        "discriminator: one by one",
        _batch_fault(player, mixed[:30], outputs[_BATCH_SIZES.index(30)], rng),
        "p depends on the image alone",
    )
    beliefs, fault = _outputs(player, player.discriminate, groups.values(), spec.prediction_fault)
    if fault:
        report.add("discriminator: images", fault)
        return None
    return {name: p[:, 0] for name, p in zip(groups, beliefs, strict=True)}


def _mixed(groups, contest, rng):
    """SAMPLES images; the first 30 look like those of a round, as far as there are such images."""
    half = [groups[name][:_ROUND_IMAGES] for name in ("generated", "real") if name in groups]
    rest = [groups[name][_ROUND_IMAGES:] for name in ("generated", "real") if name in groups]
    noise = rng.random((SAMPLES, contest.image_size), np.float32)
    first = np.concatenate([*half, noise])[: 2 * _ROUND_IMAGES]
    others = np.concatenate([*rest, noise])
    others = others[rng.permutation(len(others))[: SAMPLES - len(first)]]
    return np.concatenate([first[rng.permutation(len(first))], others])


def _batch_fault(player, images, together, rng):
    """Whether D looks at the batch, not at the image: one by one and in another order, p must be the same."""
    order = rng.permutation(len(images))
    outputs, fault = _outputs(
        player,
        player.discriminate,
        [*(images[i : i + 1] for i in range(len(images))), images[order]],
        spec.prediction_fault,
    )
    if fault:
        return fault
    words = "D looks at the batch, not at the image: p changes with the {}; export with training off"
    return _difference(np.concatenate(outputs[:-1]), together, words.format("batch")) or _difference(
        outputs[-1], together[order], words.format("order")
    )


def _judge_skill(p, report):
    """Whether D tells real images from its own G's, as far as there are such images."""
    every = np.concatenate(list(p.values())) if p else np.zeros(0)
    verdicts = spec.is_real(every)
    if len(every) and verdicts.all() == verdicts.any():
        word = "real" if verdicts.all() else "generated"
        text = f"D calls every image {word}, so it always has 15 of 30 points: is it trained, are its pixels scaled?"
        report.add("discriminator: constant", text, status=WARN)
    else:
        report.add("discriminator: constant", None, "D calls some images real and some generated")
    _judge_auc(p, report)
    _compare_training(p, report)


def _judge_auc(p, report):
    if "real" not in p or "generated" not in p:
        text = "needs real images (--input_data_pattern) and a generator that works"
        report.findings.append(Finding("discriminator: AUC", SKIP, text))
        return
    truth = np.repeat([1, 0], [len(p["real"]), len(p["generated"])])
    auc = sklearn.metrics.roc_auc_score(truth, np.concatenate([p["real"], p["generated"]]))
    right = f"right on {np.mean(spec.is_real(p['real'])):.0%} of real and {np.mean(~spec.is_real(p['generated'])):.0%}"
    fault = f"AUC {auc:.2f} is under 0.5: D takes generated images for real ones; are the labels swapped?"
    report.add("discriminator: AUC", fault if auc < 0.5 else None, f"{auc:.2f} ({right} of its G's images)", WARN)


def _compare_training(p, report):
    if "training" not in p or "real" not in p:
        text = "needs the training images and others: give --train_data_pattern and --input_data_pattern"
        report.findings.append(Finding("discriminator: training gap", SKIP, text))
        return
    seen, fresh = (float(np.mean(spec.is_real(p[name]))) for name in ("training", "real"))
    fault = f"D calls {seen:.0%} of the training images real, but {fresh:.0%} of others: it knows them by heart"
    passed = f"D calls {seen:.0%} of the training images real, {fresh:.0%} of others"
    report.add("discriminator: training gap", fault if seen - fresh > _TRAINING_GAP else None, passed, WARN)


def _check_time(player, examples, report):
    """Running time as a battle measures it: the median of five calls for 15 latents and 30 images."""
    player.start_part()
    noise = examples.noise()[:_ROUND_IMAGES]
    images = np.zeros((2 * _ROUND_IMAGES, examples.contest.image_size), np.float32)
    calls = {"G": lambda: player.generate(noise), "D": lambda: player.discriminate(images)}
    try:
        seconds = {name: [_seconds(call) for _ in range(rules.TIMED_CALLS)] for name, call in calls.items()}
    except Fault as fault:
        report.add("time", str(fault))
        return
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    text = ", ".join(f"{name} {median * 1e3:.1f} ms" for name, median in medians.items())
    total = sum(medians.values())
    report.add("time", f"{text}: slow; a tie would be lost" if total > _SLOW_SECONDS else None, text, WARN)


def _seconds(call):
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def _check_memorisation(pixels, examples, report):
    if pixels is None:
        return
    if examples.training_set is None:
        text = "needs the training images and others: give --train_data_pattern and --validation_data_pattern"
        report.findings.append(Finding("generator: memorisation", SKIP, text))
        return
    found = memorisation.memorisation(examples.training_set, pixels, examples.other_neighbours)
    report.memorisation = found
    text = memorisation_sentence(found)
    fault = f"{text}: copies? A person will look at them" if found.flagged else None
    report.add("generator: memorisation", fault, text, WARN)


def memorisation_sentence(found):
    """Says what a `memorisation.Memorisation` found."""
    return (
        f"{int(found.close.sum())} of {len(found.close)} images are nearer to a training image than 99 % of other real "
        f"images are (distance under {found.thresholds[0]:.2f})"
    )
