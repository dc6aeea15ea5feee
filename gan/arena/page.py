"""The pages of a contest: a static site drawn from its JSON files and pictures alone.

It needs no server and nothing from outside; it works from a folder on a disk. Templates, style and script are in
`templates`. All that teams chose themselves (names, reasons, file names) is escaped wherever it stands.
"""

import functools
import itertools
import math
import pathlib
import statistics
import urllib.parse

from etils import epy

from gan import spec, storage

with epy.lazy_imports():
    import jinja2

_TEMPLATES = pathlib.Path(__file__).parent / "templates"
_ASSETS = ("style.css", "reveal.js")
_TABLES = (("Teams", "teams"), ("Generators", "generators"), ("Discriminators", "discriminators"))
_TREE_SLOTS = 32  # stages of more teams are lists: a tree of them fits on no screen


def draw(output, drawn=()):
    """Writes every page, and the style and script that all share.

    Args:
      output: `epath.Path` of the folder with `tournament.json`, `matches` and `teams`.
      drawn: folders of matches, as `tournament.json` has them, whose pages are there and as they should be; still, one
        with a new match after it is written, and the last one.

    Raises:
      FileNotFoundError: `tournament.json`, or the `match.json` of a match that it lists, is missing.
    """
    _state_of_team.cache_clear()
    site = _Site(output)
    site.write_assets()
    missing = [number for number, match in enumerate(site.matches) if match["folder"] not in drawn]
    last = {len(site.matches) - 1} if site.matches else set()  # it tells whether another one may follow
    for number in sorted(_with_those_before(missing) | last):
        site.write_match(number)
    for slug in site.teams:
        site.write_team(slug)
    site.write_index()


def draw_matches(output, folders):
    """Writes the pages that change when matches have just been played.

    These are their own pages, those of the matches before (which now have a next one), those of their teams, and the
    index. The pages of teams that have not played yet are `draw`'s.

    Args:
      output: as for `draw`.
      folders: the matches', as `tournament.json` has them: "matches/NAME". Matches that are no longer listed, because
        they are to be played again, have no page.

    Raises:
      FileNotFoundError: as for `draw`.
    """
    site = _Site(output)
    site.write_assets()
    played = [number for number, match in enumerate(site.matches) if match["folder"] in folders]
    for number in sorted(_with_those_before(played)):
        site.write_match(number)
    for slug in {site.matches[number][side] for number in played for side in "ab"} & site.teams.keys():
        site.write_team(slug)
    site.write_index()


def _with_those_before(numbers):
    return {max(number - 1, 0) for number in numbers} | set(numbers)


class _Site:
    """The pages of one contest, as `tournament.json` has it now."""

    def __init__(self, output):
        self._output = output
        self._tournament = storage.read_json(output / "tournament.json")
        self.matches = self._tournament["matches"]
        self.teams = {team["slug"]: team for team in self._tournament["teams"]}
        self._headings = {
            m["folder"]: _heading(m["id"], m["stage"]) for m in self._tournament["bracket"] if m["folder"]
        }

    def write_assets(self):
        for name in _ASSETS:
            storage.write_text(self._output / "assets" / name, (_TEMPLATES / name).read_text())

    def write_index(self):
        newest = self.matches[-1] if self.matches else None
        if self._tournament["kind"] == "league" and not self._running:
            newest = None  # its last match is no final
        match = newest and self._read_match(newest["folder"], newest["folder"] + "/")
        self._write(
            "index.html",
            "",
            match=match,
            newest=newest,
            tree=_tree(self._tournament["bracket"]),
            early_stages=_early_stages(self._tournament["bracket"]),
            ratings=_ratings(self._tournament["ratings"]),
            states={slug: _state_of_team(self._output / "teams" / slug) for slug in self.teams},
            ranked=sorted(self.teams.values(), key=lambda team: team["place"] or math.inf),
            champions=[team for team in self.teams.values() if team["place"] == 1],
            script={"match": match and match["key"], "running": self._running, "plays_itself": self._running},
        )

    def write_match(self, number):
        """Writes the page of the match that was played as number `number`, counted from 0."""
        folder = self.matches[number]["folder"]
        match = self._read_match(folder, "")
        self._write(
            "match.html",
            folder,
            match=match,
            before=self.matches[number - 1]["folder"] if number else None,
            after=self.matches[number + 1]["folder"] if number + 1 < len(self.matches) else None,
            script={"match": match["key"], "running": self._running, "plays_itself": False},
        )

    def write_team(self, slug):
        folder = self._output / "teams" / slug
        self._write(
            "team.html",
            f"teams/{slug}",
            team=self.teams[slug],
            check=_read_if_there(folder / "check.json"),
            has_samples=(folder / "samples.png").exists(),
            memorisation=_read_if_there(folder / "memorisation.json"),
            played=[match for match in self.matches if slug in (match["a"], match["b"])],
            script={"match": None, "running": False, "plays_itself": False},
        )

    @property
    def _running(self):
        return self._tournament["status"] == "running"

    def _read_match(self, folder, base):
        return _match_view(storage.read_json(self._output / folder / "match.json"), folder, base)

    def _write(self, template, folder, **values):
        """Fills in a template; `folder` is where the page goes, "" for the index."""
        text = (
            _environment()
            .get_template(template)
            .render(
                tournament=self._tournament,
                teams=self.teams,
                headings=self._headings,
                root="../../" if folder else "",
                **values,
            )
        )
        storage.write_text(self._output / folder / "index.html", text)


