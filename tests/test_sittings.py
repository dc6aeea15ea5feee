"""Many matches model by model: the same results as match by match, with each team loaded once or twice."""

import collections
import concurrent.futures
import contextlib
import itertools
import json
import math
import types

import numpy as np
import pytest

from gan import pictures, records, seeds, spec
from gan.arena import match, pool, rounds, rules, sittings, table
from gan.errors import Fault

CONTEST = spec.ContestSpec(4, 5, 1, latent_size=3)
REALS = records.from_arrays(
    np.random.default_rng(0).integers(200, 256, (40, CONTEST.image_size)).astype(np.uint8), CONTEST.image_shape
)
TERMS = rounds.Terms(CONTEST, num_generate=6, num_reals=6, timed=False)


class Team:
    """Models as functions, which count their calls."""

    exempt_from_variety = False

    def __init__(self, number, judges=True):
        self.entry = {"name": f"Team {number}", "slug": f"team-{number}", "snapshot": f"{number:064}"}
        self.has_discriminator = judges
        self.calls = collections.Counter()
        self.loaded = 0
        self._level = 0.1 + number / 200

    def start_part(self):
        self.calls["parts"] += 1

    def generate(self, noise):
        self.calls["generate"] += 1
        return np.abs(noise)[:, np.arange(CONTEST.image_size) % 3] * self._level

    def discriminate(self, images):
        self.calls["discriminate"] += 1
        return np.clip(images.mean(axis=1, keepdims=True) + self._level, 0, 1)


def fixture(number_a, number_b):
    match_id = f"league-{number_a}-{number_b}"
    noise_seed = rules.hand_seed(7, number_a, number_b)
    return match.Fixture("league", match_id, "league", rules.match_seed(7, match_id), 1, None, noise_seed=noise_seed)


def pairings_of(teams):
    numbered = list(enumerate(teams, 1))
    return [
        table.Pairing(f"matches/{i}-{j}", fixture(i, j), {"a": a.entry, "b": b.entry}, {"a": None, "b": None})
        for (j, b) in numbered
        for (i, a) in numbered[: j - 1]
        if a.has_discriminator or b.has_discriminator
    ]


def play(teams, pairings=None):
    """Returns [(pairing, result, sheets)]."""
    by_slug = {team.entry["slug"]: team for team in teams}

    @contextlib.contextmanager
    def playing(entry):
        team = by_slug[entry["slug"]]
        team.loaded += 1
        yield team

    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        judges = {slug for slug, team in by_slug.items() if team.has_discriminator}
        return list(
            sittings.play(
                pairings_of(teams) if pairings is None else pairings,
                REALS,
                TERMS,
                lambda entry: entry["slug"] in judges,
                playing,
                threads,
            )
        )


def field(count, house=0):
    return [*(Team(number) for number in range(count)), *(Team(90 + number, False) for number in range(house))]


def test_the_results_are_those_of_the_matches_one_by_one():
    teams = field(4, house=1)
    by_slug = {team.entry["slug"]: team for team in teams}
    played = play(teams)
    assert len(played) == 6 + 4
    for pairing, result, sheets in played:
        contestants = {
            side: match.Contestant(entry["name"], entry["slug"], by_slug[entry["slug"]], entry["snapshot"])
            for side, entry in pairing.entries.items()
        }
        alone, alone_sheets = match.play(pairing.fixture, contestants, REALS, TERMS)
        assert json.dumps(result) == json.dumps(alone)
        assert sheets == alone_sheets and len(sheets) == len(result["rounds"][0]["directions"])


def test_a_generator_deals_few_hands_and_a_team_is_loaded_twice():
    teams = field(30, house=2)
    play(teams)
    for team in teams[:30]:
        assert team.calls["generate"] in (rules.HANDS - 1, rules.HANDS)
        assert team.calls["discriminate"] == 2 * (29 + 2), "the images of each opponent, and the probe"
        assert team.loaded == 2
    assert [team.loaded for team in teams[30:]] == [1, 1]


