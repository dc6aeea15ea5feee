"""Evaluates a run's newest save on images that it was not trained on.

python -m gan.eval --train_dir=my_run --eval_data_pattern='faces/validation*.tfrecords'
python -m gan.eval --train_dir=my_run --norun_once     # beside a training run: each new save
"""

if not __package__:  # `python gan/eval.py` works like `python -m gan.eval`
    import pathlib
    import sys

    sys.path[0] = str(pathlib.Path(__file__).absolute().parents[1])

import dataclasses
import functools
import math
import time

import numpy as np
import tqdm
from etils import epy

from gan import flags, pictures, random_noise_generator, readers, seeds, spec, storage, training_state
from gan.errors import InputError
from gan.flags import flag

with epy.lazy_imports():
    import tensorflow as tf
    from matplotlib import figure
    from sklearn import metrics as sklearn_metrics

    from gan import battle_pair, class_lookup, feature_networks, losses, metrics


_NUMBERS = ("d_accuracy_on_generated", "d_accuracy_on_real", "d_auc", "g_loss", "d_loss")
_GRID = 64  # generated images to show
_MOST_COMPARED = 5000
_CHUNK = 4096  # images whose pixels are in memory at once


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvalOptions(readers.ReaderOptions, flags.SeedOptions):
    """Flags of `gan.eval`."""

    train_dir: str = flag("/tmp/kmlc_gan_train/", "folder of the run", environment="AIP_CHECKPOINT_DIR")
    eval_data_pattern: str = flag("", "record files to evaluate on; empty: the embedded digits' validation images")
    batch_size: int = flag(64, "images evaluated at once", lower=1)
    generator_model: str = flag("", "generator class; empty: the run's own. Another than the run's is refused")
    discriminator_model: str = flag("", "discriminator class; empty: the run's own. Another than the run's is refused")
    label_loss: str = flag("", "loss class that is reported; empty: the run's own")
    train_data_pattern: str = flag("", "what the run trained on, for memorisation; empty: the run's own pattern")
    num_generate: int = flag(
        2000, "generated images that are compared with the real ones; 0: no comparison", lower=0, upper=10000
    )
    feature_network: str = flag(
        "auto",
        "network in whose features images are compared; auto: the shipped one for the image size",
        choices=("auto", "digits", "faces", "inception"),
    )
    run_once: bool = flag(True, "evaluate the newest save and end; --norun_once: go on with each new save")
    sleep_secs: float = flag(10.0, "seconds between looks for a new save", above=0)


def evaluate(options):
    """Evaluates, prints the line and writes `train_dir/eval/`.

    Args:
      options: `EvalOptions`.

    Returns:
      The newest evaluation, as in its JSON file.

    Raises:
      InputError: there is no save, or flags or data do not fit the run.
    """
    folder = training_state.RunFolder(storage.path(options.train_dir))
    if options.run_once and not folder.saved_steps():
        raise InputError(f"--train_dir={options.train_dir} holds no saved step; train with gan.train first")
    evaluation, done = None, None
    while True:
        steps = folder.saved_steps()
        if steps and steps[-1] != done:
            evaluation = evaluation or _Evaluation(options, folder)
            try:
                arrays = folder.load(steps[-1])
            except FileNotFoundError:  # a newer save has just pushed this one out
                continue
            result, done = evaluation.run(steps[-1], arrays), steps[-1]
            if options.run_once:
                return result
        elif not steps:
            print(f"waiting for a save in {options.train_dir}", flush=True)
        time.sleep(options.sleep_secs)


