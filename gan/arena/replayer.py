"""Plays a recorded match again and compares."""

import contextlib
import dataclasses

from gan import spec, storage
from gan.arena import house, ledger, match, rounds, snapshot
from gan.arena.options import load_images
from gan.arena.pool import Pool
from gan.errors import InputError

# Measured by a clock, or how and by which version of this project it was played.
_MAY_DIFFER = {"timing", "gan_version", "sandboxed"}
_MOST = 20  # differences that are listed


def differences(file, options, sandboxed):
    """Plays a match again.

    Args:
      file: its match.json, in the folder of its contest.
      options: a `replay.ReplayOptions`.
      sandboxed: from `sandbox.resolve`.

    Returns:
      One sentence for each difference, `_MOST` at most.

    Raises:
      InputError: the result, a snapshot or the data is missing, or not what was played with.
    """
    then = _read(file)
    contest = ledger.Ledger(file.parent.parent.parent)
    try:
        terms = rounds.Terms(**{**_fields(then["terms"]), "contest": spec.ContestSpec(**then["terms"]["contest"])})
        fixture = match.Fixture(**_fixture(then))
        teams, timing = {side: then["teams"][side] for side in "ab"}, then["timing"]
        pool, training = _images(then, contest, options, terms.contest)
        with contextlib.ExitStack() as resources:
            workers = resources.enter_context(Pool(sandboxed, terms.time_limit, 2))
            contestants = {
                side: _contestant(team, contest, terms.contest, training, workers, resources)
                for side, team in teams.items()
            }
            now, sheets = match.play(fixture, contestants, pool, terms, recorded_timing=timing)
    except (LookupError, TypeError) as error:
        raise InputError(f"{file} has been edited: {type(error).__name__} {error}") from None
    found = list(_compare("", {**then, **dict.fromkeys(_MAY_DIFFER)}, {**now, **dict.fromkeys(_MAY_DIFFER)}))
    for name, png in sheets.items():
        picture = file.parent / name
        if not picture.exists() or picture.read_bytes() != png:
            found.append(f"picture {name}")
    return found[:_MOST]


def _read(file):
    try:
        result = storage.read_json(file)
        if result["format"] == match.FORMAT and result["teams"]:
            return result
    except (ValueError, LookupError, TypeError):
        pass  # said below
    raise InputError(f"{file} is no result of a match (format {match.FORMAT}); expected the match.json of a contest")


def _fields(terms):
    names = {field.name for field in dataclasses.fields(rounds.Terms)}
    return {name: value for name, value in terms.items() if name in names}


def _fixture(result):
    names = {field.name for field in dataclasses.fields(match.Fixture)} - {"rounds"}
    # Results of earlier versions know less.
    return {name: result[name] for name in names & result.keys()} | {"rounds": result["number_of_rounds"]}


def _images(then, contest, options, size):
    """Returns (pool, training images or None), the pool compared with the one that was played with."""
    notes = contest.recorded()["notes"] if contest.settled() else {}
    patterns = [getattr(options, name) or notes.get(name, "") for name in ("input_data_pattern", "train_data_pattern")]
    reading = {"max_bad_records": notes.get("max_bad_records", 0)}
    pool = load_images(patterns[0], size.image_shape, "validation", **reading)
    if pool.fingerprint != then["data"]["fingerprint"]:
        raise InputError(
            f"the data's fingerprint is {pool.fingerprint[:16]}..., the match was played with "
            f"{then['data']['fingerprint'][:16]}...: give the same --input_data_pattern"
        )
    plays_house = any(not team["snapshot"] and not team["forfeit"] for team in then["teams"].values())
    if not plays_house or (patterns[0] and not patterns[1]):
        return pool, None
    return pool, load_images(patterns[1], size.image_shape, "train", **reading)


def _contestant(team, contest, size, training, workers, resources):
    if team["forfeit"]:
        return match.Contestant(team["name"], team["slug"], None, team["snapshot"], team["forfeit"])
    if team["snapshot"]:
        files = snapshot.verified(contest.store(team["slug"]), team["snapshot"])
        player = resources.enter_context(workers.playing(team["slug"], files))
        return match.Contestant(team["name"], team["slug"], player, files.digest)
    players = {house.slug(name): player for name, player in house.generators(size, training).items()}
    if team["slug"] not in players:
        raise InputError(f"{team['name']} plays training images: give --train_data_pattern")
    return match.Contestant(team["name"], team["slug"], players[team["slug"]])


def _compare(path, then, now):
    if isinstance(then, dict) and isinstance(now, dict):
        for key in sorted(then.keys() | now.keys()):
            yield from _compare(f"{path}.{key}" if path else key, then.get(key), now.get(key))
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for i, pair in enumerate(zip(then, now, strict=True)):
            yield from _compare(f"{path}[{i}]", *pair)
    elif then != now:
        yield f"{path}: {then!r} then, {now!r} now"