def test_all_opponents_of_a_match_number_see_the_same_images():
    """Two matches with the same hand show the same images of G, one with another hand shows others."""
    teams = field(rules.HANDS + 3)
    shown = {}
    for pairing, result, sheets in play(teams):
        (direction,) = (d for d in result["rounds"][0]["directions"] if d["generator"] == "a")
        cells = pictures.cells(pictures.decode(sheets[direction["sheet"]]), CONTEST.image_shape, rounds.COLUMNS, 12)
        made = {row.tobytes() for row, real in zip(cells, direction["truth"], strict=True) if not real}
        shown[pairing.folder] = made
    assert shown["matches/1-2"] == shown[f"matches/1-{2 + rules.HANDS}"]
    assert shown["matches/1-2"].isdisjoint(shown["matches/1-3"])


def test_a_team_shows_no_hand_twice_before_it_has_shown_all():
    for number in (1, 5, 40):
        others = [other for other in range(1, rules.HANDS + 2) if other != number][: rules.HANDS - 1]
        assert len({rules.hand_seed(3, number, other) for other in others}) == rules.HANDS - 1
    assert rules.hand_seed(3, 2, 9) == rules.hand_seed(3, 9, 2) == seeds.derive(3, "hand", 11)
    assert rules.hand_seed(4, 2, 9) != rules.hand_seed(3, 2, 9)


def test_matches_are_over_in_the_same_order_whoever_is_faster():
    teams = field(9)
    assert [pairing.folder for pairing, *_ in play(teams)] == [pairing.folder for pairing in pairings_of(teams)]
    some = pairings_of(teams)[5::7]
    assert sorted(pairing.folder for pairing, *_ in play(teams, some)) == sorted(pairing.folder for pairing in some)
    assert play(teams, []) == []


def test_a_model_that_fails_fails_alone():
    teams = field(4)

    def broken(_):
        raise Fault("generator", "out of paint")

    def unsure(images):
        return np.full((len(images), 1), np.nan)

    teams[1].generate, teams[2].discriminate = broken, unsure
    points = {}
    for pairing, result, _ in play(teams):
        for direction in result["rounds"][0]["directions"]:
            names = [pairing.entries[direction[role]]["name"] for role in ("generator", "discriminator")]
            points[tuple(name.removeprefix("Team ") for name in names)] = direction
    for g, d in itertools.permutations("0123", 2):
        failure = points[g, d]["failure"]
        if g == "1":
            assert failure == {"side": "generator", "reason": "out of paint"} and points[g, d]["points"] == 12
        elif d == "2":
            assert failure["side"] == "discriminator" and points[g, d]["points"] == 0
        else:
            assert failure is None and not math.isnan(points[g, d]["p"][0])


def test_a_player_is_for_one_at_a_time():
    files = types.SimpleNamespace(digest="of both")

    def use(slug):
        with workers.playing(slug, files) as player:
            return player

    with pool.Pool(False, 60, 2) as workers:
        with workers.playing("one", files) as first:
            waiting = workers.threads.submit(use, "one")
            assert use("other") is not first
            with pytest.raises(concurrent.futures.TimeoutError):
                waiting.result(timeout=0.2)
        assert waiting.result() is first


@pytest.mark.parametrize(
    "megabytes, limit, used, workers",
    [
        (16_000, None, 0, 40),
        (16_000, "max", 0, 40),
        (16_000, str(4000 << 20), 2000 << 20, 5),
        (900, None, 0, 4),
        (900_000, None, 0, 200),
    ],
)
def test_half_of_the_free_memory_is_for_workers(megabytes, limit, used, workers, tmp_path, monkeypatch):
    (tmp_path / "meminfo").write_text(
        f"MemTotal: 99999999 kB\nMemAvailable:   {megabytes << 10} kB\nHugePages_Free: 0\n"
    )
    if limit:
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        (tmp_path / "memory.current").write_text(f"{used}\n")
    monkeypatch.setattr(pool, "_MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(pool, "_CONTAINER", tmp_path)
    assert pool.capacity() == workers


def test_a_thread_that_raises_ends_it():
    teams = field(3)

    def gone(_):
        raise OSError("the disk is full")

    teams[0].discriminate = gone
    with pytest.raises(OSError, match="the disk is full"):
        play(teams)
