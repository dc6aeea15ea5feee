"""What a build says it did: `manifest.json`, and a CSV file and a contact sheet for each split."""

import contextlib
import csv
import hashlib
import types

import numpy as np

from gan import __version__, pictures, storage
from gan.data import catalogue, preparation

_SHEET_IMAGES = 200
_SHEET_BYTES = 32 << 20  # of pixels, where images are large
_SHEET_COLUMNS = 20
_COLUMNS = ("place", "label", "group", "file", "record", "sha256", "same_as", "looks_like")


def manifest(output):
    """Returns the content of `manifest.json` in a folder, or None where there is none."""
    file = output / "manifest.json"
    return storage.read_json(file) if file.exists() else None


def write(output, work, known, plan, files, shape, facts):
    """Writes the reports.

    Args:
      output, work: the folders, `epath.Path`s.
      known: the `catalogue.Catalogue`.
      plan: the `catalogue.Plan`.
      files: {split: [{"name", "records", "bytes", "sha256"}, ...]}.
      shape: (height, width, channels).
      facts: what the manifest says of the source and the settings.

    Returns:
      The content of `manifest.json`, which is written last: its presence says that the build is whole.
    """
    same, similar = catalogue.first_equal(known.content), catalogue.first_equal(known.key)
    _write_tables(output, work, known, plan, files, same, similar)
    for split in plan.shards:
        _write_sheet(output, work, known, plan, split, shape)
    exact, near = catalogue.copies(same, similar)
    content = {
        "gan_version": __version__,
        **facts,
        "images": len(known),
        "refused": {"count": len(known.refused), "files": known.refused},
        "labels": known.label_names,
        "duplicates": {"exact": len(exact), "near": len(near)},
        "splits": {name: _split_facts(number, known, plan, files[name]) for number, name in enumerate(plan.shards)},
    }
    storage.write_json(output / "manifest.json", content)
    return content


def _split_facts(number, known, plan, files):
    members = plan.split == number
    facts = {
        "images": int(members.sum()),
        "sha256": hashlib.sha256("".join(file["sha256"] for file in files).encode()).hexdigest(),
        "files": files,
    }
    if known.label is not None:
        counts = dict(zip(*np.unique(known.label[members], return_counts=True), strict=True))
        facts["labels"] = {name: int(counts.get(label, 0)) for name, label in known.label_names.items()}
    return facts


def _write_tables(output, work, known, plan, files, same, similar):
    """Writes a CSV file for each split, its images in the order of the source."""
    everyone = np.arange(len(known))
    firsts = {int(first) for equal in (same, similar) for first in equal[equal != everyone]}
    named = {image: row.place for image, row in enumerate(_rows(work, known)) if image in firsts}
    names = list(plan.shards)
    with contextlib.ExitStack() as stack:
        tables = [stack.enter_context(_opened(output / f"{name}.csv")) for name in names]
        for table in tables:
            table.writerow(_COLUMNS)
        for image, row in enumerate(_rows(work, known)):
            split = plan.split[image]
            others = [named[first] if first != image else "" for first in (same[image], similar[image])]
            file = files[names[split]][plan.shard[image]]["name"]
            values = (row.place, row.label, row.group, file, plan.position[image], row.content, *others)
            tables[split].writerow(values)


def _rows(work, known):
    """Yields the `preparation.Row` of each image."""
    for number in range(known.num_chunks):
        yield from preparation.load(work, number)[0]


@contextlib.contextmanager
def _opened(target):
    """Opens a CSV file for writing rows; a remote file takes nothing but bytes."""
    with storage.replacing(target) as file:
        yield csv.writer(types.SimpleNamespace(write=lambda text: file.write(text.encode())))


def _write_sheet(output, work, known, plan, split, shape):
    """Draws the first records of a split."""
    if not plan.shards[split]:
        return
    image_size = int(np.prod(shape))
    images = plan.images_of(split, 0)[: min(_SHEET_IMAGES, max(1, _SHEET_BYTES // image_size))]
    pixels = preparation.gather(work, known.chunk[images], known.row[images], image_size)
    pictures.save_png(output / f"{split}.png", pictures.grid(pixels, shape, min(_SHEET_COLUMNS, len(images))))
