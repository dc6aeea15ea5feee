"""Mock battles: every so often all teams play, from their newest snapshots, in pairs drawn anew."""

import datetime
import math
import re
import time

from gan import storage
from gan.arena import rules, standings
from gan.errors import InputError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(text):
    """Returns the seconds of "90s", "30m", "2h" or "1d".

    Raises:
      InputError: the text is something else, or no time at all.
    """
    match = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if not match or int(match[1]) == 0:
        raise InputError(f"--every={text}: expected a number and s, m, h or d, for instance 2h")
    return int(match[1]) * _UNITS[match[2]]


def time_of_day(text):
    """Returns the `datetime.time` of "12:00".

    Raises:
      InputError: the text is no time of day.
    """
    try:
        return datetime.datetime.strptime(text, "%H:%M").time()
    except ValueError:
        raise InputError(f"--at={text}: expected a time of day, for instance 12:00") from None


def next_start(now, begun, at, every):
    """Returns when the next session starts, at or after `now`.

    Args:
      now: a `datetime.datetime`.
      begun: when the last session started, or None.
      at: `datetime.time` of the first session, or None.
      every: seconds between sessions; None: at once, or with `at` every day.
    """
    if at is None and (begun is None or every is None):
        return now
    period = datetime.timedelta(seconds=every or _UNITS["d"])
    if begun is None:
        start = datetime.datetime.combine(now.date(), at)
        return start if start >= now else start + datetime.timedelta(days=1)
    if at is None:
        return max(now, begun + period)
    missed = max(0, math.ceil((now - begun) / period) - 1)
    return begun + (missed + 1) * period


def play(organiser, read_teams, at, every):
    """Plays sessions until stopped; with neither `at` nor `every` one session.

    Args:
      organiser: an `organiser.Organiser`.
      read_teams: returns the `teams.Team`s as the list stands; called for each session.
      at, every: as for `next_start`.
    """
    sessions = organiser.ledger.output / "sessions"
    number, begun = 1, None
    while (file := sessions / f"{number:04}.json").exists():
        session = storage.read_json(file)
        begun = datetime.datetime.fromisoformat(session["begun"])
        organiser.entries = {**organiser.entries, **session["entries"]}
        _play_session(organiser, number, session)
        number += 1
    _show(organiser)
    team_list = read_teams()
    while True:
        begun = next_start(datetime.datetime.now(), begun, at, every)
        _wait(organiser, begun)
        try:
            team_list = read_teams()
        except InputError as error:  # somebody is writing it
            organiser.say(f"{error}; this session is played by the teams of the last one")
        entries = organiser.enter_anew(team_list)
        pairs = rules.mock_pairs(entries, organiser.options.seed, number)
        session = {"begun": begun.isoformat(), "entries": entries, "pairs": pairs}
        storage.write_json(sessions / f"{number:04}.json", session)
        organiser.publish(now=True)
        _play_session(organiser, number, session)
        only_one = at is None and every is None
        if only_one:
            organiser.standing.status = "paused"  # another session may follow, so the seed stays secret
        _show(organiser)
        if only_one:
            return
        number += 1


def _show(organiser):
    if organiser.standing.played:
        standings.rate(organiser)
        organiser.publish(now=True)


def _wait(organiser, start):
    left = (start - datetime.datetime.now()).total_seconds()
    if left > 1:
        organiser.say(f"next session at {start:%Y-%m-%d %H:%M:%S}; Ctrl-C ends the waiting, nothing is lost")
    while (left := (start - datetime.datetime.now()).total_seconds()) > 0:
        time.sleep(min(left, 60))


def _play_session(organiser, number, session):
    """Plays a session, or finds what was played of it; a kill in the middle costs one match."""
    order = list(session["entries"])
    for k, (a, b) in enumerate(session["pairs"], 1):
        better = "a" if order.index(a) < order.index(b) else "b"
        tie_break = organiser.options.tie_break
        organiser.play(f"mock-{number}-{k}", f"session {number}", a, b, rules.ROUNDS, tie_break, better)


def earlier_ratings(folder):
    """Returns {slug: rating} of the mock battles in a folder.

    Raises:
      InputError: there are none.
    """
    file = folder / "tournament.json"
    if not file.exists():
        raise InputError(f"--mock_dir={folder}: no contest there (no tournament.json)")
    found = storage.read_json(file)["ratings"]
    return {row["slug"]: row["rating"] for row in found["teams"]} if found else {}