@functools.cache
def _environment():
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "url": urllib.parse.quote,
        "stage": _stage,
        "moment": _moment,
        "ms": lambda seconds: f"{seconds * 1e3:.1f} ms",
        "median": statistics.median,
    }
    return environment


@functools.cache
def _state_of_team(folder):
    """Returns what the index tells of a team's check; kept, so that a match does not cost reading all teams' files."""
    check, memorisation = (_read_if_there(folder / name) for name in ("check.json", "memorisation.json"))
    return {
        "check": check and {"may_battle": check["may_battle"], "warnings": _warnings(check)},
        "flagged": memorisation and memorisation["flagged"],
    }


def _warnings(check):
    return sum(finding["status"] == "WARN" for finding in check["findings"])


def _read_if_there(file):
    return storage.read_json(file) if file.exists() else None


def _match_view(match, folder, base):
    """Returns a match as its template needs it; `base` is the way from the page to the match's files."""
    terms = match["terms"]
    return {
        **match,
        "key": f"{folder} {match['seed']}",
        "heading": _heading(match["id"], match["stage"]),
        "folder": folder,
        "sides": {side: _side(match, side) for side in "ab"},
        "ratio": f"{terms['contest']['width']} / {terms['contest']['height']}",
        "rounds": [
            {**played, "directions": [_direction(direction, terms, base) for direction in played["directions"]]}
            for played in match["rounds"]
        ],
        "extra": {
            side: sum(d["points"] for d in played["directions"] if d["discriminator"] == side)
            for played in match["rounds"]
            if played["extra"]
            for side in "ab"
        },
        "certainty": _certainty(match),
    }


def _side(match, side):
    regular = [d for played in match["rounds"] if not played["extra"] for d in played["directions"]]
    return {
        **match["teams"][side],
        "points": match["score"] and match["score"][side],
        "out_of": sum(d["out_of"] for d in regular if d["discriminator"] == side),
        **match["timing"][side],
    }


