"""Keeps keys out of what leaves this machine: packages, jobs, tasks and what reviewers read."""

import re

from gan.errors import InputError

_KEYS = re.compile(
    rb"-----BEGIN [A-Z ]*PRIVATE KEY"
    rb"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"  # Amazon
    rb"|\bAIza[\w-]{35}|\bya29\.[\w-]{20}|\bGOCSPX-[\w-]{20}|\"refresh_token\"\s*:\s*\"1//[\w-]{20}"  # Google
    rb"|\bgh[pousr]_\w{36}|\bgithub_pat_\w{40}|\bhf_\w{30}"
    rb"|\bwandb_v1_\w{20}|(?i:\bwandb_api_key|\bapi_key)\W{1,5}[0-9a-f]{40}\b"
    rb"|\bxox[abprs]-[\w-]{20}|\bsk-(?:proj|ant|svcacct)-[\w-]{20}|\bsk-[0-9A-Za-z]{40}"
    rb"|\bhttps?://[\w.%+-]+:[\w.%+~-]+@[\w-]"  # a password in an address
)


def refuse(contents):
    """Raises InputError where one of {place: bytes} holds what looks like a key."""
    for place, content in contents.items():
        if found := _KEYS.search(content):
            begin = found[0][:12].decode(errors="replace")
            raise InputError(f"{place} holds what looks like a key ({begin}...): give secrets by the environment")
