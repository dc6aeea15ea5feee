"""Images in a folder and the folders below it."""

from gan import storage
from gan.data.sources import files
from gan.data.sources.source import Reader, as_text
from gan.data.sources.tree import File, TreeSource, is_hidden
from gan.errors import InputError


class FolderReader(Reader):
    """Reads files of a folder; they are named by their path in it."""

    def __init__(self, root):
        self._root = root

    def _read(self, where):
        return files.read(self._root / where)


class FolderSource(TreeSource):
    """A folder, read entry by entry: the names of a folder and of those around it are all that is in memory.

    Args:
      target: the folder, an `epath.Path`.
      options: see `open_source`.
    """

    def __init__(self, target, options):
        super().__init__(target, options, "folder", FolderReader(target), remote=not storage.is_local(target))

    def _may_repeat(self, place):
        return "\\" in place  # two names are one text only where bytes were spelled out, by `as_text`

    def _files(self):
        try:
            around = [("", files.listing(self._target, self._target))]
        except OSError as error:
            raise InputError(f"{self._target} {files.reason(error)}") from None
        while around:
            above, entries = around[-1]
            entry = next(entries, None)
            if entry is None:
                around.pop()
                continue
            if is_hidden(entry.name):
                continue
            where = above + entry.name
            if not entry.is_folder:
                fault = entry.fault or (files.TOO_LARGE if entry.size > files.LARGEST else None)
                listed = entry.fault == files.LINK_TO_FOLDER
                yield File(as_text(where), entry.size, entry.stamp, fault, where, listed=listed)
                continue
            try:
                around.append((f"{where}/", files.listing(self._target / where, self._target)))
            except OSError as error:
                yield File(as_text(where), fault=files.reason(error), listed=True)