def _direction(direction, terms, base):
    """Adds `tiles`: an image's place on the sheet in per cent, what it is, and what D made of it."""
    columns = terms["columns"]
    rows = -(-direction["out_of"] // columns)
    tiles = []
    for index in range(direction["out_of"] if direction["sheet"] else 0):
        row, column = divmod(index, columns)
        p = direction["p"][index] if direction["p"] else None
        real = bool(direction["truth"][index]) if direction["truth"] else None
        tiles.append(
            {
                "number": index + 1,
                "x": _per_cent(column, columns - 1),
                "y": _per_cent(row, rows - 1),
                "real": real,
                "p": p,
                "says_real": None if p is None else spec.is_real(p),
                "right": None if p is None else spec.is_real(p) == bool(real),
            }
        )
    sheet = direction["sheet"] and base + direction["sheet"]
    return {**direction, "sheet": sheet, "tiles": tiles, "columns": columns, "rows": rows}


def _per_cent(part, whole):
    return round(100 * part / whole, 4) if whole else 0


def _certainty(match):
    """Says in words how often chance alone would give a result like this; None where two Ds were not compared."""
    chance = match["chance_if_equal"]
    if chance is None or not all(_side(match, side)["out_of"] for side in "ab"):
        return None
    if chance < 0.001:
        often = "fewer than 0.1 %"
    else:
        often = f"{100 * chance:.0f} %" if chance >= 0.0995 else f"{100 * chance:.1f} %"
    return f"Two equally good discriminators would end at least this far apart in {often} of matches."


def _heading(match_id, stage):
    """Turns "round-of-16-3" into "Round of 16, match 3" and "semi-final-2" into "Semi-final 2"."""
    number = match_id.removeprefix(f"{stage}-")
    link = ", match " if stage[-1:].isdigit() else " "
    return _stage(stage) + (link + number if number.isdigit() else "")


def _stage(stage):
    text = stage.replace("round-of-", "round of ")
    return text[:1].upper() + text[1:]


def _moment(text):
    """An ISO time to the minute; the time zone is named where it is UTC."""
    return text[:16].replace("T", " ") + (" UTC" if text.endswith(("Z", "+00:00")) else "")


def _tree(bracket):
    """Places the late stages in rows and columns, each match beside those that feed it.

    Returns:
      {"stages": [name of each column], "rows": their number, "cells": [{"match", "heading", "column", "row", "span",
      "out": how its line leaves, "fed": whether a line arrives}]}.
    """
    drawn = {match["id"]: match for match in bracket if match["slots"] <= _TREE_SLOTS}
    slots = sorted({match["slots"] for match in drawn.values()}, reverse=True)
    cells = []

    def place(match, row, out):
        feeders = [drawn[match[side]["from"]] for side in "ab" if match[side]["from"] in drawn]
        ways = ("down", "up") if len(feeders) == 2 else ("straight",)
        height = 0
        for feeder, way in zip(feeders, ways, strict=False):
            height += place(feeder, row + height, way)
        height = max(height, 1)
        column = slots.index(match["slots"]) + 1
        cells.append({"match": match, "column": column, "row": row, "span": height, "out": out, "fed": bool(feeders)})
        return height

    rows = 0
    feeding = {match[side]["from"] for match in drawn.values() for side in "ab"}
    for match_id in drawn.keys() - feeding:
        rows += place(drawn[match_id], rows + 1, "none")
    stages = [next(match["stage"] for match in drawn.values() if match["slots"] == count) for count in slots]
    titles = {match["id"]: _heading(match["id"], match["stage"]) for match in bracket}
    return {"stages": stages, "rows": rows, "cells": cells, "titles": titles}


def _early_stages(bracket):
    early = [match for match in bracket if match["slots"] > _TREE_SLOTS]
    return [(stage, list(matches)) for stage, matches in itertools.groupby(early, lambda match: match["stage"])]


def _ratings(ratings):
    """Adds to each table its groups with their ranks, and to each row where its interval is to be drawn."""
    if ratings is None:
        return None
    tables = [(title, _table(ratings[key])) for title, key in _TABLES if ratings[key]]
    return {"unit": ratings["unit"], "matrix": ratings["matrix"], "tables": tables}


def _table(rows):
    low = min(row["low"] for row in rows)
    span = max(row["high"] for row in rows) - low
    groups, first = [], 1
    for _, members in itertools.groupby(rows, lambda row: row["group"]):
        group = [{**row, **_bar(row, low, span)} for row in members]
        groups.append({"first": first, "last": first + len(group) - 1, "rows": group})
        first += len(group)
    return groups


def _bar(row, low, span):
    """Returns where a row's interval begins, where its rating stands and how wide it is, in per cent of the scale."""
    return {
        "begins": _per_cent(row["low"] - low, span),
        "at": _per_cent(row["rating"] - low, span),
        "width": _per_cent(row["high"] - row["low"], span),
    }
