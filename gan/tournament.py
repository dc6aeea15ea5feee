"""Plays a contest between the submissions of a team list: knock-out, league or mock battles.

    python -m gan.tournament --teams=teams.csv --input_data_pattern='faces/test*' --seed=12345 --output_dir=contest
    python -m gan.tournament --teams=teams.csv --input_data_pattern='faces/v*' --format=mock --every=2h
    python -m gan.tournament --checkpoints_of=my_run --sandbox=off --output_dir=self   # which export to submit?
    python -m gan.tournament --teams=gs://contest/teams.csv --format=league --output_dir=gs://contest/league \
        --runner=beam --beam_options='--runner=FlinkRunner --flink_master=...'         # on many machines

teams.csv has the columns name,submission and, if wanted, seed. Open OUTPUT_DIR/index.html. A contest that was stopped
or killed goes on where it was with the same command.
"""

if not __package__:  # `python gan/tournament.py` works like `python -m gan.tournament`
    import pathlib
    import sys

    sys.path[0] = str(pathlib.Path(__file__).absolute().parents[1])

import contextlib
import dataclasses
import tempfile

from etils import epy

from gan import beam_runner, flags, storage
from gan.arena import options as arena_options
from gan.errors import InputError, RunError
from gan.flags import flag

with epy.lazy_imports():
    from gan.arena import (
        bracket,
        knockout,
        league,
        ledger,
        mock,
        organiser,
        rules,
        snapshot,
        standings,
        teams,
        terminal,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TournamentOptions(beam_runner.RunnerOptions, arena_options.PlayOptions):
    """Flags of `gan.tournament`."""

    teams: str = flag("", "team list: a CSV file with the columns name,submission[,seed]")
    checkpoints_of: str = flag("", "a run of one's own whose exports play a league against each other")
    snapshots_of: str = flag("", "an earlier contest whose snapshots play again, for instance a league after a final")
    format: str = flag("knockout", "what is played", choices=("knockout", "mock", "league"))
    output_dir: str = flag("tournament/", "folder of the contest: pages, results, snapshots")
    mock_dir: str = flag("", "folder of earlier mock battles: their ratings seed, their snapshots step in")
    house: bool = flag(True, "house opponents play in a league, for scale")
    every: str = flag("", "mock: time between sessions, for instance 2h; empty: one session, or one a day")
    at: str = flag("", "mock: time of day of the first session, for instance 12:00")
    freeze: bool = flag(False, "knock-out, league: take and check all submissions now, and stop")
    dry_run: bool = flag(False, "check all submissions, draw the bracket, write nothing, and stop")

    def __post_init__(self):
        super().__post_init__()
        if [self.teams, self.checkpoints_of, self.snapshots_of].count("") != 2:
            raise InputError(
                "give one of --teams (a CSV file), --snapshots_of (a contest), --checkpoints_of (a run of your own)"
            )
        if (self.every or self.at) and self.format != "mock":
            raise InputError(f"--every and --at belong to --format=mock, not {self.format}")
        if self.every:
            mock.seconds(self.every)
        if self.at:
            mock.time_of_day(self.at)
        if self.mock_dir and self.format == "mock":
            raise InputError("--mock_dir names earlier mock battles for a knock-out or a league")
        if self.freeze and (self.format == "mock" or self.dry_run):
            raise InputError("--freeze belongs to a knock-out or a league, without --dry_run")
        if self.runner == "beam" and self.kind != "league":
            raise InputError(f"--runner=beam plays a league; in a {self.kind}, matches wait for one another")

    @property
    def kind(self):
        return "league" if self.checkpoints_of else self.format


def tournament(options):
    """Plays, or goes on with, a contest.

    Args:
      options: `TournamentOptions`.

    Returns:
      The content of `tournament.json`; None after a dry run.

    Raises:
      InputError: a flag, the team list or the data cannot be used.
      RunError: no team has a submission that passes the check.
    """
    team_list = _read_teams(options)  # a mistake in the list is said before anything is loaded
    mock_dir = storage.path(options.mock_dir) if options.mock_dir else None
    if mock_dir:
        mock.earlier_ratings(mock_dir)
    with contextlib.ExitStack() as resources:
        output = options.output_dir
        if options.dry_run:
            output = resources.enter_context(tempfile.TemporaryDirectory(prefix="gan-dry-run-"))
        earlier = [mock_dir] if mock_dir else []
        runner = None
        if options.runner == "beam":
            private = storage.path(output) / "private"
            runner = resources.enter_context(beam_runner.BeamRunner(options.beam_options, private))
        run = resources.enter_context(
            organiser.Organiser(storage.path(output), options.kind, options, earlier, runner=runner)
        )
        run.require_reals(rules.FINAL_ROUNDS if options.kind == "knockout" else rules.ROUNDS)
        settled = [] if run.kind == "mock" else team_list
        if options.dry_run:
            run.compare(settled, storage.path(options.output_dir))
            return _dry_run(run, team_list, mock_dir)
        run.settle(settled)
        for warning in run.warnings():
            run.say(f"warning: {warning}")
        if run.kind == "mock":
            _play_mock(options, run)
        else:
            _play_once(options, run, team_list, mock_dir)
        run.say(f"written: {run.ledger.output / 'index.html'}, tournament.json, matches/, teams/")
        return storage.read_json(run.ledger.output / "tournament.json")


def _read_teams(options):
    if options.teams:
        return teams.read(storage.path(options.teams))
    if options.snapshots_of:
        found = _settled_teams(ledger.Ledger(storage.path(options.snapshots_of)))
    else:
        found = _exports(storage.path(options.checkpoints_of) / "export")
    teams.check_field(found, options.snapshots_of or options.checkpoints_of)
    return found


def _settled_teams(contest):
    """The teams of an earlier contest, with the snapshots that they played there."""
    entries = [entry for entry in contest.entries().values() if entry["snapshot"]]
    folders = [snapshot.folder_of(contest.store(entry["slug"]), entry["snapshot"]) for entry in entries]
    return [
        teams.Team(entry["name"], str(folder), entry["seed"]) for entry, folder in zip(entries, folders, strict=True)
    ]


def _exports(folder):
    """One team for each export of a run."""
    steps = [entry for entry in folder.iterdir() if entry.name.startswith("step_")] if folder.exists() else []
    if len(steps) < 2:
        raise InputError(
            f"{folder} holds {len(steps)} exports (step_N); a league needs 2: train with --export_model_steps"
        )
    steps.sort(key=lambda entry: (len(entry.name), entry.name))
    return [teams.Team(entry.name, str(entry)) for entry in steps]


def _dry_run(run, team_list, mock_dir):
    run.enter_anew(team_list)
    if run.kind == "knockout":
        order = knockout.seeding(run, mock_dir)
        names = {slug: entry["name"] for slug, entry in run.entries.items()}
        run.say(terminal.bracket_text(knockout.drawn_bracket(order, bracket.draw(len(order)), {}, {}), names))
    broken = sum(entry["forfeit"] is not None for entry in run.entries.values())
    run.say(f"dry run: {len(run.entries) - broken} of {len(run.entries)} submissions may battle; nothing was written")


def _play_mock(options, run):
    at = mock.time_of_day(options.at) if options.at else None
    every = mock.seconds(options.every) if options.every else None
    mock.play(run, lambda: _read_teams(options), at, every)
    standings.report(run, ["teams"])


def _play_once(options, run, team_list, mock_dir):
    run.enter(team_list)
    if options.freeze:
        run.standing.status = "frozen"
        if run.kind == "knockout":
            knockout.draw(run, mock_dir)
        run.publish(now=True)
        run.say("frozen: the same command without --freeze plays these snapshots")
        return
    if all(entry["forfeit"] for entry in run.entries.values()):
        reasons = "; ".join(f"{entry['name']}: {entry['forfeit']}" for entry in run.entries.values())
        raise RunError(f"no submission passes the check, so there is nobody to play ({reasons})")
    if run.kind == "knockout":
        knockout.play(run, mock_dir)
        knockout.report(run)
        return
    if options.house and not options.checkpoints_of:
        run.enter_house()
    league.play(run)
    standings.report(run)
    if options.checkpoints_of:
        run.say(league.advice(run))


if __name__ == "__main__":
    flags.run(tournament, TournamentOptions)
