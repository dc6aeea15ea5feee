"""Single elimination."""

from gan.arena import bracket, rules, terminal


def play(organiser, ratings):
    """Plays the bracket to its end, or goes on where it stopped.

    Args:
      organiser: an `organiser.Organiser` with its entries.
      ratings: {slug: rating} of mock battles, for teams without a seed.
    """
    order = seeding(organiser, ratings)
    matches = bracket.draw(len(order))
    while not _pass(organiser, order, matches):
        organiser.say("the referee has decided; going through the bracket again")
    organiser.status = "finished"
    organiser.publish(now=True)


def seeding(organiser, ratings):
    """Returns the teams' slugs, best seed first."""
    given = {slug: entry["seed"] for slug, entry in organiser.entries.items()}
    return rules.order_by_seed(given, ratings, organiser.options.seed)


def drawn_bracket(order, matches, winners, results):
    """Returns the bracket as plain data.

    Args:
      order: slugs, best seed first.
      matches: from `bracket.draw`.
      winners: {match id: number of the team that won it}.
      results: {match id: its summary}.
    """
    rows = []
    for match in matches:
        teams = bracket.teams_of(match, winners)
        result = results.get(match.id)
        sides = {
            side: {"team": None if team is None else order[team], "from": source if isinstance(source, str) else None}
            for side, team, source in zip("ab", teams, (match.a, match.b), strict=True)
        }
        keys = ("winner", "score", "folder", "decided_by", "reason")
        rows.append(
            {"id": match.id, "stage": match.stage, "slots": match.slots, **sides}
            | {key: result and result[key] for key in keys}
        )
    return rows


def _show(organiser, order, matches, winners, results):
    """Puts the bracket as it stands into the overview, and publishes it."""
    organiser.extras |= {
        "bracket": drawn_bracket(order, matches, winners, results),
        "places": {order[team]: place for team, place in bracket.places(matches, winners).items()},
        "ranks": {slug: rank for rank, slug in enumerate(order, 1)},
    }
    organiser.publish()


def _pass(organiser, order, matches):
    """Goes through the bracket once; returns False as soon as the referee has changed what was settled before."""
    decisions = organiser.ledger.decisions()
    winners, results = {}, {}
    organiser.played = {}
    organiser.publish(now=True)
    _show(organiser, order, matches, winners, results)
    for match in matches:
        if organiser.ledger.decisions() != decisions:
            return False
        a, b = (order[team] for team in bracket.teams_of(match, winners))
        better = "a" if order.index(a) < order.index(b) else "b"
        result = organiser.play(match.id, match.stage, a, b, match.rounds, organiser.options.tie_break, better)
        results[match.id] = result
        winners[match.id] = order.index(result["winner"])
        _show(organiser, order, matches, winners, results)
    return organiser.ledger.decisions() == decisions


def report(organiser):
    """Prints bracket and places."""
    names = {slug: entry["name"] for slug, entry in organiser.entries.items()}
    organiser.say(terminal.bracket_text(organiser.extras["bracket"], names))
    organiser.say("places:")
    organiser.say(terminal.places_text(organiser.extras["places"], names))
