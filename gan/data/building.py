"""A build from end to end: files of a source become chunks, a plan, record files, and reports of what was done."""

import dataclasses
import errno
import functools
import hashlib
import json

import tqdm

from gan import __version__, storage
from gan.data import catalogue, preparation, reports, shards, writing
from gan.errors import InputError, RunError, printable

WORK = ".build"  # in the output folder until all is done
_MARK = "build.json"  # there: says of which build it is
_DIFFERENCES = {
    "version": "by another version of this package",
    "settings": "with other settings",
    "input": "of another input, or of this one before it changed",
}
_IMAGES_PER_SHARD = 10_000


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What decides the records, beside the source.

    Attributes:
      transform: the `decoding.Transform`.
      shares: {split: share}.
      num_shards: record files of a split; 0: one for each 10,000 of all images.
      kind: one of `shards.FORMATS`.
      seed: the master seed.
      naming: {flag: value} of what finds the labels and the groups.
    """

    transform: object
    shares: dict
    num_shards: int
    kind: str
    seed: int
    naming: dict = dataclasses.field(default_factory=dict)


class Build:
    """The build of one output folder.

    Args:
      source: from `sources.open_source`.
      recipe: the `Recipe`.
      output: the folder, an `epath.Path`.
      runner: one of `runners`.
    """

    def __init__(self, source, recipe, output, runner):
        self._source = source
        self._recipe = recipe
        self._output = output
        self._work = output / WORK
        self._runner = runner
        self._image_size = recipe.transform.image_size
        self._settings = dataclasses.asdict(recipe)
        self._decisive = {"version": __version__, "settings": self._settings, "input": source.fingerprint}
        self._fingerprint = hashlib.sha256(json.dumps(self._decisive, sort_keys=True).encode()).hexdigest()

    def go(self, max_bad_fraction):
        """Builds, or goes on where a build was stopped.

        Args:
          max_bad_fraction: of the files, that may be no usable images.

        Returns:
          The content of `manifest.json`.

        Raises:
          InputError: the folder holds something else, there is no image, or too many files are none.
          RunError: a worker died, or the disk is full.
        """
        try:
            with storage.lock(self._output), self._runner:
                made = self._finished() or self._make(max_bad_fraction)
                self._clear_work_folder()
                return made
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise RunError(f"{self._output}: {error.strerror}; the same command goes on where it was") from None

    def _finished(self):
        """Returns the content of `manifest.json` if this build was finished before, else None."""
        try:
            made = reports.manifest(self._output)
        except ValueError:  # no JSON
            return None
        if not isinstance(made, dict) or made.get("fingerprint") != self._fingerprint:
            return None
        for name in (file["name"] for split in made["splits"].values() for file in split["files"]):
            if not (self._output / name).exists():
                raise InputError(f"--output={self._output} holds this build, but {name} is gone: name a new folder")
        return made

    def _make(self, max_bad_fraction):
        self._open_work_folder()
        known = catalogue.load(self._work, self._prepare())
        _refuse_too_few(known, max_bad_fraction)
        num_shards = self._recipe.num_shards or -(-len(known) // _IMAGES_PER_SHARD)
        plan = catalogue.plan(known, self._recipe.shares, num_shards, self._recipe.seed)
        files = self._write(known, plan)
        facts = {"fingerprint": self._fingerprint, "source": self._source_facts(), "settings": self._settings}
        shape = self._recipe.transform.shape
        return reports.write(self._output, self._work, known, plan, files, shape, facts)

    def _source_facts(self):
        source = self._source
        others = source.others and {"count": source.others.count, "first": list(source.others.names)}
        return {"kind": source.kind, "fingerprint": source.fingerprint, "other_files": others}

    def _open_work_folder(self):
        """Goes on with the work that is there if it is of this build.

        Raises:
          InputError: the output folder holds something that is not of this build.
        """
        mark = self._work / _MARK
        if mark.exists():
            begun = storage.read_json(mark)
            differences = [words for name, words in _DIFFERENCES.items() if begun[name] != self._decisive[name]]
            if differences:
                raise InputError(
                    f"--output={self._output} holds a build that was stopped, {' and '.join(differences)}: give its "
                    "command again to go on with it, delete the folder, or name a new one"
                )
            return
        if self._output.exists() and any(entry.name not in (WORK, ".lock") for entry in self._output.iterdir()):
            raise InputError(
                f"--output={self._output} holds something else than this build of this input with these settings: "
                "name a new folder"
            )
        self._clear_work_folder()
        storage.write_json(mark, self._decisive)

    def _clear_work_folder(self):
        (self._work / _MARK).unlink(missing_ok=True)  # first: without it the rest is worth nothing, whatever is left
        self._work.rmtree(missing_ok=True)

    def _prepare(self):
        """Makes the chunks that are missing and returns how many there are."""
        prepare = functools.partial(
            preparation.prepare,
            reader=self._source.reader,
            transform=self._recipe.transform,
            work=str(self._work),
        )
        there = preparation.chunks_there(self._work)
        chunks = preparation.chunks(self._source.references(), self._recipe.transform)
        missing = (chunk for chunk in chunks if chunk.number not in there)
        total, done = self._source.count, len(there) * preparation.chunk_size(self._recipe.transform)
        done = done if total is None else min(done, total)  # the last chunk may be smaller
        with self._bar("images", "files", done, total) as bar:
            for count in self._runner.map(prepare, missing):
                bar.update(count)
        return len(preparation.chunks_there(self._work))

    def _write(self, known, plan):
        """Writes the record files that are missing and returns {split: what `writing.result` says of each}."""
        write = functools.partial(
            writing.write,
            work=str(self._work),
            output=str(self._output),
            image_size=self._image_size,
            kind=self._recipe.kind,
        )
        names = {
            split: [shards.shard_name(split, number, count) for number in range(count)]
            for split, count in plan.shards.items()
        }
        there = [found for files in names.values() for name in files if (found := writing.result(self._work, name))]
        written = {file["name"] for file in there}
        missing = (
            _shard(name, known, plan.images_of(split, number))
            for split, files in names.items()
            for number, name in enumerate(files)
            if name not in written
        )
        done, total = sum(file["records"] for file in there), len(known)
        with self._bar("records", "records", done, total) as bar:
            for count in self._runner.map(write, missing):
                bar.update(count)
        return {split: [writing.result(self._work, name) for name in files] for split, files in names.items()}

    def _bar(self, what, unit, done, total):
        hidden = None if self._runner.tells_progress else True  # None: unless on a terminal
        return tqdm.tqdm(desc=what, unit=f" {unit}", unit_scale=True, initial=done, total=total, disable=hidden)


def _shard(name, known, images):
    label = None if known.label is None else known.label[images]
    return writing.Shard(name, known.chunk[images], known.row[images], label)


def _refuse_too_few(known, max_bad_fraction):
    bad, count = len(known.refused), len(known.refused) + len(known)
    if len(known) and bad / count <= max_bad_fraction:
        return
    examples = "; ".join(f"{printable(place)} {reason}" for place, reason in known.refused[:3])
    if not len(known):
        raise InputError(f"none of {count:,} files is a usable image; the first: {examples}")
    raise InputError(
        f"{bad:,} of {count:,} files are no usable images, more than --max_bad_fraction={max_bad_fraction}; with a "
        f"larger one the same command goes on where it was; the first: {examples}"
    )
