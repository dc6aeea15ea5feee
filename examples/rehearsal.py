"""A whole contest in buckets, against a storage emulator: nothing is rented, and nothing leaves this machine.

    python -m examples.rehearsal --folder=rehearsal

Two teams train for a moment and submit to their buckets; the organiser plays a knock-out from the buckets into a third
one and publishes its page in a fourth. The commands are those of a real contest: only STORAGE_EMULATOR_HOST, which this
sets for them, stands between them and Google Cloud Storage.
"""

import contextlib
import dataclasses
import functools
import http.server
import logging
import os
import shlex
import subprocess
import sys
import threading

from gan import flags, gs, storage
from gan.arena import ledger
from gan.errors import InputError, RunError
from gan.flags import flag

TEAMS = ("alpha", "beta")
_SERVER = "STORAGE_EMULATOR_HOST"
CONTEST, PAGE = "gs://contest/final", "gs://contest-page/final"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RehearsalOptions(flags.SeedOptions):
    """Flags of the rehearsal."""

    folder: str = flag("rehearsal", "new folder for the runs and a copy of the page")
    steps: int = flag(1000, "training steps of the first team; the other takes half of them", lower=2)
    sandbox: str = flag("auto", "as for gan.tournament; the models are this rehearsal's own", choices=("auto", "off"))


def rehearse(options):
    """Plays the contest.

    Args:
      options: `RehearsalOptions`.

    Returns:
      The copy of the page, an `epath.Path`.

    Raises:
      InputError: the folder is there already, or the emulator is not installed.
      RunError: a command failed.
    """
    folder = storage.path(options.folder)
    if folder.exists():
        raise InputError(f"--folder={folder} is there already: name a new folder")
    with _emulator(*(f"team-{team}" for team in TEAMS), "contest", "contest-page"):
        for number, team in enumerate(TEAMS):
            _say(f"team {team} trains, and submits to its bucket")
            run = folder / team
            steps = options.steps // (number + 1)
            _run("train", preset="sample", train_dir=run, seed=options.seed + number, num_epochs=steps, max_steps=steps)
            _run("submit_model", train_dir=run, bucket=f"gs://team-{team}", sandbox=options.sandbox)
        _say("the organiser plays a knock-out from the buckets")
        teams = storage.path("gs://contest/teams.csv")
        lines = ["name,submission", *(f"{team.title()},gs://team-{team}/model" for team in TEAMS)]
        storage.write_text(teams, "".join(f"{line}\n" for line in lines))
        _run("tournament", teams=teams, output_dir=CONTEST, sandbox=options.sandbox, seed=options.seed)
        page = _publish(folder / "page")
    _say(f"published: {PAGE}; a copy to open: {page}")
    return page


def _publish(copy):
    """Copies what everybody may see, and returns the page's copy on this machine."""
    _say(f"the page, without the seed and the models, goes to {PAGE}")
    contest = storage.path(CONTEST)
    names = [str(file.relative_to(contest)) for file in storage.files_below(contest)]
    public = [name for name in names if not name.startswith(ledger.PRIVATE)]
    storage.copy_files((contest / name, storage.path(PAGE) / name) for name in public)
    storage.copy_files((storage.path(PAGE) / name, copy / name) for name in public)
    return copy / "index.html"


@contextlib.contextmanager
def _emulator(*buckets):
    """Google Cloud Storage on this machine, for the length of the `with` block, with empty buckets."""
    try:
        from gcp_storage_emulator.handlers.buckets import create_bucket  # noqa: PLC0415 - only tests need it otherwise
        from gcp_storage_emulator.server import RequestHandler, Router  # noqa: PLC0415
        from gcp_storage_emulator.storage import Storage  # noqa: PLC0415
    except ImportError:
        raise InputError("the rehearsal needs: pip install 'gan[test]'") from None
    logging.getLogger("gcp_storage_emulator").setLevel(logging.CRITICAL)
    lock = threading.Lock()

    class Handler(RequestHandler):
        """Answers one request at a time, but listens to many: the emulator's own server waits for an idle client."""

        def answer(self):
            with lock:
                Router(self).handle(self.command)

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = answer

    files = Storage(use_memory_fs=True)
    for name in buckets:
        create_bucket(name, files)
    before = os.environ.get(_SERVER)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, files)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        os.environ[_SERVER] = f"http://127.0.0.1:{server.server_port}"
        gs.forget_client()
        try:
            yield
        finally:
            os.environ.pop(_SERVER)
            os.environ.update({_SERVER: before} if before else {})
            gs.forget_client()
            server.shutdown()


def _run(command, **given):
    line = ["-m", f"gan.{command}", *(f"--{name}={value}" for name, value in given.items())]
    print(f"$ python {shlex.join(line)}", flush=True)
    if code := subprocess.run([sys.executable, *line], check=False).returncode:
        raise RunError(f"gan.{command} ended with exit code {code}")


def _say(text):
    print(f"\n--- {text}", flush=True)


if __name__ == "__main__":
    flags.run(rehearse, RehearsalOptions, with_tensorflow=False)
