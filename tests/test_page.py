"""The pages of a contest, from JSON and pictures to HTML, and in a browser where there is one."""

import hashlib
import html.parser
import io
import json
import re
import shutil
import subprocess
import urllib.parse
import zlib

import numpy as np
import pytest
from PIL import Image

from gan import storage
from gan.arena import bracket, page

EVIL = "<script>alert(1)</script>"
EVIL_ATTRIBUTE = "\"><img src=x onerror=alert(1)> ' </script>"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
in_browser = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="there is no Chromium on this machine")]


def png(width, height, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


class Contest:
    """Writes what an organiser would write: a `tournament.json`, and a folder for each match and each team."""

    def __init__(self, output, names, **values):
        self.output = output
        self.names = names
        self.tournament = {
            "format": 1,
            "gan_version": "1.0.0",
            "kind": "knockout",
            "status": "running",
            "updated": "2026-11-21T10:00:00+00:00",
            "sandbox": True,
            "rules": [["images per direction", "15 generated + 15 real"], ["tie break", "time"]],
            "commitment": {"seed_sha256": "ab" * 32, "data": [{"file": "validation.tfrecords", "sha256": "cd" * 32}]},
            "revealed": None,
            "warnings": [],
            "teams": [self.team(number, name) for number, name in enumerate(names)],
            "bracket": [],
            "matches": [],
            "ratings": None,
            "decisions": [],
            **values,
        }

    def team(self, number, name):
        return {
            "name": name,
            "slug": self.slug(number),
            "seed": number + 1,
            "snapshot": hashlib.sha256(name.encode()).hexdigest(),
            "taken": "2026-11-20T18:00:00+00:00",
            "forfeit": None,
            "disqualified": None,
            "place": None,
            "house": False,
        }

    def slug(self, number):
        return f"team-{number}"

    def play(self, a, b, name, stage="league", rounds=1, **values):
        """Adds a match between two teams, given by number, with random verdicts; returns its `match.json`."""
        match = {**self.match(a, b, name, stage, rounds), **values}
        self.write_match(match, name)
        return match

    def write_match(self, match, name):
        folder = f"matches/{name}"
        storage.write_json(self.output / folder / "match.json", match)
        for played in match["rounds"]:
            for direction in filter(lambda direction: direction["sheet"], played["directions"]):
                storage.write_bytes(self.output / folder / direction["sheet"], png(80, 24))
        slugs = {side: match["teams"][side]["slug"] for side in "ab"}
        self.tournament["matches"].append(
            {
                "folder": folder,
                "id": match["id"],
                "stage": match["stage"],
                **slugs,
                "score": match["score"] and list(match["score"].values()),
                "out_of": match["out_of"],
                "winner": slugs.get(match["winner"]),
                "decided_by": match["decided_by"],
                "reason": match["reason"],
            }
        )
        self.save()

    def save(self):
        storage.write_json(self.output / "tournament.json", self.tournament)

    def match(self, a, b, name, stage, rounds):
        played = [
            {
                "number": number,
                "extra": False,
                "reals": list(range(15)),
                "directions": [
                    direction(number, *pair, seed=zlib.crc32(f"{name}{number}{pair}".encode())) for pair in ("ab", "ba")
                ],
            }
            for number in range(1, rounds + 1)
        ]
        score = {s: sum(d["points"] for r in played for d in r["directions"] if d["discriminator"] == s) for s in "ab"}
        if score["a"] == score["b"]:
            winner, decided_by, reason = "a", "running time", "tie; less running time, 1.0 ms against 2.0 ms"
        else:
            winner, decided_by = max(score, key=score.get), "score"
            reason = f"{max(score.values())} to {min(score.values())} points"
        terms = {"contest": {"height": 8, "width": 8, "channels": 1, "latent_size": 100}, "num_generate": 15}
        return {
            **{"format": 1, "gan_version": "1.0.0", "kind": self.tournament["kind"], "id": name, "stage": stage},
            **{"attempt": 1, "seed": 1771189073177287904, "tie_break": "time", "better_seed": "a"},
            "number_of_rounds": rounds,
            "terms": {**terms, "num_reals": 15, "disguise": False, "timed": True, "columns": 10},
            "data": {"fingerprint": "ef" * 32, "images": 689},
            "teams": {
                side: {"name": self.names[n], "slug": self.slug(n), "snapshot": "12" * 32, "forfeit": None}
                for side, n in zip("ab", (a, b), strict=True)
            },
            "rounds": played,
            "score": score,
            "out_of": 30 * rounds,
            "chance_if_equal": 0.3456,
            **{"winner": winner, "decided_by": decided_by, "reason": reason},
            "timing": {side: timing(rounds) for side in "ab"},
        }

    def forfeit(self, a, b, name, stage, reason):
        """Adds a match that team `b` forfeits."""
        match = self.match(a, b, name, stage, 0)
        match["teams"]["b"]["forfeit"] = reason
        match |= {"score": None, "out_of": 0, "chance_if_equal": None, "winner": "a", "decided_by": "forfeit"}
        match |= {"reason": f"the other forfeits: {reason}", "timing": {side: timing(0) for side in "ab"}}
        self.write_match(match, name)

    def knockout(self, count=None):
        """Draws the bracket and plays its first `count` matches, or all."""
        drawn = bracket.draw(len(self.names))
        self.tournament["bracket"] = [
            {
                **{
                    "id": match.id,
                    "stage": match.stage,
                    "slots": match.slots,
                    "a": entry(match.a),
                    "b": entry(match.b),
                },
                **dict.fromkeys(("winner", "score", "folder", "decided_by", "reason")),
            }
            for match in drawn
        ]
        for match in self.tournament["bracket"]:
            for side in "ab":
                if isinstance(match[side]["team"], int):
                    match[side]["team"] = self.slug(match[side]["team"])
        for match in self.tournament["bracket"][:count]:
            self.play_next(match)
        self.save()
        return self

    def play_next(self, match):
        a, b = (int(match[side]["team"].removeprefix("team-")) for side in "ab")
        self.play(a, b, match["id"], match["stage"], 3 if match["slots"] == 2 else 1)
        self.advance(match)

    def advance(self, match):
        """Copies the result of the match just played into the bracket."""
        result = self.tournament["matches"][-1]
        match |= {key: result[key] for key in ("winner", "score", "folder", "decided_by", "reason")}
        for later in self.tournament["bracket"]:
            for side in "ab":
                if later[side]["from"] == match["id"]:
                    later[side]["team"] = result["winner"]
        self.save()

    def finish(self):
        self.tournament["status"] = "finished"
        self.tournament["revealed"] = {"seed": "123", "nonce": "beef"}
        for team in self.tournament["teams"]:
            team["place"] = 1 if team["slug"] == self.tournament["matches"][-1]["winner"] else None
        self.save()

    def check(self, number, **values):
        """Writes what is known of a team's submission."""
        folder = self.output / "teams" / self.slug(number)
        check = {
            "name": self.names[number],
            "slug": self.slug(number),
            "snapshot": "12" * 32,
            "may_battle": True,
            "findings": [
                {"rule": "G: range", "status": "PASS", "message": "all outputs lie in [0, 1]"},
                {"rule": "G: variety", "status": "WARN", "message": "4 of 64 images look the same"},
                {"rule": "D: repeats", "status": "SKIP", "message": "no D"},
            ],
            "files": {"model.ckpt-9.index": "ab" * 32, "model.ckpt-9.data-00000-of-00001": "cd" * 32},
            "source": ["source/train.py", "source/models.py"],
            **values,
        }
        storage.write_json(folder / "check.json", check)
        storage.write_bytes(folder / "samples.png", png(64, 64))
        storage.write_bytes(folder / "memorisation.png", png(64, 32))
        memorisation = {"flagged": False, "close": 1, "of": 64, "threshold": 0.31, "p_value": 0.4}
        sentence = "1 of 64 generated images lies closer to a training image than real ones do."
        storage.write_json(
            folder / "memorisation.json", {**memorisation, "sentence": sentence, "sheet": "memorisation.png"}
        )


def entry(source):
    """One side of a bracket entry: a team's number, or the id of a match."""
    return {"team": None, "from": source} if isinstance(source, str) else {"team": source, "from": None}


def direction(number, generator, discriminator, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.permutation([0] * 15 + [1] * 15).tolist()
    p = np.round(np.clip(0.5 + (np.array(truth) - 0.5) * 0.3 + rng.normal(0, 0.25, 30), 0, 1), 4).tolist()
    right = [(belief > 0.5) == real for belief, real in zip(p, truth, strict=True)]
    return {
        **{"generator": generator, "discriminator": discriminator, "points": sum(right), "out_of": 30},
        "right_on_generated": sum(r for r, t in zip(right, truth, strict=True) if not t),
        "right_on_real": sum(r for r, t in zip(right, truth, strict=True) if t),
        "failure": None,
        "sheet": f"round_{number}_{generator}_to_{discriminator}.png",
        "truth": truth,
        "p": p,
    }


def timing(rounds):
    calls = [
        {"round": number, "role": role, "seconds": [0.001, 0.0012, 0.0011, 0.001, 0.0013]}
        for number in range(1, rounds + 1)
        for role in ("generator", "discriminator")
    ]
    return {"seconds": 0.0022 * rounds if rounds else None, "spread": 0.0003, "calls": calls}


def ratings(names):
    rows = [
        {
            **{"name": name, "slug": f"team-{n}", "rating": 1600.0 - 60 * n, "low": 1540.0 - 60 * n},
            **{"high": 1660.0 - 60 * n, "group": max(1, n - 1), "house": False},
        }
        for n, name in enumerate(names)
    ]
    unit = "Elo points: 400 more means odds of 10 to 1"
    return {"unit": unit, "teams": rows, "generators": rows, "discriminators": rows, "matrix": "matrix.png"}


@pytest.fixture
def contest(tmp_path):
    def make(names, **values):
        return Contest(storage.path(tmp_path / "site"), names, **values)

    return make


class Page(html.parser.HTMLParser):
    """The tags, [(name, {attribute: value})], and the visible text of a file or of what a browser made of it."""

    def __init__(self, source):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(source if isinstance(source, str) else source.read_text())
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] != "script":
            self.words.append(data)

    def all(self, css_class):
        return [a for _, a in self.tags if css_class in (a.get("class") or "").split()]

    def addresses(self):
        for _, attributes in self.tags:
            yield from (attributes[key] for key in ("href", "src") if key in attributes)
            yield from re.findall(r"url\((.*?)\)", attributes.get("style") or "")


def pages(output):
    return [file for file in storage.files_below(output) if file.name == "index.html"]


def check_addresses(output):
    """Every link leads to a file of the site, and nothing comes from outside."""
    for file in pages(output):
        for address in Page(file).addresses():
            assert not re.match(r"[a-z]+:|//", address), address
            target = file.parent / urllib.parse.unquote(address.partition("?")[0])
            assert target.exists(), f"{file}: {address}"
    for name in ("style.css", "reveal.js"):
        assert not re.search(r"https?:|@import|url\(", (output / "assets" / name).read_text())


@pytest.mark.parametrize("count", [2, 3, 6, 17, 32])
def test_knockout_has_a_page_for_each_match_and_team(contest, count):
    made = contest([f"Team {n}" for n in range(count)]).knockout()
    made.finish()
    page.draw(made.output)
    assert len(pages(made.output)) == 1 + (count - 1) + count
    check_addresses(made.output)
    index = Page(made.output / "index.html")
    assert len(index.all("node")) == count - 1
    champion = next(team["name"] for team in made.tournament["teams"] if team["place"] == 1)
    assert f"Champion {champion}" in index.text
    teams = [a["href"] for tag, a in index.tags if tag == "a" and a["href"].startswith("teams/")]
    assert teams[-count] == f"teams/team-{champion.removeprefix('Team ')}/index.html"  # the best place comes first


def test_tree_puts_each_match_beside_those_that_feed_it(contest):
    made = contest([f"Team {n}" for n in range(17)]).knockout(0)
    tree = page._tree(made.tournament["bracket"])
    cells = {cell["match"]["id"]: cell for cell in tree["cells"]}
    assert tree["stages"] == ["play-in", "round-of-16", "quarter-final", "semi-final", "final"]
    assert tree["rows"] == 8
    taken = set()
    for cell in cells.values():
        rows = range(cell["row"], cell["row"] + cell["span"])
        assert not taken & {(cell["column"], row) for row in rows}
        taken |= {(cell["column"], row) for row in rows}
        for side, way in (("a", "down"), ("b", "up")):
            feeder = cells.get(cell["match"][side]["from"])
            if feeder:
                assert feeder["column"] == cell["column"] - 1
                assert set(range(feeder["row"], feeder["row"] + feeder["span"])) <= set(rows)
                assert feeder["out"] in (way, "straight")


def test_a_thousand_teams_read_one_match_for_the_index(contest, monkeypatch):
    made = contest([f"Team {n}" for n in range(1024)])
    made.knockout(0)
    first, second = made.tournament["bracket"][:2]
    made.play_next(first)
    page.draw(made.output)
    made.play_next(second)
    read = []
    monkeypatch.setattr(storage, "read_json", lambda file: read.append(str(file)) or json.loads(file.read_text()))
    page.draw_matches(made.output, [second["folder"]])
    matches = sorted(file.split("matches/")[1] for file in read if "matches/" in file)
    assert matches == [f"round-of-1024-{n}/match.json" for n in (1, 2, 2)]
    index = Page(made.output / "index.html")
    assert len(index.all("node")) == 31
    assert len(index.all("box")) == 1023
    assert "Round of 1024: 512 matches, 2 played" in index.text


def test_draw_matches_writes_what_draw_would(contest):
    made = contest([f"Team {n}" for n in range(4)]).knockout(1)
    page.draw(made.output)
    made.play_next(made.tournament["bracket"][1])
    page.draw_matches(made.output, ["matches/semi-final-2"])
    written = {file: file.read_text() for file in pages(made.output)}
    page.draw(made.output)
    assert written == {file: file.read_text() for file in pages(made.output)}
    first = Page(made.output / "matches" / "semi-final-1" / "index.html")
    assert [a["href"] for _, a in first.tags if a.get("rel") == "next"] == ["../../matches/semi-final-2/index.html"]


def test_draw_leaves_what_is_as_it_should_be(contest):
    made = contest([f"Team {n}" for n in range(6)]).knockout(4)
    page.draw(made.output)
    folders = [match["folder"] for match in made.tournament["matches"]]
    written = {folder: made.output / folder / "index.html" for folder in folders}
    for file in written.values():
        file.write_text("as it was")
    page.draw(made.output, {folders[0], folders[1], folders[3]})
    kept = [folder for folder, file in written.items() if file.read_text() == "as it was"]
    assert kept == [folders[0]], "the third is missing, the second has a new one after it, the fourth is the last"


def test_draw_matches_of_a_match_that_is_to_be_played_again(contest):
    made = contest(["A", "B"]).knockout(0)
    page.draw_matches(made.output, ["matches/final"])
    assert "No match has been played yet." in Page(made.output / "index.html").text
    assert not (made.output / "matches").exists()


def test_remote_folder():
    made = Contest(storage.path("ram://page-test/site"), ["A", "B"]).knockout()
    page.draw(made.output)
    page.draw_matches(made.output, ["matches/final"])
    assert "Final" in Page(made.output / "index.html").text


def test_nothing_played_yet(contest):
    made = contest(["A", "B", "C"], status="frozen").knockout(0)
    page.draw(made.output)
    index = Page(made.output / "index.html")
    assert "No match has been played yet." in index.text
    assert "Winner of Play-in 1" in index.text
    assert not any(tag == "meta" and "http-equiv" in a for tag, a in index.tags)


@pytest.mark.parametrize("evil", [EVIL, EVIL_ATTRIBUTE])
def test_submitted_text_is_escaped_everywhere(contest, evil):
    made = contest([evil, f"2 {evil}", "C", "D"], warnings=[evil], rules=[[evil, evil]])
    made.tournament["decisions"] = [
        {"time": "2026-11-21T09:00:00+00:00", "action": "disqualify", "subject": evil, "reason": evil}
    ]
    made.tournament["teams"][0] |= {"forfeit": evil, "disqualified": evil}
    made.tournament["ratings"] = ratings(made.names) | {"unit": evil}
    storage.write_bytes(made.output / "matrix.png", png(40, 40))
    made.knockout(2)
    final = made.tournament["bracket"][2]
    made.forfeit(0, 1, "final", "final", evil)
    made.advance(final)
    failed = direction(1, "a", "b") | {"failure": {"side": "generator", "reason": evil}, "sheet": None, "p": []}
    match = made.match(0, 1, "extra", "battle", 1)
    match["rounds"][0]["directions"][0] = failed | {"truth": [], "points": 30}
    made.write_match(match, "extra")
    finding = {"rule": evil, "status": "FAIL", "message": evil}
    made.check(0, findings=[finding], files={evil: "ab"}, source=[evil])
    page.draw(made.output)
    for file in pages(made.output):
        parsed = Page(file)
        assert not [a for tag, a in parsed.tags if tag == "img" and a["src"] == "x"]
        assert not [key for _, a in parsed.tags for key in a if key.startswith("on")]
        scripts = [a for tag, a in parsed.tags if tag == "script"]
        assert scripts == [
            {"src": "../../assets/reveal.js" if file.parent != made.output else "assets/reveal.js"},
            {"type": "application/json", "id": "page"},
        ]
    assert evil in Page(made.output / "index.html").text


def test_page_data_for_the_script_cannot_end_its_tag():
    text = page._environment().from_string("{{ value | tojson }}").render(value="</script><!--")
    assert "<" not in text
    assert json.loads(text) == "</script><!--"


def test_match_page_shows_each_image_with_verdict_and_truth(contest):
    made = contest(["A", "B"]).knockout()
    page.draw(made.output)
    match = storage.read_json(made.output / "matches" / "final" / "match.json")
    parsed = Page(made.output / "matches" / "final" / "index.html")
    directions = [d for played in match["rounds"] for d in played["directions"]]
    assert len(parsed.all("tile")) == 180
    assert "Id of this match final" in parsed.text
    assert len(parsed.all("right")) == sum(match["score"].values()) == sum(d["points"] for d in directions)
    labels = [a["aria-label"] for a in parsed.all("picture") if "aria-label" in a]
    p, truth = directions[0]["p"][0], directions[0]["truth"][0]
    says, real, right = p > 0.5, bool(truth), (p > 0.5) == truth
    words = {True: "real", False: "generated"}
    assert labels[0] == f"Image 1, {words[real]}; D says {words[says]}, {'right' if right else 'wrong'}"
    assert parsed.text.count("✓") == len(parsed.all("right"))
    styles = [a["style"] for a in parsed.all("picture") if "aria-label" in a]
    assert "url(round_1_a_to_b.png) 0.0% 0.0% / 1000% 300%" in styles[0]
    assert "url(round_1_a_to_b.png) 100.0% 100.0% / 1000% 300%" in styles[29]
    assert "url(round_1_a_to_b.png) 11.1111% 50.0% / 1000% 300%" in styles[11]
    assert "at least this far apart in 35 % of matches" in parsed.text
    assert "6.6 ms; repeated measurements lie 0.3 ms apart" in parsed.text
    assert "1771189073177287904" in parsed.text


@pytest.mark.parametrize(
    "chance, words",
    [
        (1.0, "100 %"),
        (0.3456, "35 %"),
        (0.0995, "10 %"),
        (0.0456, "4.6 %"),
        (0.001, "0.1 %"),
        (1e-13, "fewer than 0.1 %"),
    ],
)
def test_how_sure_in_words(contest, chance, words):
    match = contest(["A", "B"]).match(0, 1, "x", "battle", 1) | {"chance_if_equal": chance}
    assert f" in {words} of matches." in page._certainty(match)


def test_a_failed_model_and_a_forfeit_say_why(contest):
    made = contest(["A", "B", "C", "D"]).knockout(0)
    match = made.match(0, 3, "semi-final-1", "semi-final", 1)
    one, two = match["rounds"][0]["directions"]
    one |= {"failure": {"side": "generator", "reason": "values outside [0, 1]"}, "sheet": None, "truth": [], "p": []}
    two |= {"failure": {"side": "discriminator", "reason": "took too long"}, "p": [], "points": 0}
    one["points"] = 30
    made.write_match(match | {"score": {"a": 0, "b": 30}, "winner": "b"}, "semi-final-1")
    made.forfeit(1, 2, "semi-final-2", "semi-final", "no checkpoint")
    page.draw(made.output)
    failed = Page(made.output / "matches" / "semi-final-1" / "index.html")
    assert "The generator of A failed: values outside [0, 1]. D gets 30 of 30 points." in failed.text
    assert "The discriminator of A failed: took too long. A gets 0 of 30 points." in failed.text
    assert len(failed.all("tile")) == len(failed.all("unjudged")) == 30
    assert "C forfeits: no checkpoint" in Page(made.output / "matches" / "semi-final-2" / "index.html").text
    assert "B wins by forfeit: the other forfeits: no checkpoint" in Page(made.output / "index.html").text
    check_addresses(made.output)


def test_house_opponent_without_d(contest):
    made = contest(["A", "noise"], kind="league")
    made.tournament["teams"][1] |= {"house": True, "snapshot": "", "taken": "", "seed": None}
    match = made.match(0, 1, "a-noise", "league", 1) | {"winner": None, "decided_by": None, "reason": None}
    match["rounds"][0]["directions"].pop(0)
    made.write_match(match | {"score": {"a": 27, "b": 0}}, "a-noise")
    page.draw(made.output)
    parsed = Page(made.output / "matches" / "a-noise" / "index.html")
    assert "has no D" in parsed.text
    assert "equally good" not in parsed.text
    assert "house opponent" in Page(made.output / "teams" / "team-1" / "index.html").text


def test_extra_round_counts_apart(contest):
    made = contest(["A", "B"])
    match = made.match(0, 1, "battle", "battle", 2)
    match["rounds"][1]["extra"] = True
    points = {d["discriminator"]: d["points"] for d in match["rounds"][1]["directions"]}
    made.write_match(match | {"number_of_rounds": 1, "decided_by": "extra round"}, "battle")
    page.draw(made.output)
    parsed = Page(made.output / "matches" / "battle" / "index.html")
    assert parsed.text.count("of 30 right; extra round") == 2
    assert f"extra round {points['a']}" in parsed.text
    assert "Extra round" in parsed.text


def test_league_shows_intervals_and_what_is_too_close_to_call(contest):
    made = contest([f"Team {n}" for n in range(6)], kind="league", ratings=ratings([f"Team {n}" for n in range(6)]))
    storage.write_bytes(made.output / "matrix.png", png(60, 60))
    made.play(0, 1, "first")
    page.draw(made.output)
    check_addresses(made.output)
    index = Page(made.output / "index.html")
    assert index.text.count("1\N{EN DASH}3 too close to call") == 3
    assert index.text.count("too close to call") == 3
    bars = [a["style"] for tag, a in index.tags if tag == "i" and "width" in a.get("style", "")]
    assert bars[0] == "left: 71.4286%; width: 28.5714%"
    assert bars[5] == "left: 0.0%; width: 28.5714%"


def test_team_page(contest):
    made = contest(["A", "B"]).knockout()
    made.check(0)
    page.draw(made.output)
    check_addresses(made.output)
    team = Page(made.output / "teams" / "team-0" / "index.html")
    for text in (
        "G: variety",
        "! WARN",
        "4 of 64 images look the same",
        "✓ May battle",
        "✓ Not flagged",
        "source/train.py",
    ):
        assert text in team.text
    assert "model.ckpt-9.index" in team.text and "ab" * 32 in team.text
    assert sum(a.get("type") == "checkbox" for _, a in team.tags) == 4
    assert "Not checked yet." in Page(made.output / "teams" / "team-1" / "index.html").text
    assert "! 1 warning" in Page(made.output / "index.html").text


def test_without_a_sandbox_every_page_says_so(contest):
    made = contest(["A", "B", "C"], sandbox=False).knockout()
    page.draw(made.output)
    for file in pages(made.output):
        assert "Models ran WITHOUT a sandbox: only for one's own models" in Page(file).text
        assert len(Page(file).all("danger")) == 1


def test_only_a_running_contest_refreshes_itself(contest):
    made = contest(["A", "B"]).knockout()
    page.draw(made.output)
    index = Page(made.output / "index.html")
    assert {"http-equiv": "refresh", "content": "5"} in [a for tag, a in index.tags if tag == "meta"]
    made.finish()
    page.draw(made.output)
    index = Page(made.output / "index.html")
    assert not [a for tag, a in index.tags if tag == "meta" and "http-equiv" in a]
    assert "printf %s 123/beef | sha256sum" in index.text


def browse(tmp_path, address, *flags, milliseconds=3_000):
    """Returns the page as the browser has it after some time, which passes as fast as it can."""
    line = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    line += ["--allow-file-access-from-files", f"--user-data-dir={tmp_path / 'browser'}", "--dump-dom"]
    line += [f"--virtual-time-budget={milliseconds}", *flags, address]
    return subprocess.run(line, capture_output=True, text=True, check=True, timeout=120).stdout


def covered(dom):
    return [tile for tile in Page(dom).all("tile") if "covered" in tile["class"].split()]


def scores(dom):
    return [int(text) for text in re.findall(r'data-score="[ab]">(\d+)<', dom)]


# Pages that look at another one in a frame: how wide it is, how often it loads, what keys do.
PROBE = """<iframe src="{}" width="360" height="800" style="border: 0"></iframe>
<script>onload = () => {{
  document.title = document.querySelector("iframe").contentDocument.documentElement.scrollWidth;
}}</script>"""

COUNTER = """<iframe src="index.html" onload="document.title = Number(document.title) + 1"></iframe>"""

TYPIST = """<iframe src="matches/final/index.html"></iframe>
<script>onload = () => {
  const page = document.querySelector("iframe").contentDocument;
  const type = (key) => page.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  const count = () => page.querySelectorAll(".tile.covered").length;
  const counts = [count()];
  [" ", " ", " "].forEach(type);
  counts.push(count());
  type("Enter");
  document.title = [...counts, count()].join(" ");
}</script>"""


class TestBrowser:
    pytestmark = in_browser

    def uri(self, made, path, query=""):
        return f"file://{made.output}/{path}{query}"

    def test_reveal_covers_and_then_shows_everything(self, contest, tmp_path):
        made = contest([EVIL, "B", "C", "D"]).knockout(1)
        page.draw(made.output)
        address = self.uri(made, "matches/semi-final-1/index.html", "?show")
        early = browse(tmp_path, address, milliseconds=8_000)
        assert 30 < len(covered(early)) < 60
        assert scores(early)[0] == 0 < scores(early)[1]
        assert "revealing" in early.split(">")[1]
        late = browse(tmp_path, address, milliseconds=82_000)  # 60 images take 80 seconds, what comes then waits for 5
        assert not covered(late)
        assert scores(late) == made.tournament["matches"][0]["score"]
        assert "revealing" not in late.split(">")[1]
        scripts = [a for tag, a in Page(late).tags if tag == "script"]
        assert scripts == [{"src": "../../assets/reveal.js"}, {"type": "application/json", "id": "page"}]
        assert EVIL in Page(late).text

    def test_match_page_waits_to_be_played(self, contest, tmp_path):
        made = contest(["A", "B"]).knockout()
        page.draw(made.output)
        dom = browse(tmp_path, self.uri(made, "matches/final/index.html"), milliseconds=20_000)
        assert len(covered(dom)) == 180
        assert scores(dom) == [0, 0]

    def test_keys_uncover_one_image_or_all(self, contest, tmp_path):
        made = contest(["A", "B"]).knockout()
        page.draw(made.output)
        storage.write_text(made.output / "probe.html", TYPIST)
        dom = browse(tmp_path, self.uri(made, "probe.html"))
        assert re.search(r"<title>(.*)</title>", dom)[1] == "180 177 0"

    def test_reduced_motion_shows_everything(self, contest, tmp_path):
        made = contest(["A", "B"]).knockout()
        page.draw(made.output)
        address = self.uri(made, "matches/final/index.html", "?show")
        dom = browse(tmp_path, address, "--force-prefers-reduced-motion", milliseconds=1_000)
        assert not covered(dom)
        assert scores(dom) == made.tournament["matches"][0]["score"]

    def test_index_of_a_finished_contest_shows_the_result_at_once(self, contest, tmp_path):
        made = contest(["A", "B"]).knockout()
        made.finish()
        page.draw(made.output)
        dom = browse(tmp_path, self.uri(made, "index.html"), milliseconds=100)
        assert scores(dom) == made.tournament["matches"][0]["score"]
        assert "revealing" not in dom.split(">")[1]

    @pytest.mark.parametrize("status, seconds, loads", [("running", 60, 1), ("running", 100, 2), ("finished", 100, 1)])
    def test_running_index_reloads_after_the_reveal(self, contest, tmp_path, status, seconds, loads):
        made = contest(["A", "B", "C"], status=status).knockout(1)
        page.draw(made.output)
        storage.write_text(made.output / "probe.html", COUNTER)
        dom = browse(tmp_path, self.uri(made, "probe.html"), milliseconds=1000 * seconds)
        count = int(re.search(r"<title>(\d+)</title>", dom)[1])
        assert count == 1 if loads == 1 else count >= loads

    def test_show_goes_on_to_the_next_match(self, contest, tmp_path):
        made = contest(["A", "B", "C"]).knockout()
        page.draw(made.output)
        dom = browse(tmp_path, self.uri(made, "matches/play-in-1/index.html", "?show&seen"), milliseconds=10_000)
        assert "<title>Final: " in dom
        assert "revealing" in dom.split(">")[1]

    def test_nothing_is_wider_than_a_phone(self, contest, tmp_path):
        made = contest(["A" * 60, EVIL, "C d " * 12, "D", "E", "F"]).knockout()
        made.tournament["ratings"] = ratings(made.names)
        storage.write_bytes(made.output / "matrix.png", png(900, 900))
        made.check(0)
        made.finish()
        page.draw(made.output)
        for path in ("index.html", "matches/final/index.html", "teams/team-0/index.html"):
            probe = made.output / "probe.html"
            storage.write_text(probe, PROBE.format(path))
            dom = browse(tmp_path, f"file://{probe}", "--hide-scrollbars")
            assert "<title>360</title>" in dom, path
