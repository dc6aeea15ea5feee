"""All generators against all discriminators, for ratings."""

import itertools

from gan.arena import rules, standings


def play(organiser):
    """Plays every pair once, both directions, or goes on where it stopped.

    Args:
      organiser: an `organiser.Organiser` with its entries, house opponents among them.
    """
    organiser.publish(now=True)
    organiser.play_until_settled(lambda decided: _play_all(organiser, decided))
    standings.rate(organiser)
    organiser.standing.places = standings.best(organiser)
    organiser.finish()


def _play_all(organiser, decided):
    number = {slug: i for i, slug in enumerate(organiser.entries, 1)}
    playing = [slug for slug in organiser.entries if not organiser.forfeit_of(slug)]
    blocks = [
        [
            (f"league-{number[a]}-{number[b]}", "league", a, b, rules.ROUNDS, None)
            for a, b in block
            if organiser.has_discriminator(a) or organiser.has_discriminator(b)
        ]
        for block in _blocks(playing, organiser.options.workers)
    ]
    organiser.play_elsewhere(blocks)
    for arguments in itertools.chain(*blocks):
        organiser.play(*arguments)
        organiser.publish()
        if decided():
            return


def _blocks(slugs, workers):
    """Yields all pairs, in blocks, so that few of the teams need to be loaded at a time."""
    size = max(1, workers // 2)
    groups = [slugs[start : start + size] for start in range(0, len(slugs), size)]
    for i, group in enumerate(groups):
        yield itertools.combinations(group, 2)
        for other in groups[i + 1 :]:
            yield itertools.product(group, other)


def advice(organiser):
    """Returns which team to choose, where the teams are exports of one run."""
    rows = (organiser.standing.ratings or {}).get("teams")
    if not rows:
        return "no export can be recommended: no two that may play have met"
    close = [row["name"] for row in rows[1:] if row["group"] == 1]
    text = f"submit {rows[0]['name']}: rated {rows[0]['rating']:.0f}, G and D together"
    return text + (f"; too close to call: {', '.join(close)}" if close else "")
