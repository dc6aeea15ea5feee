"""What is finished, kept in a file from which the same command goes on."""

import datetime
import math

from gan import storage

KINDS = ("speed", "reference", "train", "measure", "check", "league", "duel", "goal")  # of jobs
SETTINGS = ("settings", "settings")  # kind and name of what all other values are about


class Results:
    """`results.json`: {data: {kind of job: {name of the job: what came of it}}}.

    Every value names the presets that it is about, so that one of them can be forgotten.

    Args:
      folder: where the file lies, an `epath.Path`.
      data: "faces" or "digits".
    """

    def __init__(self, folder, data):
        self._file = folder / "results.json"
        self._everything = storage.read_json(self._file) if self._file.exists() else {}
        self._own = self._everything.setdefault(data, {})

    def of_kind(self, kind):
        """Returns {name: value}."""
        return self._own.get(kind, {})

    def of_jobs(self):
        """Returns the values of all jobs, kind by kind; the settings are no job's."""
        return [value for kind in KINDS for value in self.of_kind(kind).values()]

    def get(self, kind, name):
        """Returns a value, or None."""
        return self.of_kind(kind).get(name)

    def keep(self, kind, name, about, value):
        """Writes a value, plain data, that is `about` some presets."""
        today = datetime.date.today().isoformat()
        self._own.setdefault(kind, {})[name] = {"presets": list(about), "date": today, **value}
        self._write()

    def forget(self, preset):
        """Drops everything that is about a preset."""
        for kind, values in self._own.items():
            self._own[kind] = {name: value for name, value in values.items() if preset not in value["presets"]}
        self._write()

    def _write(self):
        storage.write_json(self._file, self._everything)


def plain(numbers):
    """Returns numbers for JSON, which knows no infinity."""
    return [float(number) if math.isfinite(number) else None for number in numbers]


def kid_of(measured):
    """Returns the KID of a value of kind "measure" or "reference"; infinity where there is none."""
    value = measured["training"]["kid"][0] if measured else None
    return math.inf if value is None else value
