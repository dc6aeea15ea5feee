"""A league's matches as a pipeline of Apache Beam: each block of the matrix is played by the machine that takes it.

All machines see the contest's folder and the record files. A result is written as soon as a match is over, and a match
whose result is there is not played again: so a pipeline that was stopped, or a bundle that Beam tries again, loses
little.
"""

import collections
import contextlib
import functools

import apache_beam as beam

from gan import storage
from gan.arena import house, ledger, pool, table
from gan.errors import RunError


class PlayBlock(beam.DoFn):
    """Plays blocks, lists of `table.Pairing`. Each bundle has workers of its own, one for each team in it.

    Args:
      output: the contest's folder, a text.
      options: an `options.PlayOptions`.
      terms: the `rounds.Terms`.
      fingerprint: that of the organiser's real images.
      with_house: whether house opponents play.
    """

    def __init__(self, output, options, terms, fingerprint, with_house):
        self._output = output
        self._options = options
        self._terms = terms
        self._fingerprint = fingerprint
        self._with_house = with_house
        self._resources = None

    def start_bundle(self):
        """Opens a table for the bundle.

        Raises:
          RunError: this machine does not see the contest, or other images.
        """
        options, contest = self._options, ledger.Ledger(storage.path(self._output))
        if not contest.settled():
            raise RunError(
                f"a machine that plays does not see {self._output}: give --output_dir, --input_data_pattern and "
                "--train_data_pattern where all machines see them, for instance gs://"
            )
        sandboxed = table.resolve_sandbox(options, contest.output)
        reals, opponents = _images(options, self._with_house)
        if reals.fingerprint != self._fingerprint:
            raise RunError(f"a machine that plays sees other images: --input_data_pattern={options.input_data_pattern}")
        self._ledger, self._resources = contest, contextlib.ExitStack()
        workers = self._resources.enter_context(pool.Pool(sandboxed, options.time_limit, options.workers))
        self._table = table.Table(contest, self._terms, reals, workers, sandboxed)
        self._table.house = opponents

    def process(self, block):
        """Plays what is missing of a block; a failing model forfeits, as everywhere."""
        try:
            missing = [pairing for pairing in block if self._ledger.result(pairing.folder) is None]
            for _ in self._table.play_together(missing):
                pass
        except BaseException:  # Beam gives this bundle up
            self.finish_bundle()
            raise

    def finish_bundle(self):
        """Ends the workers."""
        self._resources.close()


def blocks(pairings, workers):
    """Splits matches into lists with few teams in each.

    Args:
      pairings: `table.Pairing`s.
      workers: teams that a machine keeps loaded.
    """
    size = max(1, workers // 2)
    found, teams = collections.defaultdict(list), {}
    for pairing in pairings:
        numbers = (teams.setdefault(entry["slug"], len(teams)) for entry in pairing.entries.values())
        found[tuple(sorted(number // size for number in numbers))].append(pairing)
    return list(found.values())


@functools.lru_cache(maxsize=1)
def _images(options, with_house):
    """Returns (real images, {slug: house opponent}), read once in each process."""
    opponents = house.generators(options.contest, options.load_training()) if with_house else {}
    return options.load_reals(), {house.slug(name): generator for name, generator in opponents.items()}
