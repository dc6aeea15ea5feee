"""Who takes part: the team list, and teams' names as names of files."""

import csv
import dataclasses
import hashlib
import io
import re
import unicodedata

from gan.arena import bracket
from gan.errors import InputError, printable

_COLUMNS = ("name", "submission", "seed")
_MAX_NAME = 60


@dataclasses.dataclass(frozen=True)
class Team:
    """One line of the team list.

    Attributes:
      name: as it is shown; any printable text of up to 60 characters.
      submission: folder, local or `gs://`.
      seed: 1 is the best; None where the list gives none.
    """

    name: str
    submission: str
    seed: int | None = None

    def __post_init__(self):
        if not self.name.strip() or not self.name.isprintable() or len(self.name) > _MAX_NAME:
            raise InputError(f"team name {printable(self.name)!r}: expected 1 to {_MAX_NAME} printable characters")
        if _look_of(self).startswith("house:"):
            raise InputError(f"team name {self.name!r}: names that begin with House: are the house opponents'")
        if not self.submission:
            raise InputError(f"team {self.name!r}: the submission is empty; give a folder, local or gs://")

    @property
    def slug(self):
        return slug(self.name)


def slug(name):
    """Returns a name for files that tells teams apart: "Team A!" becomes "team-a-3f2e1b9c"."""
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:24]
    return f"{words or 'team'}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def read(file):
    """Reads a team list, a CSV file with the columns name, submission and, if wanted, seed.

    Args:
      file: an `epath.Path`.

    Returns:
      `Team`s in the order of the file.

    Raises:
      InputError: the file is no such list; the message names the line.
    """
    if file.is_dir() or not file.exists():
        raise InputError(f"{file}: no such file; expected a CSV file with the columns name,submission[,seed]")
    try:
        rows = csv.DictReader(io.StringIO(file.read_bytes().decode("utf-8-sig")), strict=True)
        _check_columns(file, rows.fieldnames or ["nothing"])
        found = [_team(file, rows.line_num, row) for row in rows]
    except UnicodeDecodeError:
        raise InputError(f"{file}: not a text file in UTF-8") from None
    except csv.Error as error:
        raise InputError(f"{file}: {error}; expected lines of the form name,submission,seed") from None
    check_field(found, file)
    return found


def _check_columns(file, names):
    if not {"name", "submission"} <= set(names) <= set(_COLUMNS) or len(set(names)) < len(names):
        columns = printable(",".join(names))
        raise InputError(f"{file}: the first line is {columns!r}; expected name,submission or name,submission,seed")


def check_field(teams, source):
    """Refuses a field of teams that cannot play.

    Raises:
      InputError: fewer than 2 teams, more than a bracket holds, or a name or a seed twice.
    """
    if not 2 <= len(teams) <= bracket.MAX_TEAMS:
        raise InputError(f"{source}: {len(teams)} teams; expected 2 to {bracket.MAX_TEAMS}")
    for attribute, value_of in (("name", _look_of), ("slug", lambda team: team.slug), ("seed", lambda team: team.seed)):
        seen = {}
        for team in teams:
            value = value_of(team)
            if value is not None and value in seen:
                one, other = seen[value], getattr(team, attribute)
                raise InputError(
                    f"{source}: two teams have the {attribute} {one!r}" + (f" ({other!r})" * (one != other))
                )
            seen[value] = getattr(team, attribute)


def _look_of(team):
    """Names that look the same to a reader are the same."""
    return unicodedata.normalize("NFKC", team.name).casefold()


def _team(file, line, row):
    where = f"{file}, line {line}"
    if None in row or None in row.values():
        raise InputError(f"{where}: expected as many fields as the first line has")
    text = (row.get("seed") or "").strip()
    if text and not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 10**6):
        raise InputError(f"{where}: seed {printable(text)!r}; expected a whole number from 1, or nothing")
    try:
        return Team((row.get("name") or "").strip(), (row.get("submission") or "").strip(), int(text) if text else None)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
