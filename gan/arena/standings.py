"""Rating tables of what was played, for the overview and the terminal."""

from gan import pictures, storage
from gan.arena import overview, ratings, terminal

MATRIX = "matrix.png"
_TITLES = {"teams": "teams (G and D together)", "generators": "generators", "discriminators": "discriminators"}


def rate(organiser):
    """Puts ratings into the standing of an `organiser.Organiser` and draws the matrix.

    Every snapshot of a team is rated by itself, from all matches that it played; the newest one counts and is shown.
    """
    scores = [ratings.Score(*row) for match in organiser.standing.played.values() for row in match["directions"]]
    if not scores:
        return
    current = {overview.contestant(slug, entry.get("snapshot")): slug for slug, entry in organiser.entries.items()}
    house = [name for name, slug in current.items() if organiser.entries[slug].get("house")]
    fitted = ratings.Ratings(scores, house, current)
    found = {
        "teams": fitted.of_teams(),
        "generators": fitted.of_generators(),
        "discriminators": fitted.of_discriminators(),
    }
    titles = {name: organiser.entries[slug]["name"] for name, slug in current.items()}
    rows, columns = ([row.name for row in found[key]] for key in ("generators", "discriminators"))
    if rows and columns:
        figure = ratings.matrix_figure(scores, rows, columns, titles)
        storage.write_bytes(organiser.ledger.output / MATRIX, pictures.chart_png(figure))
    organiser.standing.ratings = {
        "unit": ratings.UNIT,
        "matrix": MATRIX if rows and columns else None,
        **{key: [_as_data(row, current[row.name], organiser.entries) for row in table] for key, table in found.items()},
    }


def _as_data(row, slug, entries):
    return {
        "name": entries[slug]["name"],
        "slug": slug,
        "rating": row.rating,
        "low": row.low,
        "high": row.high,
        "group": row.group,
        "house": bool(entries[slug].get("house")),
    }


def best(organiser):
    """Returns {slug: 1} of the teams that are first, or too close to it to call."""
    own = [row for row in (organiser.standing.ratings or {}).get("teams", []) if not row["house"]]
    return {row["slug"]: 1 for row in own if row["group"] == own[0]["group"]}


def report(organiser, tables=tuple(_TITLES)):
    """Prints the tables."""
    if not organiser.standing.ratings:
        organiser.say("no ratings: no two teams that may play have met")
        return
    for key in tables:
        organiser.say(terminal.ratings_text(_TITLES[key], organiser.standing.ratings[key]))
