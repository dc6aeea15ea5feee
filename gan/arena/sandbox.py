"""Where a worker runs: inside bubblewrap, which shows it Python, one snapshot and nothing else.

Modes: "require" refuses to run strangers' models without bubblewrap, "auto" uses it where it works, "off" runs workers
as plain processes and is for one's own models.
"""

import functools
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys

from gan.errors import InputError

MODES = ("require", "auto", "off")
_ISOLATION = [
    "--unshare-all",
    "--unshare-user",
    "--disable-userns",
    "--die-with-parent",
    "--new-session",
    "--clearenv",
    "--cap-drop",
    "ALL",
]
_TEMPORARY_BYTES = str(64 << 20)
_SUBMISSION = "/submission"
# The packages that a worker imports; each is found where this process would find it.
_PACKAGES = ("gan", "tensorflow", "numpy", "google.protobuf", "absl", "etils")
_HELP = (
    "install it (apt-get install bubblewrap); where user namespaces are restricted, as on Ubuntu from 23.10 on, allow "
    "them (sysctl kernel.apparmor_restrict_unprivileged_userns=0). For models of your own, --sandbox=off runs without"
)


def resolve(mode):
    """Returns whether workers run inside bubblewrap.

    Raises:
      InputError: the mode is "require", and bubblewrap is missing or does not work here.
    """
    reason = None if mode == "off" else obstacle()
    if mode == "auto" and reason:
        print(f"without a sandbox: {reason}", file=sys.stderr)
    if mode == "require" and reason:
        raise InputError(f"--sandbox=require: {reason}; {_HELP}")
    return mode != "off" and reason is None


def exposes(path):
    """Returns the folder that shows `path`, a local `pathlib.Path`, to every worker, or None."""
    path = pathlib.Path(os.path.realpath(path))
    return next((folder for folder in _shown_folders() if path.is_relative_to(os.path.realpath(folder))), None)


@functools.cache
def obstacle():
    """Returns why bubblewrap cannot be used on this machine, or None."""
    if not shutil.which("bwrap"):
        return "bubblewrap (bwrap) is not installed"
    probe = subprocess.run([*_bubblewrap("/usr"), "true"], capture_output=True, text=True, check=False)
    if probe.returncode:
        return f"bubblewrap does not work here ({probe.stderr.strip() or f'exit code {probe.returncode}'})"
    return None


def start(snapshot_folder, arguments, sandboxed):
    """Starts a worker.

    Args:
      snapshot_folder: local folder with the team's files.
      arguments: what `worker.main` takes after the folder, as texts.
      sandboxed: inside bubblewrap, or as a plain process.

    Returns:
      A `subprocess.Popen` with pipes for its standard streams; killing it ends the worker.
    """
    folder = str(pathlib.Path(snapshot_folder).absolute())
    before = _bubblewrap(folder) if sandboxed else []
    worker = [sys.executable, "-m", "gan.arena.worker", _SUBMISSION if sandboxed else folder, *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*before, *worker],
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        cwd="/",
        env=_environment(),
        start_new_session=True,
    )


def _environment():
    """Nothing of the organiser's environment, which may hold credentials."""
    return {
        "CUDA_VISIBLE_DEVICES": "-1",  # all models run on the same device
        "PATH": os.defpath,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(str(folder.parent) for folder in _package_folders())),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


@functools.cache
def _package_folders():
    folders = []
    for name in _PACKAGES:
        folder = pathlib.Path(importlib.util.find_spec(name).submodule_search_locations[0])
        folders.append(folder.parents[name.count(".") - 1] if "." in name else folder)
    return folders


def _shown_folders():
    """What a worker may read: Python, the installed packages, the system's libraries, and this package."""
    folders = {pathlib.Path(sys.base_prefix), pathlib.Path(sys.prefix), pathlib.Path("/usr")}
    for folder in _package_folders():
        installed = folder.parent.name in ("site-packages", "dist-packages")
        folders.add(folder.parent if installed else folder)
    return sorted(folders, key=lambda folder: len(folder.parts))


def _bubblewrap(folder):
    """The command line before the worker's own."""
    shown = []
    for path in map(str, _shown_folders()):
        shown += ["--ro-bind", path, path]
    for path in ("/bin", "/lib", "/lib64", "/lib32", "/sbin"):
        if os.path.islink(path):
            shown += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            shown += ["--ro-bind", path, path]
    environment = []
    for name, value in _environment().items():
        environment += ["--setenv", name, value]
    return [
        "bwrap",
        *_ISOLATION,
        *("--proc", "/proc", "--dev", "/dev", "--size", _TEMPORARY_BYTES, "--tmpfs", "/tmp"),
        *("--size", _TEMPORARY_BYTES, "--tmpfs", "/dev/shm", "--remount-ro", "/dev"),
        *shown,  # after /tmp, where Python may be installed
        *("--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"),
        *("--ro-bind", folder, _SUBMISSION),
        *environment,
        *("--chdir", "/", "--remount-ro", "/", "--"),
    ]
