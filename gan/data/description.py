"""Record files described: their values, their labels, and which images are there more than once."""

import dataclasses

import numpy as np

from gan import storage
from gan.data import catalogue, heads, statistics
from gan.data import survey as surveys
from gan.errors import InputError

_MOST_LISTED = 1000  # of a kind, in a file for programs


@dataclasses.dataclass(frozen=True)
class Overlap:
    """Images that are in other files too.

    Attributes:
      others: the `survey.Survey` of those.
      same: (an image, the first other one with equal pixels), int [n, 2].
      similar: (an image, the first other one that looks like it, with different pixels), int [n, 2].
    """

    others: surveys.Survey
    same: np.ndarray
    similar: np.ndarray


@dataclasses.dataclass(frozen=True)
class Description:
    """What there is to say of some record files.

    Attributes:
      survey: the `survey.Survey`.
      statistics: the `statistics.Statistics`.
      same: (an image, the first one of all with equal pixels), int [n, 2].
      similar: (an image without an equal before it, the first one of all that it looks like), int [n, 2].
      overlap: the `Overlap` with the files to compare with; None without such.
    """

    survey: surveys.Survey
    statistics: statistics.Statistics
    same: np.ndarray
    similar: np.ndarray
    overlap: Overlap | None

    @property
    def faults(self):
        """All that is not usable, a sentence each."""
        return self.survey.faults + (self.overlap.others.faults if self.overlap else [])

    def facts(self):
        """Returns all of it as plain data; of long lists the first 1,000."""
        seen, values = self.survey, self.statistics
        labels, unlabelled = seen.label_counts()
        pixels = values.count * values.shape[0] * values.shape[1]
        facts = {
            "patterns": seen.patterns,
            "files": [
                {"file": str(file.file), "bytes": file.size, "format": file.kind, "images": file.images}
                for file in seen.files
            ],
            "images": len(seen),
            "shape": list(seen.shape),
            "shape_found": seen.shape_found,
            "labels": labels,
            "label_names": seen.label_names(),
            "images_without_label": unlabelled,
            "mean": values.mean.tolist(),
            "standard_deviation": values.standard_deviation.tolist(),
            "black_pixels": values.black / pixels,
            "white_pixels": values.white / pixels,
            "histogram": values.histogram.tolist(),
            "single_colour": {
                "count": len(values.single_colour),
                "images": [seen.place(image) for image in values.single_colour[:_MOST_LISTED]],
            },
            "same": _listed(self.same, seen, seen),
            "similar": _listed(self.similar, seen, seen),
            "not_usable": {"count": len(seen.faults), "reasons": seen.faults[:_MOST_LISTED]},
        }
        if self.overlap:
            others = self.overlap.others
            facts["against"] = {
                "patterns": others.patterns,
                "images": len(others),
                "same": _listed(self.overlap.same, seen, others),
                "similar": _listed(self.overlap.similar, seen, others),
                "not_usable": {"count": len(others.faults), "reasons": others.faults[:_MOST_LISTED]},
            }
        return facts


def _listed(pairs, first, second):
    """Counts pairs of images and names them by their places."""
    named = [[first.place(a), second.place(b)] for a, b in pairs[:_MOST_LISTED]]
    return {"count": len(pairs), "pairs": named}


def describe(patterns, shape=None, against=""):
    """Looks at all images of record files.

    Args:
      patterns: comma-separated files or patterns, which are looked at as one.
      shape: (height, width, channels); None: found out, see `heads.look_at`.
      against: other files, in which the images are looked for; empty: none.

    Returns:
      A `Description`.

    Raises:
      InputError: no file matches, none holds a usable image, the size of the images cannot be found out, or a file is
        on both sides of a comparison.
    """
    _refuse_common_files(patterns, against)
    files = heads.look_at(patterns, shape)
    counts = statistics.Statistics(files.shape)
    seen = surveys.make(files, counts.add)
    return Description(seen, counts, *_copies(seen), _overlap(seen, against) if against else None)


def _refuse_common_files(patterns, against):
    if against:
        files = {str(file) for file in storage.expand(patterns)}
        for other in storage.expand(against):
            if str(other) in files:
                raise InputError(f"--against={against}: {other} would be compared with itself")


def _copies(seen):
    """Returns the pairs of images with equal pixels, and of those that look alike."""
    same, similar = catalogue.first_equal(seen.content), catalogue.first_equal(seen.key)
    later, alike = catalogue.copies(same, similar)
    return np.column_stack([later, same[later]]), np.column_stack([alike, similar[alike]])


def _overlap(seen, against):
    others = surveys.make(heads.look_at(against, seen.shape))
    same, similar = _first_among(seen.content, others.content), _first_among(seen.key, others.key)
    in_both = np.flatnonzero(same >= 0)
    alike = np.flatnonzero((similar >= 0) & (same < 0))
    return Overlap(others, np.column_stack([in_both, same[in_both]]), np.column_stack([alike, similar[alike]]))


def _first_among(values, others):
    """Returns for each of N values the number of the first equal one among others, or -1: int [N]."""
    distinct, first = np.unique(others, return_index=True)
    places = np.minimum(np.searchsorted(distinct, values), len(distinct) - 1)
    return np.where(distinct[places] == values, first[places], -1)
