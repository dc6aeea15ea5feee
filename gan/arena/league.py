"""All generators against all discriminators, for ratings."""

import itertools

from gan import pictures, storage
from gan.arena import ratings, terminal

_ROUNDS = 1


def play(organiser):
    """Plays every pair once, both directions, or goes on where it stopped.

    Args:
      organiser: an `organiser.Organiser` with its entries, house opponents among them.
    """
    organiser.played = {}
    organiser.publish(now=True)
    number = {slug: i for i, slug in enumerate(organiser.entries, 1)}
    playing = [slug for slug in organiser.entries if not organiser.forfeit_of(slug)]
    for a, b in _pairs(playing, organiser.options.workers):
        if organiser.has_discriminator(a) or organiser.has_discriminator(b):
            organiser.play(f"league-{number[a]}-{number[b]}", "league", a, b, _ROUNDS, None)
            organiser.publish()
    rate(organiser)
    organiser.status = "finished"
    teams = organiser.extras["ratings"]["teams"] if organiser.extras.get("ratings") else []
    own = [row for row in teams if not row["house"]]
    organiser.extras["places"] = {row["slug"]: 1 for row in own if row["group"] == own[0]["group"]}
    organiser.publish(now=True)


def _pairs(slugs, workers):
    """Yields all pairs, in blocks, so that few of the teams need to be loaded at a time."""
    size = max(1, workers // 2)
    blocks = [slugs[start : start + size] for start in range(0, len(slugs), size)]
    for i, block in enumerate(blocks):
        yield from itertools.combinations(block, 2)
        for other in blocks[i + 1 :]:
            yield from itertools.product(block, other)


def rate(organiser):
    """Puts ratings and the matrix of what was played into the overview."""
    scores = [ratings.Score(*direction) for summary in organiser.played.values() for direction in summary["directions"]]
    if not scores:
        return
    entries = organiser.entries
    fitted = ratings.Ratings(scores, [slug for slug, entry in entries.items() if entry.get("house")])
    tables = {
        "teams": fitted.of_teams(),
        "generators": fitted.of_generators(),
        "discriminators": fitted.of_discriminators(),
    }
    names = {slug: entry["name"] for slug, entry in entries.items()}
    figure = ratings.matrix_figure(
        scores, *([row.name for row in tables[key]] for key in ("generators", "discriminators")), names
    )
    storage.write_bytes(organiser.ledger.output / "matrix.png", pictures.chart_png(figure))
    organiser.extras["ratings"] = {
        "unit": ratings.UNIT,
        "matrix": "matrix.png",
        **{
            key: [
                {
                    "name": names[row.name],
                    "slug": row.name,
                    "rating": row.rating,
                    "low": row.low,
                    "high": row.high,
                    "group": row.group,
                    "house": bool(entries[row.name].get("house")),
                }
                for row in rows
            ]
            for key, rows in tables.items()
        },
    }


def report(organiser):
    """Prints the tables."""
    tables = organiser.extras["ratings"]
    if not tables:
        organiser.say("nothing was played: no two teams have a submission that passes the check")
        return
    for key, title in (
        ("teams", "teams (G and D together)"),
        ("generators", "generators"),
        ("discriminators", "discriminators"),
    ):
        organiser.say(terminal.ratings_text(title, tables[key]))


def advice(organiser):
    """Returns which team to choose, where the teams are exports of one run."""
    rows = organiser.extras["ratings"]["teams"] if organiser.extras.get("ratings") else []
    if not rows:
        return "no export can be recommended: nothing was played"
    close = [row["name"] for row in rows[1:] if row["group"] == 1]
    text = f"submit {rows[0]['name']}: rated {rows[0]['rating']:.0f}, G and D together"
    return text + (f"; too close to call: {', '.join(close)}" if close else "")
