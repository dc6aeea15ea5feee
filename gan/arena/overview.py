"""`tournament.json`: the overview of a contest, from which its pages are drawn."""

from gan import __version__
from gan.arena import ledger

FORMAT = 1
_TIE_BREAKS = {
    "time": "less running time; closer than its spread: an extra round, then the better seed",
    "extra_round": "an extra round, then the better seed",
    "seed": "the better seed",
}


def contestant(slug, digest):
    """Returns the name under which ratings know who played: every snapshot of a team is one by itself."""
    return f"{slug}@{(digest or '')[:16]}"


def summary(folder, result):
    """Returns what the overview says of one match.

    Args:
      folder: the match's folder, "matches/NAME".
      result: the content of its `match.json`.
    """
    sides = result["teams"]
    played_by = {side: contestant(team["slug"], team["snapshot"]) for side, team in sides.items()}
    return {
        "folder": folder,
        "id": result["id"],
        "stage": result["stage"],
        "a": sides["a"]["slug"],
        "b": sides["b"]["slug"],
        "score": result["score"] and [result["score"]["a"], result["score"]["b"]],
        "out_of": result["out_of"],
        "winner": result["winner"] and sides[result["winner"]]["slug"],
        "decided_by": result["decided_by"],
        "reason": result["reason"],
        "sandboxed": result["sandboxed"],
        "directions": [
            [played_by[d["generator"]], played_by[d["discriminator"]], d["points"], d["out_of"]]
            for played in result["rounds"]
            for d in played["directions"]
            if d["failure"] is None
        ],
    }


def build(organiser):
    """Returns the content of `tournament.json` for an `organiser.Organiser`."""
    seed, nonce = organiser.secrets()
    standing = organiser.standing
    disqualified = organiser.ledger.disqualified()
    return {
        "format": FORMAT,
        "gan_version": __version__,
        "kind": organiser.kind,
        "status": standing.status,
        "updated": ledger.now(),
        "sandbox": organiser.sandboxed and all(match["sandboxed"] for match in standing.played.values()),
        "rules": _rules(organiser),
        "commitment": {"seed_sha256": ledger.commitment(seed, nonce), "data": organiser.data_files},
        "revealed": {"seed": str(seed), "nonce": nonce} if standing.status == "finished" else None,
        "teams": [
            {
                "name": entry["name"],
                "slug": slug,
                "seed": standing.ranks.get(slug, entry.get("seed")),
                "snapshot": entry.get("snapshot") or "",
                "taken": entry.get("taken") or "",
                "forfeit": entry.get("forfeit"),
                "disqualified": disqualified.get(entry["name"]),
                "place": standing.places.get(slug),
                "house": bool(entry.get("house")),
            }
            for slug, entry in organiser.entries.items()
        ],
        "bracket": standing.bracket,
        "matches": list(standing.played.values()),
        "ratings": standing.ratings,
        "decisions": organiser.ledger.decisions(),
        "warnings": organiser.warnings(),
    }


def _rules(organiser):
    terms, options = organiser.terms, organiser.options
    rows = [
        ("images", f"{terms.num_generate} generated and {terms.num_reals} real in each direction, {terms.contest}"),
        ("points", "one for each right verdict of a team's own D; real if and only if p > 0.5"),
    ]
    if organiser.kind == "knockout":
        rows += [("rounds", "one, in the final three"), ("tie", _TIE_BREAKS[options.tie_break])]
    elif organiser.kind == "league":
        rows.append(("pairs", "every G against every D but its own"))
    elif organiser.kind == "mock":
        rows.append(("pairs", "drawn anew for each session; every team plays"))
    rows += [
        ("pixels", "clipped to [0, 1], rounded to 8 bits, written as PNG, generated and real alike"),
        ("disguise", "all images flipped and shifted in one secret way" if terms.disguise else "none"),
        ("time limit", f"{options.time_limit:g} s for one team's part of one round"),
        ("failure", "one retry; then G's failure gives the opponent full points, D's failure none"),
        ("sandbox", "bubblewrap, one worker for each team" if organiser.sandboxed else "OFF"),
    ]
    return [list(row) for row in rows]