class _Evaluation:
    """The networks of a run and the images to judge them by, made once for any number of saves."""

    def __init__(self, options, folder):
        run = folder.options()
        self._options = options
        self._folder = folder
        self._run = run
        if run["options"]["train_data_pattern"] and not options.eval_data_pattern:
            raise InputError("this run was trained on files: give --eval_data_pattern, of images that it has not seen")
        self._data = _read_fitting(options, run, options.eval_data_pattern, "validation")
        self._contest = battle_pair.contest_of_run(run)
        loss = options.label_loss or run["options"]["label_loss"]
        self._loss = class_lookup.make(class_lookup.find(loss, "gan.losses", losses.BaseLoss, "label_loss"))
        for name in ("generator_model", "discriminator_model"):
            _refuse_another(options, run, name)
        self._pair = battle_pair.of_run(run)

    def run(self, step, arrays):
        self._pair.restore(arrays)
        p_real, p_generated, g_loss, d_loss, images = self._judge()
        result = {
            "step": step,
            "images": len(p_real),
            "seed": self._options.seed,
            "data_fingerprint": self._data.fingerprint,
            "d_accuracy_on_generated": float(np.mean(~spec.is_real(p_generated))),
            "d_accuracy_on_real": float(np.mean(spec.is_real(p_real))),
            "d_auc": float(
                sklearn_metrics.roc_auc_score(
                    np.repeat([1, 0], [len(p_real), len(p_generated)]), np.concatenate([p_real, p_generated])
                )
            ),
            "g_loss": g_loss,
            "d_loss": d_loss,
        }
        result |= self._compare()
        self._print(result)
        self._write(result, p_real, p_generated, images)
        return result

    def _compare(self):
        """Compares generated with real images by their features; returns {} where there are too few."""
        count, least = self._options.num_generate, 2 * metrics.GROUPS
        if count and min(count, len(self._data)) < least:
            print(f"{min(count, len(self._data))} images are too few for a comparison: at least {least} are needed")
        if min(count, len(self._data)) < least:
            return {}
        rng = seeds.generator(self._options.seed, "comparison")
        noise = random_noise_generator.generate_noise(count, self._contest.latent_size, rng)
        generated = self._network.features(self._pair.generate_8bit(noise), self._contest.image_shape)
        report = metrics.report(self._real_features, generated, self._training_features, self._options.seed)
        estimates = {name: dataclasses.asdict(estimate) for name, estimate in report.items()}
        counts = {"num_generate": count, "num_compared": len(self._real_features)}
        return {"feature_network": self._network.name, **counts, "metrics": estimates}

    @functools.cached_property
    def _network(self):
        name = self._options.feature_network
        return feature_networks.load(feature_networks.choose(self._contest.image_shape) if name == "auto" else name)

    @functools.cached_property
    def _real_features(self):
        """Features of the real images, of `_MOST_COMPARED` at random where there are more: pairs are many."""
        order = seeds.generator(self._options.seed, "compared").permutation(len(self._data))
        return self._features(self._data, np.sort(order[:_MOST_COMPARED]))

    @functools.cached_property
    def _training_features(self):
        """Features of the training images; None where they cannot be read, which is said."""
        pattern = self._options.train_data_pattern or self._run["options"]["train_data_pattern"]
        try:
            data = _read_fitting(self._options, self._run, pattern, "train")
        except InputError as error:
            print(f"memorisation is not measured, for the training images cannot be read: {error}")
            return None
        return self._features(data, np.arange(len(data)))

    def _features(self, data, indices):
        chunks = np.array_split(indices, math.ceil(len(indices) / _CHUNK))
        return np.concatenate([self._network.features(data.pixels.take(chunk), data.shape) for chunk in chunks])

    def _judge(self):
        """Passes all images, and as many generated ones, through D. Generated images are 8-bit, as in a battle."""
        count, size = len(self._data), self._options.batch_size
        rng = seeds.generator(self._options.seed, "eval")
        noise = random_noise_generator.generate_noise(count, self._contest.latent_size, rng)
        beliefs, sums, images = ([], []), np.zeros(2), []
        for start in tqdm.trange(0, count, size, desc="evaluating", leave=False, delay=2, disable=None):
            indices = np.arange(start, min(start + size, count))
            generated = np.asarray(self._pair.generate(noise[indices]))
            generated = spec.from_8bit(spec.to_8bit(generated))
            on_real = self._pair.discriminate(spec.from_8bit(self._data.pixels.take(indices)))
            on_generated = self._pair.discriminate(generated)
            for store, outputs in zip(beliefs, (on_real, on_generated), strict=True):
                store.append(np.asarray(outputs["p"])[:, 0])
            batch_losses = (
                self._loss.generator_loss(on_real, on_generated),
                self._loss.discriminator_loss(on_real, on_generated),
            )
            sums += np.array([float(loss) for loss in batch_losses]) * len(indices)
            if start < _GRID:
                images.append(generated)
        g_loss, d_loss = (float(value) for value in sums / count)
        return *(np.concatenate(store) for store in beliefs), g_loss, d_loss, np.concatenate(images)[:_GRID]

    def _print(self, result):
        print(
            f"epoch/eval number {result['step']} | Avg_D_acc_on_G: {result['d_accuracy_on_generated']:.3f} | "
            f"Avg_D_acc_on_real: {result['d_accuracy_on_real']:.3f} | Avg_G_loss: {result['g_loss']:.3f} | "
            f"Avg_D_loss: {result['d_loss']:.3f}"
        )
        print(f"D's AUC on {result['images']} real and as many generated images: {result['d_auc']:.3f}")
        if result["d_auc"] < 0.5:
            print("warning: an AUC under 0.5 is worse than guessing: your labels look swapped")
        if estimates := result.get("metrics"):
            count, network = result["num_generate"], result["feature_network"]
            real = result["num_compared"]
            print(f"{count} generated against {real} real images, features of the network {network!r}:")
            for name, estimate in estimates.items():
                print(f"  {name:28} {metrics.Estimate(**estimate)}")

    def _write(self, result, p_real, p_generated, images):
        target = self._folder.path / "eval"
        as_json = {name: value if math.isfinite(value) else None for name, value in result.items() if name in _NUMBERS}
        storage.write_json(target / f"step_{result['step']}.json", result | as_json)
        pictures.save_png(target / "generate.png", pictures.grid(images, self._contest.image_shape, 8))
        storage.write_bytes(target / "p_histogram.png", _histogram(p_real, p_generated, result))
        with tf.summary.create_file_writer(str(target)).as_default(result["step"]):
            for name in _NUMBERS:
                tf.summary.scalar(name, result[name])
            for name, estimate in result.get("metrics", {}).items():
                tf.summary.scalar(name, estimate["value"])
                for end in ("low", "high"):  # of the interval
                    tf.summary.scalar(f"{name}/{end}", estimate[end])
        print(f"written: {target}/step_{result['step']}.json, generate.png, p_histogram.png")


