"""Plays a match again from its snapshots, seeds and hashes, and says whether the result is the same.

    python -m gan.replay contest/matches/final--alpha-b1a96dd6--beta-70339031/match.json

Everything is compared, images byte by byte, but for measured times; where a running time decided, the recorded one
decides again. Exit code 0 if all is equal, 1 if something differs.
"""

if not __package__:  # `python gan/replay.py` works like `python -m gan.replay`
    import pathlib
    import sys

    sys.path[0] = str(pathlib.Path(__file__).absolute().parents[1])

import dataclasses

from etils import epy

from gan import flags, storage
from gan.arena import options as arena_options
from gan.errors import InputError, RunError
from gan.flags import flag

with epy.lazy_imports():
    from gan.arena import replayer, sandbox


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReplayOptions(flags.Options):
    """Flags of `gan.replay`."""

    result: str = flags.word("match.json of a contest, in its place beside the contest's other files")
    input_data_pattern: str = flag("", "record files with the real images; empty: those that the contest named")
    sandbox: str = flags.inherit(arena_options.SandboxOptions, "sandbox", "require")
    train_data_pattern: str = flag("", "record files for house opponents; empty: those that the contest named")


def replay(options):
    """Plays a match again and prints what differs.

    Args:
      options: `ReplayOptions`.

    Raises:
      InputError: the result, a snapshot or the data is missing, or not what was played with.
      RunError: the result differs.
    """
    sandboxed = sandbox.resolve(options.sandbox)
    file = storage.path(options.result)
    if file.is_dir() or not file.exists():
        raise InputError(f"{file}: expected the match.json of a contest, for instance contest/matches/NAME/match.json")
    differences = replayer.differences(file, options, sandboxed)
    for difference in differences:
        print(f"differs: {difference}")
    if differences:
        raise RunError(f"{file}: {len(differences)} differences")
    print(f"equal: {file} and its pictures, but for measured times")


if __name__ == "__main__":
    flags.run(replay, ReplayOptions)
