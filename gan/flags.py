"""Flags as dataclasses: a command declares its options once, with type, default, range and help.

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class EvalOptions(Options):
        batch_size: int = flag(64, "images per batch", lower=1)

`run` parses them with absl (`--name=value`, `--noname`, `--flagfile`), checks the ranges, calls the command's function
and turns errors into exit codes. Tests and notebooks make the same object by hand: `EvalOptions(batch_size=8)`.
"""

import contextlib
import dataclasses
import importlib
import importlib.util
import math
import os
import signal
import sys
import textwrap
import typing

from absl import flags as absl_flags

from gan import errors, random_noise_generator
from gan.errors import InputError, Interrupted, RunError, first_line

_DEFINE = {
    str: absl_flags.DEFINE_string,
    int: absl_flags.DEFINE_integer,
    float: absl_flags.DEFINE_float,
    bool: absl_flags.DEFINE_boolean,
}
# What TensorFlow's file layer raises where a remote path cannot be reached, read or written.
_REMOTE_ERRORS = (
    "FailedPreconditionError",
    "NotFoundError",
    "PermissionDeniedError",
    "ResourceExhaustedError",
    "UnauthenticatedError",
    "UnavailableError",
)
_HELP = {"--help", "-h", "-help", "--helpfull", "--helpshort"}


def flag(default, text, *, lower=None, above=None, upper=None, choices=None, environment=None):
    """Declares one option of an `Options` class.

    Args:
      default: the value when the flag is not given.
      text: what it does, with its unit.
      lower, upper: bounds that are allowed themselves; `above`: a bound that is not.
      choices: the allowed values.
      environment: the environment variable whose value, a text, stands in place of the default where it is set.
    """
    metadata = {"help": text, "lower": lower, "above": above, "upper": upper, "choices": choices}
    return dataclasses.field(default=default, metadata={**metadata, "environment": environment})


def word(text, *, choices=None):
    """Declares an option that is given as a plain word, without a name, and has to be given."""
    metadata = {"help": text, "lower": None, "above": None, "upper": None, "choices": choices, "word": True}
    return dataclasses.field(metadata=metadata)


def rest(text):
    """Declares the option that takes, as a tuple of texts, all that follows `--`: the flags of another command."""
    metadata = {"help": text, "lower": None, "above": None, "upper": None, "choices": None, "rest": True}
    return dataclasses.field(default=(), metadata=metadata)


