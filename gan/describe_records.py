"""Describes record files: their images, values and labels, which images are there twice, and what is broken.

    python -m gan.describe_records 'faces/train*.tfrecords' --output_dir=faces/description
    python -m gan.describe_records 'faces/train*.tfrecords' --against='faces/test*.tfrecords'
    python -m gan.describe_records 'faces/*.tfrecords' --verify

--output_dir gets description.json, contact_sheet.png, mean_image.png and value_histogram.png; without it nothing is
written. --verify compares the files with the manifest.json that gan.build_records left beside them. The exit code is 1
where something is broken, or not as the manifest says.
"""

if not __package__:  # `python gan/describe_records.py` works like `python -m gan.describe_records`
    import pathlib
    import sys

    sys.path[0] = str(pathlib.Path(__file__).absolute().parents[1])

import dataclasses

import numpy as np
from etils import epy

from gan import flags, pictures, storage
from gan.data import built, description, statistics
from gan.errors import InputError, RunError, printable
from gan.flags import flag

with epy.lazy_imports():
    from matplotlib import figure

_MOST_PRINTED = 10  # pairs, faults
_MOST_LABELS = 20
_BARS, _LONGEST_BAR = 16, 40
_PICTURE_SIDE = 400  # pixels, about, of a small image that is shown alone
_STEEP = 20  # times the mean, from where the tallest bar makes the others invisible


@dataclasses.dataclass(frozen=True, kw_only=True)
class DescribeOptions(flags.SizeOptions):
    """Flags of `gan.describe_records`."""

    pattern: str = flags.word("record files, comma-separated patterns in quotes; local or gs://")
    against: str = flag("", "other record files, in which the images are looked for: those to test with, for instance")
    output_dir: str = flag("", "folder for the description and its pictures; empty: nothing is written")
    verify: bool = flag(False, "only compare the files with the manifest.json in their folder")

    def __post_init__(self):
        super().__post_init__()
        if self.verify and (self.against or self.output_dir or self.image_shape):
            raise InputError("--verify only compares files with their manifest.json: leave out the other flags")


def describe(options):
    """Describes record files: prints, and writes where a folder is named.

    Args:
      options: `DescribeOptions`.

    Returns:
      The `gan.data.description.Description`.

    Raises:
      InputError: the files cannot be described; see `gan.data.description.describe`.
    """
    found = description.describe(options.pattern, options.image_shape, options.against)
    _print(found)
    if options.output_dir:
        _write(found, storage.path(options.output_dir))
    return found


def verify(options):
    """Compares record files with their manifests and prints a line for each.

    Raises:
      InputError: no file matches, or there is no manifest.
      RunError: not all is as the manifests say.
    """
    wrong = count = 0
    for finding in built.verify(options.pattern):
        print(printable(str(finding)), flush=True)
        count += 1
        wrong += finding.verdict != "same"
    if wrong:
        raise RunError(f"{wrong} of {count} file(s) are not as manifest.json says")
    print(f"all is as manifest.json says: {count} file(s)")


def _print(found):
    seen, values = found.survey, found.statistics
    size = sum(file.size for file in seen.files)
    kinds = " and ".join(sorted({file.kind for file in seen.files if file.kind})) or "unknown"
    print(f"files: {len(seen.files):,}, {size / 1e6:,.1f} MB, format of the pixels: {kinds}")
    print(f"images: {len(seen):,} of {'x'.join(map(str, seen.shape))} ({seen.shape_found})")
    print(f"labels: {_labels_text(seen)}")
    _print_values(values)
    if values.single_colour:
        first = printable(seen.place(values.single_colour[0]))
        print(f"of a single colour: {len(values.single_colour):,} image(s), the first: {first}")
    _print_pairs("copies of an image before", found.same, "equals", seen, seen)
    _print_pairs("nearly equal to an image before, by perceptual hash", found.similar, "looks like", seen, seen)
    if found.overlap:
        others = found.overlap.others
        print(f"compared with {len(others):,} images of {printable(others.patterns)}")
        _print_pairs("in both", found.overlap.same, "equals", seen, others)
        _print_pairs("nearly equal in both, by perceptual hash", found.overlap.similar, "looks like", seen, others)
    print(f"not usable: {len(found.faults):,}")
    _print_some(found.faults)


