"""Plays many matches model by model: first each G deals its images, then each D judges those of all its opponents.

A team is loaded for its hands and for its sitting, and once where the pool of workers keeps it in between, however many
matches it plays; teams take turns on all cores. So nothing can be timed, and nobody has to win.
"""

import collections

from gan.arena import match, rounds


def play(pairings, reals, terms, has_discriminator, playing, threads):
    """Plays matches in which nobody forfeits.

    Args:
      pairings: `table.Pairing`s.
      reals: the pool of real images, `records.Records`.
      terms: the `rounds.Terms`.
      has_discriminator: whether the team of an entry has a D; called with the entry.
      playing: called with an entry, returns a context manager of that team's player; in several threads.
      threads: an executor.

    Yields:
      (`table.Pairing`, result, sheets) as from `match.play`, each when its last D has judged, in the same order in
      every run.
    """
    plan = _Plan(pairings, reals, terms, has_discriminator)

    def deal(slug):
        with playing(plan.teams[slug]) as player:
            return {seed: rounds.deal(player, terms, seed) for seed in sorted(plan.noise_seeds[slug])}

    def sit(slug):
        with playing(plan.teams[slug]) as player:
            for one, side, other in plan.seats[slug]:
                one.judge(side, player, hands[other])

    latest_first = [slug for slug in reversed(plan.teams) if slug in plan.noise_seeds]  # the pool has kept those
    hands = dict(zip(latest_first, threads.map(deal, latest_first), strict=True))
    sitting = [slug for slug in plan.teams if slug in plan.seats]
    for slug, _ in zip(sitting, threads.map(sit, sitting), strict=True):
        for pairing, one in plan.ends.pop(slug, ()):
            yield pairing, *one.result()


class _Plan:
    """Who deals and who judges what.

    Attributes:
      teams: {slug: entry}, in the order in which they sit.
      noise_seeds: {slug: seeds of the latents of which its G makes images}.
      seats: {slug: [(`match.InParts`, side of its D, slug of the opponent)]}.
      ends: {slug: [(pairing, `match.InParts`)] that are over when its D has judged}.
    """

    def __init__(self, pairings, reals, terms, has_discriminator):
        self.teams = {entry["slug"]: entry for pairing in pairings for entry in pairing.entries.values()}
        self.noise_seeds = collections.defaultdict(set)
        self.seats = collections.defaultdict(list)
        self.ends = collections.defaultdict(list)
        place = {slug: number for number, slug in enumerate(self.teams)}
        for pairing in pairings:
            slugs = {side: entry["slug"] for side, entry in pairing.entries.items()}
            judges = [side for side, entry in pairing.entries.items() if has_discriminator(entry)]
            one = match.InParts(pairing.fixture, _contestants(pairing), reals, terms)
            for side in judges:
                other = slugs["b" if side == "a" else "a"]
                self.seats[slugs[side]].append((one, side, other))
                self.noise_seeds[other].update(one.noise_seeds())
            self.ends[max((slugs[side] for side in judges), key=place.get)].append((pairing, one))


def _contestants(pairing):
    return {
        side: match.Contestant(entry["name"], entry["slug"], None, entry.get("snapshot") or "")
        for side, entry in pairing.entries.items()
    }
