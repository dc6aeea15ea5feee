"""Runs a module of an uploaded package; it is what a submitted job starts in its container.

    python -m gan.cloud.start gs://bucket/job/package gan.train -- --max_steps=100

The image holds the libraries, and this project as it was when the image was made; the package, which the command
`gan.submit` has uploaded, goes before it.
"""

import dataclasses
import os
import pathlib
import subprocess
import sys
import tempfile
import zipfile

from gan import flags, storage
from gan.errors import InputError


@dataclasses.dataclass(frozen=True, kw_only=True)
class StartOptions(flags.Options):
    """Words of `gan.cloud.start`."""

    package: str = flags.word("folder with the project's wheel and modules of one's own; local or gs://")
    module: str = flags.word("what runs, such as gan.train")
    arguments: tuple = flags.rest("its flags")


def start(options):
    """Unpacks a package and becomes the process of its module, which so gets the signals that end a container.

    Args:
      options: `StartOptions`.

    Raises:
      InputError: there is no package, or the image lacks libraries that it needs.
    """
    code = pathlib.Path(tempfile.mkdtemp(prefix="gan_package_"))  # is there as long as the container
    unpack(storage.path(options.package), code)
    _check_libraries(code)
    os.chdir(code)  # which Python looks into before it looks into the image
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", options.module, *options.arguments])


def unpack(package, code):
    """Copies a package's files to the folder `code`, where its modules can be imported from.

    Raises:
      InputError: there is no wheel in it.
    """
    files = storage.files_below(package) if package.exists() else []
    wheels = [file for file in files if file.suffix == ".whl"]
    if len(wheels) != 1:
        raise InputError(f"{package} holds {len(wheels)} wheels; expected the folder that gan.submit has uploaded")
    storage.copy_files((file, storage.path(code) / file.relative_to(package)) for file in files)
    wheel = code / wheels[0].name
    print(f"running {wheels[0]}, sha256 {storage.sha256(wheel)}")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(code)


def _check_libraries(code):
    """Insists that the image has what the package needs: it may be older than the package."""
    line = [sys.executable, "-m", "pip", "check"]
    environment = {**os.environ, "PYTHONPATH": str(code)}
    found = subprocess.run(line, env=environment, capture_output=True, text=True, check=False).stdout
    if lacking := [text for text in found.splitlines() if text.startswith("gan ")]:
        raise InputError(f"the image does not fit the package: {'; '.join(lacking)}: build the image anew")


if __name__ == "__main__":
    flags.run(start, StartOptions, with_tensorflow=False)
