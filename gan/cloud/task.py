"""A task: one zip of code, requirements, parameters and, if asked for, data, which a plain worker with Python runs.

run.py             what the worker starts, `gan.cloud.task_runner`; for notebooks run_notebook.py beside it
task.json          what runs, with which parameters, and where the data is
requirements.txt   what pip is to install
code/              the entry, a user's own modules, and this package where they need it
data/              packed data
"""

import ast
import contextlib
import importlib.metadata
import json
import pathlib
import re
import tempfile
import zipfile

import gan
from gan import storage
from gan.cloud import keys, package
from gan.errors import InputError

_HERE = pathlib.Path(__file__).parent
# Of this package, beside its modules; as setup.py has it.
_DATA = ("feature_weights/*", "arena/templates/*", "arena/house_models/*/*", "arena/house_models/*.md")
_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can hold: the same task gives the same bytes on any day
_NOTEBOOK_REQUIREMENTS = ("ipykernel>=6.29,<8", "nbclient>=0.10,<0.12", "nbformat>=5.10,<6")


def build(target, *, kind, name, arguments, data, pack_data, own_modules, requirements, extras):
    """Writes a task.

    Args:
      target: the zip, an `epath.Path`.
      kind: "module", "script" or "notebook".
      name: dotted name of the module, or path of the file.
      arguments: what the entry is given, texts in which {data} and {results} are filled in when it runs; for a notebook
        NAME=VALUE, for its environment.
      data: file patterns, local or gs://; "" for none.
      pack_data: whether the data goes into the zip; else the worker must see it under the same name.
      own_modules: {place: file} of a user's modules.
      requirements: a file with further requirements, an `epath.Path`, or None.
      extras: names of this package's extras that the worker is to have.

    Returns:
      {place in the zip: size in bytes}.

    Raises:
      InputError: a file is missing or must not go along.
    """
    entry = None if kind == "module" else _entry(kind, name)
    code = {place: pathlib.Path(file).read_bytes() for place, file in own_modules.items()}
    if entry:
        code[entry.name] = entry.read_bytes()
    keys.refuse({"what follows --": " ".join(arguments).encode()})
    imported = _imported(code)
    _refuse_missing(imported, {pathlib.PurePath(place).parts[0].removesuffix(".py") for place in code})
    needs_gan = "gan" in imported or name.split(".")[0] == "gan"
    if extras and not needs_gan:
        raise InputError(f"--extras={','.join(extras)}: these are of gan, which nothing in this task imports")
    packed = _data_files(data) if pack_data else {}
    facts = {
        "kind": kind,
        "name": entry.name if entry else name,
        "arguments": list(arguments),
        "data": _data_place(packed) or data,
        "packed": _data_place(packed),
        "python": _metadata()["Requires-Python"] if needs_gan else "",
        "gan_version": gan.__version__,
    }
    lines = _requirements(needs_gan, extras, kind == "notebook", requirements)
    written = {
        "run.py": (_HERE / "task_runner.py").read_bytes(),
        **({"run_notebook.py": (_HERE / "notebook_runner.py").read_bytes()} if kind == "notebook" else {}),
        "task.json": (json.dumps(facts, indent=2) + "\n").encode(),
        "requirements.txt": "".join(f"{line}\n" for line in lines).encode(),
        **{f"code/{place}": content for place, content in code.items()},
        **(_own_code() if needs_gan else {}),
    }
    keys.refuse(written)
    return _write(target, {**written, **packed})


def _entry(kind, name):
    file, suffix = pathlib.Path(name), {"script": ".py", "notebook": ".ipynb"}[kind]
    if file.suffix != suffix or not file.is_file():
        raise InputError(f"--{kind}={name}: expected the name of a file that ends in {suffix}")
    return file


def _imported(code):
    """Returns {outermost name of a module: the file that imports it} of {place: content}."""
    found = {}
    for place, content in code.items():
        trees = _cells(place, content) if place.endswith(".ipynb") else [_tree(place, content)]
        for node in (node for tree in trees for node in ast.walk(tree)):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0]: place for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found[node.module.split(".")[0]] = place
    return found


