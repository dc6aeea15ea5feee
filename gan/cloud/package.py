"""The code that a job runs: this project's wheel, built from a checkout, and a user's own modules beside it."""

import hashlib
import pathlib
import re
import subprocess
import tempfile
import zipfile

import gan
from gan import storage
from gan.cloud import keys
from gan.errors import InputError, RunError

# What setup.py reads; nothing else of a checkout, which may hold data and keys, is within the build's reach.
SOURCES = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "gan")
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def checkout():
    """Returns the folder of the checkout that this code runs from.

    Raises:
      InputError: it was installed without one.
    """
    root = pathlib.Path(gan.__file__).parents[1]
    if missing := [name for name in SOURCES if not (root / name).exists()]:
        raise InputError(
            f"the package is built from a checkout of the project, and {root} is none (no {missing[0]}): "
            "run this command in the folder of a checkout"
        )
    return root


def _sources(root):
    """Returns {place: file} of what the build may read."""
    tops = [root / name for name in SOURCES]
    files = [file for top in tops for file in (top.rglob("*") if top.is_dir() else [top]) if file.is_file()]
    places = {file.relative_to(root).as_posix(): file for file in files}
    return {place: file for place, file in places.items() if not is_litter(place)}


def is_litter(place):
    """Whether a file, by its place in a checkout, is none of the project's."""
    return any(part.startswith((".", "__pycache__")) for part in pathlib.PurePosixPath(place).parts)


def digest(root, modules):
    """Returns a name for the package of a checkout and of own modules, {place: file}: another one for other code."""
    hashed = hashlib.sha256()
    for place, file in sorted({**_sources(root), **modules}.items()):
        hashed.update(f"{place} {storage.sha256(storage.path(file))}\n".encode())
    return hashed.hexdigest()[:16]


def build(root, folder, kind="wheel"):
    """Builds the project without network and leaves nothing in the checkout.

    Args:
      root: the checkout.
      folder: where the file goes.
      kind: "wheel" or "sdist".

    Returns:
      The file, as a `pathlib.Path`.

    Raises:
      InputError: the libraries that build it are missing.
      RunError: the build fails.
    """
    try:  # of the extra `cloud`
        import build as builds  # noqa: PLC0415
        from pyproject_hooks import quiet_subprocess_runner  # noqa: PLC0415
    except ImportError:
        raise InputError("building the package needs: pip install 'gan[cloud]'") from None
    with tempfile.TemporaryDirectory() as temporary:
        source = pathlib.Path(temporary)
        storage.copy_files((storage.path(file), storage.path(source / place)) for place, file in _sources(root).items())
        builder = builds.ProjectBuilder(source, runner=quiet_subprocess_runner)
        try:
            if missing := builder.check_dependencies(kind):
                names = ", ".join(chain[-1] for chain in sorted(missing))
                raise InputError(f"building the package needs {names}: pip install 'gan[cloud]'")
            return pathlib.Path(builder.build(kind, folder))
        except builds.BuildBackendException as error:
            raise RunError(f"{root}: the package cannot be built: {_last_line(error.exception)}") from None


def _last_line(error):
    """What the build said last, which is the error; its output before that goes on for pages."""
    output = error.output.decode(errors="replace") if isinstance(error, subprocess.CalledProcessError) else ""
    return ([str(error)] + [line for line in output.splitlines() if line.strip()])[-1]


def own_modules(names, module, texts):
    """Returns the files of a user's own modules, {place beside the package: file}.

    Args:
      names: Python files and package folders of the current folder, comma-separated.
      module: what will run, a dotted name, or "".
      texts: its arguments, and the values of its flags; they may name own modules by dotted path.

    Raises:
      InputError: a name cannot be used, or one that will be needed is missing.
    """
    found = {}
    here = pathlib.Path()
    for name in filter(None, (part.strip().rstrip("/") for part in names.split(","))):
        place = here / name
        if len(place.parts) != 1 or not (place.suffix == ".py" or place.is_dir()) or not place.exists():
            raise InputError(
                f"--own_modules={names}: {name} is no Python file and no package folder in the current folder; "
                "expected names like my_models.py,my_losses"
            )
        files = [place] if place.is_file() else sorted(place.rglob("*.py"))
        found |= {file.as_posix(): file for file in files}
    for top in _named(module, texts):
        if any(place.split("/")[0].removesuffix(".py") == top for place in found):
            continue
        if (file := here / f"{top}.py").exists() or any((here / top).glob("*.py")):
            name = file.name if file.exists() else top
            raise InputError(f"{name} is named by what will run, but does not go along: add --own_modules={name}")
    return found


def _named(module, texts):
    """The outermost modules of all dotted paths in texts, but for this project's."""
    values = (text.partition("=")[2] if text.startswith("-") else text for text in texts)
    values = (part.strip() for value in values for part in value.split(","))
    tops = [module.split(".")[0], *(value.split(".")[0] for value in values if _DOTTED.fullmatch(value))]
    return [top for top in dict.fromkeys(tops) if top not in ("", "gan")]


def upload(wheel, modules, folder):
    """Copies the wheel and the own modules, {place: file}, to `folder`, local or remote.

    Raises:
      InputError: a file holds what looks like a key.
    """
    with zipfile.ZipFile(wheel) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    keys.refuse({**contents, **{place: file.read_bytes() for place, file in modules.items()}})
    storage.copy_files((storage.path(file), folder / place) for place, file in {wheel.name: wheel, **modules}.items())
