"""Single elimination."""

from gan.arena import bracket, mock, rules, terminal


def play(organiser, mock_dir):
    """Plays the bracket to its end, or goes on where it stopped.

    Args:
      organiser: an `organiser.Organiser` with its entries.
      mock_dir: folder of mock battles whose ratings seed teams without a seed, or None.
    """
    order, matches = draw(organiser, mock_dir)
    organiser.publish(now=True)
    organiser.play_until_settled(lambda decided: _play_all(organiser, order, matches, decided))
    organiser.finish()


def draw(organiser, mock_dir):
    """Settles the seeding, unless it is settled, and puts the bracket into the standing.

    Returns:
      (slugs, best seed first; matches of the bracket).
    """
    order = organiser.ledger.seeding()
    if order is None:
        order = seeding(organiser, mock_dir)
        organiser.ledger.save_seeding(order)
    matches = bracket.draw(len(order))
    organiser.standing.ranks = {slug: rank for rank, slug in enumerate(order, 1)}
    organiser.standing.bracket = drawn_bracket(order, matches, {}, {})
    return order, matches


def seeding(organiser, mock_dir):
    """Returns the teams' slugs, best seed first, as seeds, mock ratings and the draw have it now."""
    given = {slug: entry["seed"] for slug, entry in organiser.entries.items()}
    ratings = mock.earlier_ratings(mock_dir) if mock_dir else {}
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


def _play_all(organiser, order, matches, decided):
    winners, results = {}, {}
    for match in matches:
        a, b = (order[team] for team in bracket.teams_of(match, winners))
        better = "a" if order.index(a) < order.index(b) else "b"
        result = organiser.play(match.id, match.stage, a, b, match.rounds, organiser.options.tie_break, better)
        results[match.id] = result
        winners[match.id] = order.index(result["winner"])
        standing = organiser.standing
        standing.bracket = drawn_bracket(order, matches, winners, results)
        standing.places = {order[team]: place for team, place in bracket.places(matches, winners).items()}
        organiser.publish()
        if decided():
            return


def report(organiser):
    """Prints bracket and places."""
    names = {slug: entry["name"] for slug, entry in organiser.entries.items()}
    organiser.say(terminal.bracket_text(organiser.standing.bracket, names))
    organiser.say("places:")
    organiser.say(terminal.places_text(organiser.standing.places, names))
