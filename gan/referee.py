"""Acts on a contest that is going on or has ended; the action and its reason are recorded and shown.

    python -m gan.referee disqualify --output_dir=contest --team='Team A' --reason='trained on the test file'
    python -m gan.referee reinstate --output_dir=contest --team='Team A' --reason='the claim was wrong'
    python -m gan.referee rematch --output_dir=contest --match=semi-final-1 --reason='power cut during the match'

A disqualified team forfeits all its matches, those that it won as well: the teams that it beat go on in its place, and
what follows is played anew. A rematch is drawn from another seed. A running tournament takes note before its next
match; one that has ended, when its command is run again. No result is ever deleted.
"""

if not __package__:  # `python gan/referee.py` works like `python -m gan.referee`
    import pathlib
    import sys

    sys.path[0] = str(pathlib.Path(__file__).absolute().parents[1])

import dataclasses

from etils import epy

from gan import flags, storage
from gan.errors import InputError
from gan.flags import flag

with epy.lazy_imports():
    from gan.arena import ledger

ACTIONS = ("disqualify", "reinstate", "rematch")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RefereeOptions(flags.Options):
    """Flags of `gan.referee`."""

    action: str = flags.word("what to do", choices=ACTIONS)
    output_dir: str = flag("tournament/", "folder of the contest")
    team: str = flag("", "disqualify, reinstate: name of the team")
    match: str = flag("", "rematch: id of the match, as the page shows it, for instance semi-final-1")
    reason: str = flag("", "why; it is shown to everybody")

    def __post_init__(self):
        super().__post_init__()
        wanted, other = ("match", "team") if self.action == "rematch" else ("team", "match")
        if not getattr(self, wanted) or getattr(self, other):
            raise InputError(f"{self.action} needs --{wanted}, and not --{other}")
        if not self.reason.strip():
            raise InputError(f"{self.action} needs a --reason; it is shown to everybody")


def referee(options):
    """Records a decision.

    Args:
      options: `RefereeOptions`.

    Raises:
      InputError: there is no such contest, team or match, or the decision changes nothing.
    """
    contest = ledger.Ledger(storage.path(options.output_dir))
    settled = contest.recorded()["settings"]
    if options.action == "rematch":
        subject = _played_match(contest, options.match)
    else:
        subject = _team(contest, options.team, settled)
        if (subject in contest.disqualified()) == (options.action == "disqualify"):
            raise InputError(f"{subject} is {'already' if options.action == 'disqualify' else 'not'} disqualified")
    contest.add_decision(options.action, subject, options.reason)
    print(f"recorded: {options.action} {subject} ({options.reason})")
    print("a running tournament takes note before its next match; for one that has ended, run its command again")


def _team(contest, name, settled):
    names = sorted({entry["name"] for entry in contest.entries().values()} | {name for name, _ in settled["teams"]})
    if name not in names:
        raise InputError(f"--team={name}: no such team in {contest.output}; it has: {', '.join(names) or 'none yet'}")
    return name


def _played_match(contest, match_id):
    file = contest.output / "tournament.json"
    overview = storage.read_json(file) if file.exists() else {"matches": []}
    played = [match["id"] for match in overview["matches"]]
    if match_id not in played:
        raise InputError(
            f"--match={match_id}: not played in {contest.output}; played are: {', '.join(played) or 'none'}"
        )
    return match_id


if __name__ == "__main__":
    flags.run(referee, RefereeOptions)