def _tree(place, content):
    try:
        return ast.parse(content)
    except SyntaxError as error:
        raise InputError(f"{place}, line {error.lineno}: {error.msg}") from None


def _cells(place, content):
    """Returns the syntax trees of a notebook's code cells, but for those that IPython alone understands."""
    try:
        cells = json.loads(content)["cells"]
        texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, LookupError, TypeError):
        raise InputError(f"{place} cannot be read; expected a notebook of format 4") from None
    found = []
    for text in texts:
        with contextlib.suppress(SyntaxError):
            found.append(ast.parse(re.sub(r"^([ \t]*)[%!].*$", r"\1pass", text, flags=re.MULTILINE)))
    return found


def _refuse_missing(imported, packed):
    """Insists that a module of the current folder goes along where something imports it."""
    for top, place in imported.items():
        beside = [name for name in (f"{top}.py", f"{top}/__init__.py") if pathlib.Path(name).exists()]
        if beside and top not in {*packed, "gan"}:
            name = beside[0].removesuffix("/__init__.py")
            raise InputError(f"{place} imports {top}, which does not go along: add --own_modules={name}")


def _data_files(patterns):
    """Returns {place in the zip: file} of local or remote files."""
    files = storage.expand(patterns)
    found = {f"data/{file.name}": file for file in files}
    if len(found) < len(files):
        raise InputError(f"--data={patterns}: several files have the same name; pack them into one folder first")
    return found


def _data_place(packed):
    """Returns the pattern of packed files: their name where it is one."""
    return "" if not packed else next(iter(packed)) if len(packed) == 1 else "data/*"


def _requirements(needs_gan, extras, is_notebook, file):
    """Returns the lines of `requirements.txt`."""
    return [
        *(_own_requirements(extras) if needs_gan else ()),
        *(_NOTEBOOK_REQUIREMENTS if is_notebook else ()),
        *(file.read_text().splitlines() if file else ()),
    ]


def _own_requirements(extras):
    """Returns what this package needs, as it was declared: ranges that were tried, for any Python of its range."""
    groups = {}
    if (installed := _metadata()["Version"]) != gan.__version__:
        raise InputError(
            f"gan {installed} is installed here, but this is the code of {gan.__version__}, which may need other "
            "packages: pip install it again"
        )
    for line in _metadata().get_all("Requires-Dist"):
        requirement, _, extra = line.partition("; extra == ")
        groups.setdefault(extra.strip("\"'"), []).append(requirement)
    for extra in extras:
        if extra not in groups:
            raise InputError(f"--extras={extra}: gan has no such extra; it has {', '.join(filter(None, groups))}")
    return [line for group in ("", *extras) for line in groups[group]]


def _metadata():
    try:
        return importlib.metadata.metadata("gan")
    except importlib.metadata.PackageNotFoundError:
        raise InputError("gan is not installed here, so what it needs is not known: pip install it first") from None


def _own_code():
    """Returns {place in the zip: content} of this package: what its wheel holds."""
    root = pathlib.Path(gan.__file__).parent
    files = (file for pattern in ("**/*.py", *_DATA) for file in root.glob(pattern) if file.is_file())
    places = {file.relative_to(root).as_posix(): file for file in files}
    return {f"code/gan/{place}": file.read_bytes() for place, file in places.items() if not package.is_litter(place)}


def _write(target, members):
    """Writes {place: bytes or file} as a zip, the same bytes for the same content."""
    sizes = {}
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "task.zip"
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for place, content in sorted(members.items()):
                info = zipfile.ZipInfo(place, _TIME)
                info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                with archive.open(info, "w", force_zip64=True) as writer:
                    sizes[place] = writer.write(content) if isinstance(content, bytes) else _copy(content, writer)
        storage.copy_file(storage.path(file), target)
    return sizes


def _copy(file, writer):
    with file.open("rb") as reader:
        return sum(writer.write(block) for block in iter(lambda: reader.read(1 << 23), b""))
