"""All generators against all discriminators, for ratings."""

import contextlib

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
    # In the order in which they can be over when one D judges after the other.
    pairs = [(a, b) for i, b in enumerate(playing) for a in playing[:i]]
    fixtures = [
        _fixture(organiser, (a, number[a]), (b, number[b]))
        for a, b in pairs
        if organiser.has_discriminator(a) or organiser.has_discriminator(b)
    ]
    with contextlib.closing(organiser.play_ahead(fixtures)) as ready:
        for arguments in ready:
            organiser.play(*arguments)
            organiser.publish()
            if decided():
                return


def _fixture(organiser, a, b):
    """Returns what `organiser.play` takes, of two teams (slug, number)."""
    noise_seed = rules.hand_seed(organiser.options.seed, a[1], b[1])
    return f"league-{a[1]}-{b[1]}", "league", a[0], b[0], rules.ROUNDS, None, "a", noise_seed


def advice(organiser):
    """Returns which team to choose, where the teams are exports of one run."""
    rows = (organiser.standing.ratings or {}).get("teams")
    if not rows:
        return "no export can be recommended: no two that may play have met"
    close = [row["name"] for row in rows[1:] if row["group"] == 1]
    text = f"submit {rows[0]['name']}: rated {rows[0]['rating']:.0f}, G and D together"
    return text + (f"; too close to call: {', '.join(close)}" if close else "")
