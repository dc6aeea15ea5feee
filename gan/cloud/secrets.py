"""Keeps keys out of what leaves this machine: packages, jobs, tasks and what reviewers read."""

import re

from gan.errors import InputError

_KEYS = re.compile(
    rb"-----BEGIN [A-Z ]*PRIVATE KEY|\bAKIA[0-9A-Z]{16}\b|\bAIza[\w-]{35}|\bgh[pousr]_\w{36}|\bhf_\w{30,}"
)


def refuse(contents):
    """Raises InputError where one of {place: bytes} holds what looks like a key."""
    for place, content in contents.items():
        if found := _KEYS.search(content):
            begin = found[0][:12].decode(errors="replace")
            raise InputError(f"{place} holds what looks like a key ({begin}...): give secrets by the environment")
