"""Decides whether the folders of a source are the labels of its images."""

from gan.data.sources.source import in_order
from gan.errors import InputError


class ClassFolders:
    """The labels that folders give.

    All images have to be seen, then `decide` once; after that `label` answers.

    Args:
      mode: "folder" always takes the folder above an image; "auto" does if every image lies exactly one folder deep and
        there are at least two such folders; "none" never does.
      in_archive: whether folders that all images share count for nothing, as a `raw/` around all of an archive.
    """

    def __init__(self, mode, in_archive):
        self._mode = mode
        self._in_archive = in_archive
        self._images = _Spread(all_names=mode == "folder")
        self._doubtful = _Spread(all_names=mode == "folder")
        self._names = frozenset()

    def see(self, place, doubtful):
        """Takes note of an image; doubtful ones, which may be none, count only if there are no others."""
        if self._mode != "none":
            (self._doubtful if doubtful else self._images).add(place)

    def decide(self):
        """Returns the labels as a sorted list, empty if there are none.

        Raises:
          InputError: folders were to be labels and an image lies above them.
        """
        spread = self._images if self._images.shared is not None else self._doubtful
        if spread.shared is None:
            return []
        outer = len(spread.shared) if self._in_archive else 0
        if self._mode == "folder":
            top = outer if spread.deepest > outer else 0
            if spread.highest == top:
                raise InputError(
                    f"--labels=folder: {spread.example} lies in no class folder; "
                    "put every image into the folder of its class, or give --labels=none"
                )
            self._names = frozenset(spread.names)
        elif spread.highest == spread.deepest == outer + 1 and len(spread.shared) == outer:
            self._names = frozenset(spread.names)
        return in_order(self._names)

    def label(self, place):
        """Returns the label of an image, or None if it lies outside the class folders or there are none."""
        above = place.split("/")[-2:-1]
        return above[0] if above and above[0] in self._names else None


class _Spread:
    """How images lie in folders.

    Attributes:
      shared: the folders above all of them, outermost first; None if there are no images.
      highest, deepest: the fewest and the most folders above an image.
      names: of the folders directly above them; given up where images lie at several depths, unless `all_names`.
      example: one of the highest.
    """

    def __init__(self, all_names):
        self.shared = None
        self.highest = self.deepest = 0
        self.names = set()
        self.example = None
        self._all_names = all_names

    def add(self, place):
        above = place.split("/")[:-1]
        if self.shared is None:
            self.shared, self.highest, self.deepest, self.example = above, len(above), len(above), place
        elif len(above) < self.highest:
            self.highest, self.example = len(above), place
        self.deepest = max(self.deepest, len(above))
        agreed = 0
        while agreed < min(len(above), len(self.shared)) and above[agreed] == self.shared[agreed]:
            agreed += 1
        self.shared = self.shared[:agreed]
        if above and (self._all_names or self.highest == self.deepest):
            self.names.add(above[-1])
