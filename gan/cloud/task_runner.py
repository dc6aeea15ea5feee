"""Runs the task in whose folder it lies: `python run.py`. It needs Python and nothing else.

It makes an environment beside itself, `.venv`, installs `requirements.txt` into it (the first time), and runs what
`task.json` names. Everything that comes of it, with the log `task.log`, goes into one folder. The same command goes on
where a run was stopped.
"""

import argparse
import json
import os
import pathlib
import re
import signal
import subprocess
import sys

TASK = pathlib.Path(__file__).absolute().parent


def main():
    task = json.loads((TASK / "task.json").read_text(encoding="utf-8"))
    options = parse(task)
    refuse_wrong_python(task["python"])
    if "://" in options.results:
        refuse(f"--results={options.results}: expected a folder of this machine")
    results = pathlib.Path(options.results).expanduser().absolute()
    try:
        results.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        refuse(f"--results={options.results}: {error.strerror}")
    python = sys.executable if options.here else prepared_python()
    values = {"data": location(options.data, task["packed"]), "results": str(results)}
    os.environ.update({"TASK_" + name.upper(): value for name, value in values.items()})
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(TASK / "code"), os.environ.get("PYTHONPATH")]))
    os.environ["PYTHONUNBUFFERED"] = "1"
    print("results go to", results, flush=True)
    return run([python, *command(task, values)], results)


def parse(task):
    parser = argparse.ArgumentParser(
        description="Runs {} with everything it needs; results go into one folder.".format(task["name"]),
        allow_abbrev=False,
    )
    parser.add_argument("--results", default=str(TASK / "results"), help="folder for everything that comes of it")
    parser.add_argument(
        "--data", default=task["data"], help="data in place of what was named when the task was packed: file patterns"
    )
    parser.add_argument(
        "--here", action="store_true", help="use this Python and what is installed in it, and install nothing"
    )
    options = parser.parse_args()
    if options.data and task["kind"] == "module" and not any("{data}" in argument for argument in task["arguments"]):
        refuse(f"--data={options.data}: this task was packed without data, and its flags say what it reads")
    return options


def refuse_wrong_python(wanted):
    """Insists on a Python that the requirements support: `wanted` is like ">=3.10,<3.14", or "" for any."""
    bounds = [tuple(map(int, bound)) for bound in re.findall(r"(\d+)\.(\d+)", wanted)]
    if bounds and not bounds[0] <= sys.version_info[:2] < bounds[-1]:
        refuse("this is Python {}.{}, and the task needs {}".format(*sys.version_info[:2], wanted))


def refuse(message):
    """Ends the process with the exit code of a mistake."""
    print("error:", message, file=sys.stderr)
    sys.exit(2)


def location(data, packed):
    """Returns where the data is, as absolute paths; URIs stay as they are."""
    if packed and data == packed:
        if re.search(r"[*?\[,]", str(TASK)):
            refuse(f"move the task to a folder without any of *?[, in its name, which is {TASK}")
        return str(TASK / packed)
    parts = [part.strip() for part in data.split(",") if part.strip()]
    return ",".join(part if "://" in part else os.path.abspath(os.path.expanduser(part)) for part in parts)


def prepared_python():
    """Returns the Python of `.venv`, which is made, and filled with what `requirements.txt` names, where it is not."""
    folder = TASK / ".venv"
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    requirements, installed = TASK / "requirements.txt", folder / "installed.txt"
    if installed.exists() and installed.read_bytes() == requirements.read_bytes():
        return str(python)
    print("installing into", folder, flush=True)
    for line in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(requirements)],
    ):
        if subprocess.call(line):
            sys.exit(
                "error: this failed: {}\nWhere the packages are installed already, run.py --here uses them".format(
                    " ".join(line)
                )
            )
    installed.write_bytes(requirements.read_bytes())
    return str(python)


def command(task, values):
    """Returns what Python is to run, with {data} and {results} filled in."""
    arguments = [re.sub(r"\{(data|results)\}", lambda found: values[found[1]], a) for a in task["arguments"]]
    if task["kind"] == "module":
        return ["-m", task["name"], *arguments]
    entry = str(TASK / "code" / task["name"])
    if task["kind"] == "script":
        return [entry, *arguments]
    os.environ.update(argument.split("=", 1) for argument in arguments)
    return [str(TASK / "run_notebook.py"), entry, str(pathlib.Path(values["results"]) / task["name"])]


def run(line, results):
    """Runs a command in the folder of results, copies what it prints to the log, and returns its exit code."""
    process = subprocess.Popen(  # in a group of its own: signals come from here alone, so each of them once
        line, cwd=results, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: process.send_signal(number))
    if hasattr(signal, "SIGHUP"):  # not on Windows; the connection is lost: it may save, and ends
        signal.signal(signal.SIGHUP, lambda *_: process.terminate())
    with (results / "task.log").open("ab") as log:
        for text in iter(lambda: process.stdout.read1(1 << 16), b""):
            log.write(text)
            log.flush()
            show(text)
        code = process.wait()
        code = code if code >= 0 else 128 - code
        log.write(f"exit code {code}\n".encode())
    return code


def show(text):
    try:
        sys.stdout.buffer.write(text)
        sys.stdout.flush()
    except BrokenPipeError:  # nobody looks any more; the log has it all
        sys.stdout = open(os.devnull, "w")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted")
