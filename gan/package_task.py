"""Packs a task: one zip that a plain worker with Python runs by one command, and whose results lie in one folder.

    python -m gan.package_task --module=gan.train --output=task.zip -- --preset=sample --num_epochs=20
    python -m gan.package_task --module=gan.train --output=task.zip --data='faces/train*' --pack_data -- --seed=3
    python -m gan.package_task --script=my_script.py --output=task.zip -- --into={results}

The worker needs Python, and on its first run the package index:

    unzip task.zip -d task && python task/run.py

In what follows `--`, {data} and {results} become places on the worker. A script or a notebook finds them as TASK_DATA
and TASK_RESULTS in its environment, too, and runs in the folder of results; a notebook takes NAME=VALUE after `--`, for
its environment. gan.train is told of both by itself, and draws one picture each epoch, unless its flags say otherwise.
On a terminal, what is missing is asked for.
"""

if not __package__:  # `python gan/package_task.py` works like `python -m gan.package_task`
    import pathlib
    import sys

    sys.path[0] = str(pathlib.Path(__file__).absolute().parents[1])

import dataclasses
import re
import shlex
import sys

from gan import flags, storage
from gan.cloud import package, task
from gan.errors import InputError
from gan.flags import flag

_KINDS = ("module", "script", "notebook")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PackageTaskOptions(flags.Options):
    """Flags of `gan.package_task`."""

    module: str = flag("", "what runs: a module, such as gan.train")
    script: str = flag("", "what runs: a Python file")
    notebook: str = flag("", "what runs: an .ipynb file, from its first cell to its last")
    output: str = flag("", "the zip; local or gs://")
    data: str | None = flag(
        None, "data as the worker sees it, comma-separated patterns, local or gs://; empty: none, or embedded digits"
    )
    pack_data: bool | None = flag(None, "the data is here, and goes into the zip")
    own_modules: str = flag("", "Python files and package folders of the current folder that go along, comma-separated")
    requirements: str = flag("", "requirements file with what the entry needs beyond gan")
    extras: str = flag("", "extras of gan that the worker is to have, comma-separated, for instance gpu")
    arguments: tuple = flags.rest("the entry's own flags; for a notebook NAME=VALUE, for its environment")

    def __post_init__(self):
        super().__post_init__()
        if len(self.entries()) > 1:
            given = " and ".join(f"--{kind}={name}" for kind, name in self.entries().items())
            raise InputError(f"{given} exclude each other; give one of them")

    def entries(self):
        """Returns {kind: name} of what is named to run."""
        return {kind: getattr(self, kind) for kind in _KINDS if getattr(self, kind)}


def package_task(options):
    """Packs a task, and prints what is in it.

    Args:
      options: `PackageTaskOptions`.

    Raises:
      InputError: an answer is missing and there is no terminal to ask at, or something cannot be packed.
    """
    if sys.stdin.isatty():
        options = _ask(options)
    if not options.entries():
        raise InputError("--module is missing: what runs, such as gan.train; or give --script or --notebook")
    if not options.output:
        raise InputError("--output is missing: it says where the zip goes, for instance task.zip")
    ((kind, name),) = options.entries().items()
    arguments, data, values = _complete_arguments(options, kind, name)
    if options.pack_data and not data:
        raise InputError("--pack_data needs --data: which files?")
    target = storage.path(options.output)
    replaces = target.exists()
    sizes = task.build(
        target,
        kind=kind,
        name=name,
        arguments=arguments,
        data=data,
        pack_data=bool(options.pack_data),
        own_modules=package.own_modules(options.own_modules, name if kind == "module" else "", [*arguments, *values]),
        requirements=_requirements_file(options.requirements),
        extras=[extra.strip() for extra in options.extras.split(",") if extra.strip()],
    )
    _report(target, replaces, sizes, f"{name} {shlex.join(arguments)}".rstrip(), data)


def _ask(options):
    """Asks for what no flag has answered."""
    answers = {}
    if not options.entries():
        name = _answer("What is to run (a module such as gan.train, a .py or an .ipynb file)?", "gan.train")
        answers[_kind_of(name)] = name
        answers["arguments"] = options.arguments or _words(_answer("Its flags?", ""))
        options = dataclasses.replace(options, **answers)
    if not options.output:
        answers["output"] = _answer("Where does the zip go?", "task.zip")
    is_training = options.module == "gan.train"
    data = flags.command_line("gan.train", options.arguments)[1]["train_data_pattern"] if is_training else ""
    if options.data is None and not data:
        answers["data"] = _answer("Data, as file patterns, local or gs://?", "")
    data = data or answers.get("data", options.data)
    if data and options.pack_data is None and storage.is_local(data):
        answers["pack_data"] = _answer("Put these files into the zip?", "yes").lower() in ("y", "yes")
    return dataclasses.replace(options, **answers)


def _words(text):
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise InputError(f"{text}: {error}; expected flags as on a command line") from None


def _answer(question, default):
    hint = f" [{default}]" if default else " [none]"
    try:
        return input(f"{question}{hint} ").strip() or default
    except EOFError:
        raise InputError("no answer; see --help for the flags that give it") from None


def _kind_of(name):
    return "script" if name.endswith(".py") else "notebook" if name.endswith(".ipynb") else "module"


def _complete_arguments(options, kind, name):
    """Returns (the entry's arguments, the data, the values of the entry's flags as texts)."""
    data = options.data or ""
    if kind == "notebook" and (wrong := [text for text in options.arguments if not re.match(r"[A-Za-z_]\w*=", text)]):
        raise InputError(f"{wrong[0]}: a notebook takes NAME=VALUE after --, which goes into its environment")
    if kind != "module":
        return options.arguments, data, []
    arguments, values = flags.command_line(name, options.arguments)
    texts = [str(value) for value in values.values()]
    if name != "gan.train":
        return arguments, data, texts
    pattern = values["train_data_pattern"]
    if pattern and data:
        raise InputError(f"--data={data} and --train_data_pattern={pattern} mean the same; give one of them")
    data = data or pattern
    own = ["--train_dir={results}", "--export_image_steps=0"]  # what is given stands behind them, and so wins
    own += ["--train_data_pattern={data}"] if data else []
    others = [argument for argument in arguments if not argument.startswith("--train_data_pattern=")]
    return [*own, *others], data, texts


def _requirements_file(name):
    file = storage.path(name) if name else None
    if file and not file.is_file():
        raise InputError(f"--requirements={name}: there is no such file")
    return file


def _report(target, replaces, sizes, line, data):
    packed = {place: size for place, size in sizes.items() if place.startswith("data/")}
    own = sorted({place.split("/")[1] for place in sizes if place.startswith("code/")})
    print(f"{target}: {target.stat().length / 1e6:.1f} MB, runs {line}")
    if replaces:
        print("  in place of the file that was there")
    print(f"  code: {', '.join(own) or 'none'}")
    if packed:
        where = f"{len(packed)} file(s), {sum(packed.values()) / 1e6:.1f} MB, in the zip"
    elif data:
        where = f"{data}, as the worker sees it"
        where += "; --pack_data puts it into the zip" if storage.is_local(data) else ""
    else:
        where = "none named"
    print(f"  data: {where}")
    print(f"on the worker: unzip {target.name} -d task && python task/run.py")


if __name__ == "__main__":
    flags.run(package_task, PackageTaskOptions, with_tensorflow=False)