def _read_fitting(options, run, pattern, split):
    """Reads images, with the run's own reader and size unless the flags name another."""
    shape = tuple(run["image_shape"])
    size = "x".join(map(str, shape))
    if pattern and options.image_shape is None and not options.reader:
        if run["options"]["reader"] not in ("", "ImageReader"):
            options = dataclasses.replace(options, reader=run["options"]["reader"])
        else:
            height, width, channels = shape
            options = dataclasses.replace(options, image_height=height, image_width=width, image_channels=channels)
    data = readers.read(options, pattern, split)
    if data.shape != shape:
        raise InputError(f"this run was trained on images of {size}, these are {'x'.join(map(str, data.shape))}")
    return data


def _refuse_another(options, run, name):
    given, own = getattr(options, name), run["options"][name]
    if given and given != own:
        raise InputError(f"--{name}={given}: this run has {own}; leave the flag out")


def _histogram(p_real, p_generated, result):
    """Draws how often D believes what, for real and for generated images, as a PNG file."""
    chart = figure.Figure(figsize=(7, 4), layout="constrained")
    axes = chart.subplots()
    bins = np.linspace(0.0, 1.0, 41)
    axes.hist(p_generated, bins, alpha=0.6, color="tab:red", label="generated images")
    axes.hist(p_real, bins, alpha=0.6, color="tab:green", label="real images")
    axes.axvline(0.5, color="black", linestyle="--", linewidth=1)
    axes.set(
        xlim=(0, 1),
        xlabel="p: D's belief that the image is real",
        ylabel="images",
        title=f"step {result['step']}: D is right on {result['d_accuracy_on_generated']:.0%} of generated, "
        f"{result['d_accuracy_on_real']:.0%} of real images",
    )
    axes.legend()
    return pictures.chart_png(chart)


if __name__ == "__main__":
    flags.run(evaluate, EvalOptions)
