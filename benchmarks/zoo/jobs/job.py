"""What all kinds of jobs have in common."""

import collections.abc
import dataclasses


@dataclasses.dataclass(frozen=True)
class Job:
    """A piece of work whose result is kept.

    Attributes:
      kind, name: under which it is kept.
      presets: what it is about.
      work: makes the result, plain data, of a `Comparison`.
      needs: (kind, name) of the jobs that it builds on.
      minutes: how long it takes, about.
    """

    kind: str
    name: str
    presets: tuple
    work: collections.abc.Callable
    needs: tuple = ()
    minutes: float = 1.0

    def is_done(self, results):
        """Whether its result is kept, and is about the same presets."""
        kept = results.get(self.kind, self.name)
        return kept is not None and kept["presets"] == list(self.presets)