def inherit(options_class, name, default):
    """Re-declares an inherited option with another default, for a command whose users need one."""
    field = next(field for field in dataclasses.fields(options_class) if field.name == name)
    return dataclasses.field(default=default, metadata=field.metadata)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Base of every command's options; making one checks its values.

    Raises:
      InputError: a value is outside its range.
    """

    @classmethod
    def preset_settings(cls, given):
        """Returns {name: value}, what stands in place of the defaults; a flag that is given wins.

        Args:
          given: {name: value} of all options.
        """
        return {}

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            wanted = _range_text(field)
            if value is not None and wanted and not _in_range(value, field.metadata):
                name = field.name if field.metadata.get("word") else f"--{field.name}"
                raise InputError(f"{name}={value}: expected {wanted}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SizeOptions(Options):
    """The size of the contest's images."""

    use_mnist: bool = flag(False, "images are 28x28 gray (MNIST)")
    image_height: int | None = flag(None, "height of an image in pixels, when it is neither 50 nor MNIST's 28", lower=1)
    image_width: int | None = flag(None, "width of an image in pixels", lower=1)
    image_channels: int | None = flag(None, "1 for gray, 3 for RGB", choices=(1, 3))

    def __post_init__(self):
        super().__post_init__()
        size = (self.image_height, self.image_width, self.image_channels)
        if self.use_mnist and any(value is not None for value in size):
            raise InputError("--use_mnist means 28x28x1; leave out --image_height, --image_width and --image_channels")
        if (self.image_height is None) != (self.image_width is None):
            raise InputError("--image_height and --image_width go together: give both")
        if self.image_channels is not None and self.image_height is None:
            raise InputError("--image_channels needs --image_height and --image_width")

    @property
    def image_shape(self):
        """(height, width, channels) where the flags give a size, else None."""
        if self.use_mnist:
            return (28, 28, 1)
        if self.image_height is None:
            return None
        return (self.image_height, self.image_width, self.image_channels or 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadingOptions(SizeOptions):
    """How record files are read."""

    num_readers: int = flag(8, "threads that parse record files; the batches are the same for any number", lower=1)
    max_bad_records: int = flag(0, "broken records that are skipped and counted before reading fails", lower=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeedOptions(Options):
    seed: int = flag(0, "master seed of every random draw", lower=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatentOptions(Options):
    latent_size: int = flag(random_noise_generator.get_dim(), "numbers in a latent vector", lower=1)


def _in_range(value, limits):
    if isinstance(value, float) and not math.isfinite(value):
        return False
    if limits["choices"] is not None:
        return value in limits["choices"]
    return not (
        (limits["lower"] is not None and not value >= limits["lower"])
        or (limits["above"] is not None and not value > limits["above"])
        or (limits["upper"] is not None and not value <= limits["upper"])
    )


def _range_text(field):
    limits = field.metadata
    if limits["choices"] is not None:
        return "one of " + ", ".join(str(choice) for choice in limits["choices"])
    bounds = (("lower", "at least"), ("above", "more than"), ("upper", "at most"))
    return " and ".join(f"{words} {limits[name]}" for name, words in bounds if limits[name] is not None)


def _kind(options_class, field):
    """The plain type of a field: `int` for both `int` and `int | None`."""
    hint = typing.get_type_hints(options_class)[field.name]
    return next((kind for kind in typing.get_args(hint) if kind is not type(None)), hint)


def parse(options_class, argv):
    """Turns a command line into an options object.

    Args:
      options_class: a subclass of `Options`.
      argv: the program's name and its arguments.

    Raises:
      InputError: an unknown flag, a value of the wrong type or outside its range, or a word that is no flag.
    """
    return _parse(options_class, argv)[0]


def _parse(options_class, argv):
    """Returns (the options object, the same command line without flag files: words, and flags as --name=value)."""
    own, passed_on = _split(argv) if _rest(options_class) else (argv, ())
    values = absl_flags.FlagValues()
    names = [field.name for field in _flags(options_class)]
    words = _words(options_class)
    for field in _flags(options_class):
        define = _DEFINE[_kind(options_class, field)]
        define(field.name, field.default, field.metadata["help"], flag_values=values)
    try:
        found = values(own)
    except (absl_flags.Error, OSError) as error:  # OSError: a flag file that cannot be opened
        hint = "; flags of what runs stand after ' -- '" if _rest(options_class) else ""
        raise InputError(f"{error} (--help lists the flags{hint})") from None
    if len(found) - 1 > len(words):
        raise InputError(
            f"unexpected argument {found[len(words) + 1]!r}: every option is written --name=value (--help lists them)"
        )
    if len(found) - 1 < len(words):
        field = words[len(found) - 1]
        raise InputError(f"{field.name} is missing: {field.metadata['help']} {_range_text(field)}".rstrip())
    given = {field.name: value for field, value in zip(words, found[1:], strict=True)}
    given |= {name: values[name].value for name in names} | {field.name: passed_on for field in _rest(options_class)}
    for name, value in options_class.preset_settings(given).items():
        _check_preset(options_class, name, value, names)
        if not values[name].present:
            given[name] = value
    for field in _flags(options_class):
        if not values[field.name].present and (value := os.environ.get(field.metadata["environment"] or "")):
            given[field.name] = value
    line = [*found[1:], *(values[name].serialize() for name in names if values[name].present)]
    return options_class(**given), [*line, *(["--", *passed_on] if passed_on else [])]


def command_line(module, arguments):
    """Parses the flags of another command without running it, so that a slip shows before a machine is rented.

    Args:
      module: its dotted name; the flags of modules outside this package are not known here and not looked at.
      arguments: the flags, as texts.

    Returns:
      (the flags as --name=value, in place of a flag file what it says; {name: value} of all flags that are known).

    Raises:
      InputError: there is no such module, or one of its flags cannot be used.
    """
    try:
        exists = importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # of a package above it, or an empty name
        exists = False
    if not exists:
        raise InputError(f"--module={module}: there is no such module; expected a dotted name like gan.train")
    if not module.startswith("gan."):
        return list(arguments), {}
    known = vars(importlib.import_module(module)).values()
    classes = [c for c in known if isinstance(c, type) and issubclass(c, Options) and c.__module__ == module]
    if len(classes) != 1:
        raise InputError(f"--module={module} is no command; expected one like gan.train")
    try:
        options, line = _parse(classes[0], [module, *arguments])
    except InputError as error:
        raise InputError(f"{module}: {error}") from None
    return line, dataclasses.asdict(options)


def _split(argv):
    """Returns what stands before the first `--`, and what follows it."""
    end = argv.index("--") if "--" in argv else len(argv)
    return argv[:end], tuple(argv[end + 1 :])


def _check_preset(options_class, name, value, names):
    if name not in names:
        raise InputError(f"the preset sets {name}, which is no flag (--help lists them)")
    kind = _kind(options_class, next(field for field in _flags(options_class) if field.name == name))
    allowed = (kind, int) if kind is float else (kind,)
    if value is not None and type(value) not in allowed:
        raise InputError(f"the preset sets {name} to {value!r}, which is no {kind.__name__}")


def _words(options_class):
    return [field for field in dataclasses.fields(options_class) if field.metadata.get("word")]


def _rest(options_class):
    return [field for field in dataclasses.fields(options_class) if field.metadata.get("rest")]


def _flags(options_class):
    return [field for field in dataclasses.fields(options_class) if not {"word", "rest"} & set(field.metadata)]


def describe(options_class):
    """Returns (name, default, help with range) of every flag, in order, as texts; words stand first, in capitals.

    What follows `--` stands last.
    """
    rows = [(field.name.upper(), None, _with_range(field)) for field in _words(options_class)]
    for field in _flags(options_class):
        default = '""' if field.default == "" else str(field.default)
        rows.append((f"--{field.name}", default, _with_range(field)))
    return rows + [("-- FLAGS", None, field.metadata["help"]) for field in _rest(options_class)]


def _with_range(field):
    limits = _range_text(field)
    variable = field.metadata.get("environment")
    return (
        field.metadata["help"]
        + (f" ({limits})" if limits else "")
        + (f"; where {variable} is set, its value" if variable else "")
    )


def help_text(description, options_class):
    lines = [description.strip(), "", "Flags:"]
    for name, default, text in describe(options_class):
        lines.append(f"  {name}" if default is None else f"  {name}={default}")
        lines.extend(textwrap.wrap(text, 100, initial_indent="      ", subsequent_indent="      "))
    lines.append("  --flagfile=FILE\n      reads flags from a file, one a line")
    return "\n".join(lines)


def run(command, options_class, argv=None, *, with_tensorflow=True):
    """Entry point of every command: parses flags, calls `command(options)` and ends the process.

    A command without TensorFlow spares its users the seconds that the import takes.

    The exit code is 0 for success and for --help, 2 for a mistake of the user's (`InputError`), 1 for a run that
    failed (`RunError`, an error of a file system or of the network), 128 + the signal's number where a signal ended it.
    """
    argv = sys.argv if argv is None else argv
    if _HELP & set(_split(argv)[0][1:]):
        print(help_text(sys.modules[options_class.__module__].__doc__, options_class))
        sys.exit(0)
    try:
        options = parse(options_class, argv)
        if with_tensorflow:
            _import_tensorflow_quietly()
        with _signals_first():
            command(options)
        code = 0
    except InputError as error:
        code = _fail(error, 2)
    except RunError as error:
        code = _fail(error, 1)
    except (FileExistsError, FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        told = f"{error.filename}: {error.strerror}" if error.filename else first_line(error)
        code = _fail(f"{told}; name another file or folder", 2)
    except MemoryError as error:
        code = _fail(f"not enough memory ({error}); a smaller --batch_size or --feature_size needs less", 1)
    except Interrupted as end:
        print(end, file=sys.stderr)
        code = end.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 128 + signal.SIGINT
    except Exception as error:
        if not isinstance(error, (OSError, *errors.of_tensorflow(_REMOTE_ERRORS))):  # not of a disk or a network
            raise
        code = _fail(" ".join(str(getattr(error, "message", error)).split()), 1)
    sys.exit(code)


@contextlib.contextmanager
def _signals_first():
    """Where a signal ends a command and something fails on the way out, the signal is what is told."""
    try:
        yield
    except Exception as error:
        cause = error
        while cause := cause.__context__:
            if isinstance(cause, Interrupted):
                raise cause from None
        raise


def _import_tensorflow_quietly():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what matters is raised as an exception as well
    with quiet_stderr():
        return importlib.import_module("tensorflow")


@contextlib.contextmanager
def quiet_stderr():
    """Keeps the chatter of libraries, which no log level silences, off the terminal."""
    sys.stderr.flush()
    terminal = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(terminal, 2)
        os.close(terminal)
        os.close(nowhere)


def _fail(message, code):
    print(f"error: {message}", file=sys.stderr)
    return code