def _labels_text(seen):
    counts, unlabelled = seen.label_counts()
    names = seen.label_names()
    texts = [f"{printable(names.get(label, str(label)), 40)}: {count:,}" for label, count in counts.items()]
    if len(texts) > _MOST_LABELS:
        texts[_MOST_LABELS:] = ["..."]
    if not counts:
        return "none"
    without = f"; {unlabelled:,} image(s) have none" if unlabelled else ""
    return f"{len(counts):,} ({', '.join(texts)}){without}"


def _print_values(values):
    share = 1 / (values.count * values.shape[0] * values.shape[1])
    colours = "gray values" if values.shape[2] == 1 else "values of red, green, blue"
    means, deviations = (
        ", ".join(f"{number:.1f}" for number in numbers) for numbers in (values.mean, values.standard_deviation)
    )
    print(f"{colours}, 0 to 255: mean {means}; standard deviation {deviations}")
    print(f"pixels: {values.black * share:.2%} black, {values.white * share:.2%} white")
    counts = values.histogram.sum(axis=0).reshape(_BARS, -1).sum(axis=1)
    for number, count in enumerate(counts):
        low, width = number * 256 // _BARS, 256 // _BARS
        bar = "#" * round(_LONGEST_BAR * count / counts.max())
        print(f"  {low:3} to {low + width - 1:3} {count / counts.sum():7.2%} {bar}".rstrip())


def _print_pairs(title, pairs, verb, first, second):
    print(f"{title}: {len(pairs):,}")
    lines = [f"{first.place(a)} {verb} {second.place(b)}" for a, b in pairs[: _MOST_PRINTED + 1]]
    _print_some(lines, len(pairs))


def _print_some(lines, count=None):
    for line in lines[:_MOST_PRINTED]:
        print(f"  {printable(line)}")
    if len(lines) > _MOST_PRINTED:
        print(f"  and {(count or len(lines)) - _MOST_PRINTED:,} more")


def _write(found, folder):
    values = found.statistics
    storage.write_json(folder / "description.json", found.facts())
    pictures.save_png(folder / "contact_sheet.png", contact_sheet(found))
    pictures.save_png(folder / "mean_image.png", _enlarged(values.mean_image))
    storage.write_bytes(folder / "value_histogram.png", pictures.chart_png(value_histogram(values)))
    print(f"written: {folder}/description.json, contact_sheet.png, mean_image.png, value_histogram.png")


def contact_sheet(found):
    """Draws some of the images, chosen at random, by label and then in the order of the records.

    Args:
      found: a `gan.data.description.Description`.

    Returns:
      uint8 [height, width], with a last axis of 3 for RGB.
    """
    numbers, pixels = found.statistics.sample
    labels, _ = found.survey.labels()
    columns, _ = statistics.sheet_size(found.survey.shape)
    order = np.lexsort((numbers, labels[numbers]))
    return pictures.grid(pixels[order], found.survey.shape, min(columns, len(order)))


def value_histogram(values):
    """Draws how often each value occurs, for each channel.

    Args:
      values: a `gan.data.statistics.Statistics`.

    Returns:
      A `matplotlib.figure.Figure`.
    """
    shares = values.histogram / values.histogram.sum(axis=1, keepdims=True)
    chart = figure.Figure(figsize=(8, 4), layout="constrained")
    axes = chart.subplots()
    gray = len(shares) == 1
    for share, colour in zip(shares, ["black"] if gray else ["red", "green", "blue"], strict=True):
        axes.stairs(share, np.arange(257), color=colour, label=colour, fill=gray)
    steep = shares.max() > _STEEP / 256
    axes.set(
        xlim=(0, 256),
        yscale="log" if steep else "linear",
        xlabel="value, 0 black to 255",
        ylabel="share of the pixels" + (", logarithmic" if steep else ""),
        title=f"{values.count:,} images",
    )
    if not gray:
        axes.legend()
    return chart


def _enlarged(image):
    """Shows each pixel of a small image as a square: uint8 [h, w, channels] becomes a picture."""
    side = max(1, _PICTURE_SIDE // max(image.shape[:2]))
    return pictures.squeeze_gray(image.repeat(side, axis=0).repeat(side, axis=1))


def main(options):
    """Describes or verifies; what is broken is described too, and the exit code says that something is."""
    if options.verify:
        verify(options)
    elif faults := describe(options).faults:
        raise RunError(f"{len(faults):,} record(s) or file(s) are not usable, see above")


if __name__ == "__main__":
    flags.run(main, DescribeOptions)
