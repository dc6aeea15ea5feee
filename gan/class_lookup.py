"""Finds a class that a flag names: in one of the package's modules, or by dotted path in a team's own module."""

import contextlib
import importlib
import inspect
import sysconfig
import traceback

from gan.errors import InputError, first_line

_PYTHON_ITSELF = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")) + (
    __file__,
)


def find(name, home, base, flag):
    """Returns the class.

    Args:
      name: "DCGANGenerator", looked up in `home`, or "my_models.MyGenerator".
      home: the name of the package's module for this kind of class, "gan.models".
      base: the class that it must extend.
      flag: the flag's name, for messages.

    Raises:
      InputError: there is no such module or class, or it does not extend `base`.
    """
    module_name, _, class_name = name.rpartition(".")
    module = _import(module_name or home, flag)
    found = getattr(module, class_name, None)
    if inspect.isclass(found) and issubclass(found, base) and found is not base:
        return found
    known = ", ".join(sorted(names_in(module, base))) or "none"
    if inspect.isclass(found) and found is not base:
        raise InputError(
            f"--{flag}={name}: {class_name} does not extend {base.__name__}; {module.__name__} has: {known}"
        )
    raise InputError(f"--{flag}={name}: no such class; {module.__name__} has: {known}")


def make_all(names, home, base, flag):
    """Returns an object of each class that comma-separated names name; see `find`."""
    classes = [find(name.strip(), home, base, flag) for name in names.split(",") if name.strip()]
    return [make(found) for found in classes]


def make(found):
    """Returns an object of a class, which must need no arguments."""
    with blaming(f"{found.__name__}()"):
        return found()


def names_in(module, base):
    """Returns the names of the classes in `module` that extend `base`."""
    return [
        name
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, base) and value is not base and not name.startswith("Base")
    ]


def _import(module_name, flag):
    with blaming(f"--{flag}: import of {module_name}"):
        return importlib.import_module(module_name)


def error_line(error):
    """Returns one line for an error raised in a team's code: its kind, its text and where."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(("<", *_PYTHON_ITSELF))]
    place = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {first_line(error)}{place}"


@contextlib.contextmanager
def blaming(what):
    """Turns an error inside a team's code into one line that says what failed, and in which file and line.

    Args:
      what: the method that is called, or the work that is done, for the message.

    Raises:
      InputError: in place of whatever the `with` block raised; errors of files pass as they are.
    """
    try:
        yield
    except (InputError, OSError):
        raise
    except (Exception, SystemExit) as error:
        raise InputError(f"{what} failed: {error_line(error)}") from error
