"""Finds a class that a flag names: in one of the package's modules, or by dotted path in a team's own module."""

import importlib
import inspect
import traceback

from gan.errors import InputError


def find(name, home, base, flag):
    """Returns the class.

    Args:
      name: "DCGANGenerator", looked up in `home`, or "my_models.MyGenerator".
      home: the package's module for this kind of class.
      base: the class that it must extend.
      flag: the flag's name, for messages.

    Raises:
      InputError: there is no such module or class, or it does not extend `base`.
    """
    module_name, _, class_name = name.rpartition(".")
    module = _import(module_name, flag) if module_name else home
    found = getattr(module, class_name, None)
    if inspect.isclass(found) and issubclass(found, base) and found is not base:
        return found
    known = ", ".join(sorted(names_in(module, base))) or "none"
    if inspect.isclass(found):
        raise InputError(
            f"--{flag}={name}: {class_name} does not extend {base.__name__}; {module.__name__} has: {known}"
        )
    raise InputError(f"--{flag}={name}: no such class; {module.__name__} has: {known}")


def names_in(module, base):
    """Returns the names of the classes in `module` that extend `base`."""
    return [
        name
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, base) and value is not base and not name.startswith("Base")
    ]


def _import(module_name, flag):
    try:
        return importlib.import_module(module_name)
    except Exception as error:
        raise InputError(f"--{flag}: cannot import {module_name}: {error_line(error)}") from error


def error_line(error):
    """Returns one line for an error raised in a team's code: its kind, its text and where."""
    frames = traceback.extract_tb(error.__traceback__)
    place = next(
        (f" ({f.filename}, line {f.lineno})" for f in reversed(frames) if "site-packages" not in f.filename), ""
    )
    text = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {text}{place}"
