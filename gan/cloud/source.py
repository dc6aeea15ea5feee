"""The code behind a run: the modules that its flags name. Reviewers read it; nobody runs it."""

import importlib.util

from gan import class_lookup, storage
from gan.cloud import keys
from gan.errors import InputError

# The flags that name classes, and the package's module where a name without a dot is looked up; teams edit these.
HOMES = {
    "preset": "gan.presets",
    "reader": "gan.readers",
    "generator_model": "gan.models",
    "discriminator_model": "gan.models",
    "label_loss": "gan.losses",
    "gradient_penalties": "gan.losses",
    "augmentations": "gan.augmentation",
    "negatives": "gan.negatives",
}


def of_run(train_dir):
    """Returns what reviewers get to read of a run: {"source/run.json": file, "source/my_models.py": file, ...}.

    Args:
      train_dir: an `epath.Path`; where it holds no `run.json`, there is nothing to find.

    Returns:
      `epath.Path`s: `run.json` and the modules whose classes it names; those that they import are not looked for.

    Raises:
      InputError: `run.json` is damaged, a module cannot be found, or a file holds what looks like a key.
    """
    record = train_dir / "run.json"
    if not record.exists():
        return {}
    files = {"source/run.json": record}
    for name in _modules(_options(record)):
        files[f"source/{name.replace('.', '/')}.py"] = _file(name)
    keys.refuse({name: file.read_bytes() for name, file in files.items()})
    return files


def _options(record):
    try:
        return dict(storage.read_json(record)["options"])
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(f"{record} cannot be used ({error}); is it that of gan.train?") from None


def _modules(options):
    """Returns the names of the modules that hold the classes of a run."""
    found = set()
    for flag, home in HOMES.items():
        names = [name.strip() for name in str(options.get(flag) or "").split(",")]
        found |= {name.rpartition(".")[0] or home for name in names if name}
    return sorted(found)


def _file(name):
    with class_lookup.blaming(f"the run names {name}: finding it"):
        spec = importlib.util.find_spec(name)
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        raise InputError(f"the run names {name}, which is no module here: run the command in the folder that holds it")
    return storage.path(spec.origin)
