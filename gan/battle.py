"""Plays one battle between two teams, as in a contest: snapshots, check, rounds, decision, page.

python -m gan.battle --team_a=Ours=my_run --team_b=Theirs=their_run --input_data_pattern='faces/validation*'
"""

if not __package__:  # `python gan/battle.py` works like `python -m gan.battle`
    import pathlib
    import sys

    sys.path[0] = str(pathlib.Path(__file__).absolute().parents[1])

import dataclasses

from etils import epy

from gan import flags, storage
from gan.arena import options as arena_options
from gan.errors import InputError
from gan.flags import flag

with epy.lazy_imports():
    from gan.arena import organiser, teams


@dataclasses.dataclass(frozen=True, kw_only=True)
class BattleOptions(arena_options.PlayOptions):
    """Flags of `gan.battle`."""

    team_a: str = flag("", "NAME=DIR: first team and its submission; it is the better seed")
    team_b: str = flag("", "NAME=DIR: second team and its submission")
    rounds: int = flag(1, "rounds, each in both directions", lower=1, upper=99)
    output_dir: str = flag("battle/", "folder for the page and the result; an earlier battle in it is replaced")

    def __post_init__(self):
        super().__post_init__()
        teams.check_field(self.pair, "--team_a and --team_b")

    @property
    def pair(self):
        """The two `teams.Team`s."""
        return [_team("team_a", self.team_a), _team("team_b", self.team_b)]


def battle(options):
    """Plays the battle, writes its page and prints the result.

    Args:
      options: `BattleOptions`.

    Returns:
      The content of `match.json`.

    Raises:
      InputError: a flag, the data or the output folder cannot be used.
    """
    for team in options.pair:
        if not storage.path(team.submission).exists():
            raise InputError(f"team {team.name!r}: {team.submission} does not exist; give the folder of a submission")
    output = storage.path(options.output_dir)
    with organiser.Organiser(output, "battle", options) as run:
        run.require_reals(options.rounds)
        run.ledger.make_room("battle")
        run.settle(options.pair)
        run.enter(options.pair)
        a, b = (team.slug for team in options.pair)
        summary = run.play("battle", "battle", a, b, options.rounds, options.tie_break)
        run.finish()
        print(f"written: {output / 'index.html'}, {output / summary['folder'] / 'match.json'}")
        return run.ledger.result(summary["folder"])


def _team(flag_name, text):
    name, equals, folder = text.partition("=")
    if not equals or not name or not folder:
        raise InputError(f"--{flag_name}={text}: expected NAME=DIR, for instance --{flag_name}=Ours=my_run")
    return teams.Team(name, folder)


if __name__ == "__main__":
    flags.run(battle, BattleOptions)
