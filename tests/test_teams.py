"""The team list."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gan import storage
from gan.arena import teams
from gan.errors import InputError


def read(folder, text):
    file = folder / "teams.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return teams.read(storage.path(str(file)))


def test_a_list_with_and_without_seeds(tmp_path):
    found = read(tmp_path, 'name,submission,seed\nA,gs://bucket/a,2\n"B, the second",b,\n')
    assert found == [teams.Team("A", "gs://bucket/a", 2), teams.Team("B, the second", "b", None)]
    assert read(tmp_path, "submission,name\r\na,A\r\nb,Ü\r\n") == [teams.Team("A", "a"), teams.Team("Ü", "b")]
    assert read(tmp_path, "\ufeffname,submission\nA,a\nB,b\n")[0].name == "A"


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "the first line is 'nothing'"),
        ("team,folder\nA,a\nB,b\n", "the first line is 'team,folder'; expected name,submission"),
        ("name,submission,points\nA,a,1\nB,b,2\n", "the first line is"),
        ("name,submission\nA,a\n", "1 teams; expected 2 to 1024"),
        ("name,submission\n" + "".join(f"T{i},x\n" for i in range(1025)), "1025 teams"),
        ("name,submission\nA,a\nA,b\n", "two teams have the name 'A'"),
        ("name,submission,seed\nA,a,1\nB,b,1\n", "two teams have the seed 1"),
        ("name,submission,seed\nA,a,one\nB,b,2\n", "line 2: seed 'one'; expected a whole number"),
        ("name,submission,seed\nA,a,0\nB,b,2\n", "line 2: seed '0'"),
        ("name,submission\nA,a\nB\n", "line 3: expected as many fields"),
        ("name,submission\nA,a,x\nB,b\n", "line 2: expected as many fields"),
        ("name,submission\n ,a\nB,b\n", "line 2: team name ''"),
        ("name,submission\nA,\nB,b\n", "line 2: team 'A': the submission is empty"),
        ("name,submission\nA\x1b[2J,a\nB,b\n", r"line 2: team name 'A\\\\x1b"),
        (f"name,submission\n{'A' * 61},a\nB,b\n", "expected 1 to 60"),
        (b"\xff\xfe\x00", "not a text file in UTF-8"),
        ('name,submission\n"A,a\nB,b\n', "unexpected end of data"),
    ],
)
def test_mistakes_are_named_with_their_line(text, words, tmp_path):
    with pytest.raises(InputError, match=words):
        read(tmp_path, text)


@given(st.text(max_size=80), st.text(max_size=80))
def test_slugs_are_safe_and_tell_names_apart(one, other):
    for name in (one, other):
        assert set(teams.slug(name)) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
        assert not teams.slug(name).startswith(("-", "house-")) or name.lower().startswith("house")
    assert (teams.slug(one) == teams.slug(other)) == (one == other)
