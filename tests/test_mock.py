"""When mock battles start."""

import datetime

import pytest

from gan.arena import mock
from gan.errors import InputError

NOON = datetime.datetime(2026, 11, 21, 12)


def at(hour, minute=0, day=21):
    return datetime.datetime(2026, 11, day, hour, minute)


@pytest.mark.parametrize("text, expected", [("90s", 90), ("30m", 1800), ("2h", 7200), ("1d", 86400)])
def test_durations(text, expected):
    assert mock.seconds(text) == expected


@pytest.mark.parametrize("text", ["", "2", "h", "0h", "-1h", "2 h", "1.5h", "1w", "99999999h"])
def test_what_is_no_duration(text):
    with pytest.raises(InputError, match="for instance 2h"):
        mock.seconds(text)


@pytest.mark.parametrize("text", ["", "12", "24:00", "12:60", "noon"])
def test_what_is_no_time_of_day(text):
    with pytest.raises(InputError, match="for instance 12:00"):
        mock.time_of_day(text)


@pytest.mark.parametrize(
    "now, begun, time, every, expected",
    [
        (NOON, None, None, None, NOON),
        (NOON, at(9), None, None, NOON),
        (NOON, at(9), None, 7200, NOON),  # late, so at once
        (NOON, at(11), None, 7200, at(13)),
        (NOON, None, "14:30", None, at(14, 30)),
        (NOON, None, "09:00", None, at(9, day=22)),
        (NOON, None, "09:00", 7200, at(9, day=22)),
        (NOON, at(9), "09:00", 7200, at(13)),
        (at(1, day=22), at(22), "12:00", 7200, at(2, day=22)),  # through the night
        (NOON, NOON, "12:00", 7200, at(14)),
        (NOON, NOON, "12:00", None, at(12, day=22)),
    ],
)
def test_the_next_session(now, begun, time, every, expected):
    assert mock.next_start(now, begun, time and mock.time_of_day(time), every) == expected
