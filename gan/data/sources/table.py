"""Images that a CSV file names, with their labels."""

import csv
import posixpath

from gan import storage
from gan.data.sources import files
from gan.data.sources.source import Digest, Grouping, Reader, Reference, Source, UniquePlaces, in_order
from gan.errors import InputError, printable


class TableReader(Reader):
    """Reads the files that a table names: relative to its folder, absolute, or as an URI."""

    def __init__(self, folder):
        self._folder = folder

    def _read(self, where):
        return files.read(self._file(where))

    def size_and_stamp(self, where):
        """Returns what `files.size_and_stamp` says where asking costs little, else None."""
        try:
            file = self._file(where)
            return files.size_and_stamp(file) if storage.is_local(file) else None
        except (OSError, files.Unreadable):
            return None

    def _file(self, where):
        if "\0" in where:
            raise files.Unreadable("does not exist")
        try:
            file = storage.path(where) if where.startswith("/") or "://" in where else self._folder / where
            if storage.is_local(file):
                return file
            scheme, _, below = str(file).partition("://")  # an object store knows no ".."
            return storage.path(f"{scheme}://{posixpath.normpath(below)}")
        except InputError as error:
            raise files.Unreadable(f"cannot be read ({error})") from None


class TableSource(Source):
    """A CSV file with a header, in the order of its rows.

    Args:
      target: the file, an `epath.Path`.
      options: see `open_source`.

    Raises:
      InputError: it is not such a file, or its columns are not there.
    """

    def __init__(self, target, options):
        if options.labels == "folder":
            raise InputError(f"--labels=folder is not for a CSV file; {target} has its labels in a column")
        if options.group_column and options.group_pattern:
            raise InputError("--group_column and --group_pattern say the same thing twice; give one of them")
        remote = not storage.is_local(target)
        super().__init__("csv", TableReader(target.parent), remote=remote)
        self._target = target
        self._folder = f"{target.parent if remote else target.parent.resolve()}/"
        self._group = Grouping(options.group_pattern)
        self._columns = {
            "path_column": options.path_column,
            "label_column": "" if options.labels == "none" else options.label_column,
            "group_column": options.group_column,
        }
        self._survey()

    def _survey(self):
        """Looks at every row once, and keeps none."""
        digest, labels = Digest(self.kind), set()
        self.count = 0
        for line, path, label, group in self._rows():
            digest.add(line, path, label, group, self.reader.size_and_stamp(path))
            self.count += 1
            labels.update([label] if label else [])
            self._remote = self._remote or "://" in path
        if not self.count:
            raise InputError(f"{self._target} has a header but no rows")
        self.fingerprint = digest.finish()
        self.label_names = in_order(labels)

    def references(self, start=0):
        unique = UniquePlaces()
        for number, (line, path, label, group) in enumerate(self._rows()):
            plain = _place(path.removeprefix(self._folder)) or f"{self._target.name}:{line}"
            place = unique(plain)
            if number >= start:
                fault = "has no path" if not path else "has no label" if label == "" else None
                yield Reference(place, label or None, group or self._group(plain), fault, path)

    def _rows(self):
        """Yields (line, path, label, group) of each row; label and group are None where they are not asked for.

        Raises:
          InputError: the file cannot be read, is no table, or a column is not there.
        """
        try:
            with files.opened(self._target) as reader:
                table = csv.reader(self._lines(reader), skipinitialspace=True)
                yield from self._cells(table)
        except files.Unreadable as error:
            raise InputError(f"{self._target} {error}") from None
        except csv.Error as error:
            raise InputError(f"{self._target}: line {table.line_num} is not CSV ({error})") from None

    def _cells(self, table):
        header = [name.strip() for name in next(table, [])]
        places = [self._column(header, flag, name) for flag, name in self._columns.items()]
        for row in filter(None, table):
            cells = [None if place is None else row[place] if place < len(row) else "" for place in places]
            yield table.line_num, *cells

    def _column(self, header, flag, name):
        if not name:
            return None
        if name not in header:
            hint = ", or give --labels=none" if flag == "label_column" else ""
            found = printable(", ".join(header), 300) or "nothing"
            raise InputError(
                f"{self._target} has no column {name!r}; its header has: {found} (comma-separated); "
                f"name the column with --{flag}{hint}"
            )
        return header.index(name)

    def _lines(self, reader):
        for number, line in enumerate(reader, 1):
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                raise InputError(f"{self._target}: line {number} is not UTF-8; save the file as UTF-8") from None


def _place(path):
    """Returns a path without what a place must not have: a scheme, a leading "/" or "..", or "./" within."""
    place = posixpath.normpath("/" + path.partition("://")[2] if "://" in path else path)
    return "/".join(part for part in place.split("/") if part not in ("", ".", ".."))
