"""Names of archive members, which a stranger may have chosen."""

from gan.data.sources.tree import is_hidden

LEAVES = "leaves the archive"


def place_of(name):
    """Returns a member's name without what says nothing: "./", "//" and a leading "/"."""
    return "/".join(_parts(name))


def leaves(name):
    """Whether a name would lead outside the folder that an archive is unpacked in."""
    return name.startswith("/") or ".." in _parts(name)


def is_left_out(name):
    """Whether a name is hidden or says nothing at all."""
    parts = _parts(name)
    return not parts or (not leaves(name) and any(map(is_hidden, parts)))


def _parts(name):
    return [part for part in name.split("/") if part not in ("", ".")]
