"""A packed task runs where there is nothing but Python, and leaves what came of it in one folder."""

import json
import os
import pty
import re
import runpy
import shutil
import signal
import subprocess
import sys
import unittest.mock
import zipfile

import pytest
import record_files
from conftest import ROOT
from environments import empty_environment
from packaging.requirements import Requirement
from PIL import Image

import gan
from gan import package_task
from gan.errors import InputError

ENVIRONMENT = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
SCRIPT = """
import glob, os, pathlib, sys
pathlib.Path("out.txt").write_text(" ".join(sys.argv[1:]))
for file in sorted(glob.glob(os.environ["TASK_DATA"])):
    print(os.path.basename(file), os.path.getsize(file))
sys.exit(3)
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current folder; the tests' input is no terminal."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "stdin", open(os.devnull))
    return folder


def pack(**settings):
    package_task.package_task(package_task.PackageTaskOptions(**{"output": "task.zip", **settings}))


def unpack(folder, target, name="task.zip"):
    with zipfile.ZipFile(folder / name) as archive:
        archive.extractall(target)
    return target


def run(task, *flags, python=sys.executable, **settings):
    line = [str(python), str(task / "run.py"), *map(str, flags)]
    settings = {"env": ENVIRONMENT, "cwd": task.parent, **settings}
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=300, **settings)


@pytest.mark.slow
def test_training_runs_in_an_empty_environment(command, here, tmp_path):
    flags = ["--preset=sample", "--batch_size=128", "--num_epochs=3", "--held_out_images=0"]
    packed = command("package_task", "--module=gan.train", "--output=task.zip", "--", *flags, cwd=here, input="")
    assert packed.returncode == 0, packed.stderr
    assert "runs gan.train" in packed.stdout

    python = empty_environment(tmp_path / "environment")
    probe = subprocess.run([python, "-c", "import numpy, gan"], env=ENVIRONMENT, capture_output=True, check=False)
    assert b"No module named 'gan'" in probe.stderr
    task = unpack(here, tmp_path / "worker")
    done = run(task, "--here", python=python)
    assert done.returncode == 0, done.stdout + done.stderr

    results = task / "results"
    assert {entry.name for entry in task.iterdir()} == {"run.py", "task.json", "requirements.txt", "code", "results"}
    images = sorted(file.name for file in (results / "images").iterdir())
    assert images == ["000.png", "001.png", "002.png", "003.png", "training.gif"]  # before training, and each epoch
    assert Image.open(results / "images" / "training.gif").n_frames == 4
    steps = 3 * 1437 // 128
    assert (results / f"model.ckpt-{steps}.index").exists() and (results / "resume" / f"step_{steps}.npz").exists()
    assert f"training step {steps} |" in (results / "train.log").read_text()
    log = (results / "task.log").read_text()
    assert f"to step {steps} (--num_epochs=3)" in log and log.endswith("exit code 0\n")
    assert not list(task.rglob("*.tmp"))


@pytest.mark.exhaustive
def test_without_anything_installed_it_makes_an_environment(here, tmp_path):
    """From a folder of wheels here; a worker asks the package index."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "tiny_library-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny_library.py", "WORD = 'installed'")
        facts = {"METADATA": "Metadata-Version: 2.1\nName: tiny-library\nVersion: 1.0\n"}
        facts["WHEEL"] = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        for name, text in {**facts, "RECORD": ""}.items():
            wheel.writestr(f"tiny_library-1.0.dist-info/{name}", text)
    (here / "entry.py").write_text("import tiny_library\nprint(tiny_library.WORD)")
    (here / "needs.txt").write_text("tiny-library==1.0\n")
    pack(script="entry.py", requirements="needs.txt")
    task = unpack(here, tmp_path / "worker")

    offline = {**ENVIRONMENT, "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
    failed = run(task, env=offline)
    assert failed.returncode == 1 and "run.py --here uses them" in failed.stderr
    for times in (1, 2):
        done = run(task, env={**offline, "PIP_FIND_LINKS": str(wheels)})
        assert (done.returncode, done.stdout.count("\ninstalled\n")) == (0, 1), done.stderr
        assert done.stdout.count("installing into") == (times == 1)


def test_a_script_finds_its_data_and_leaves_its_results(here, tmp_path):
    (here / "entry.py").write_text(SCRIPT)
    for number in range(3):
        (here / f"part{number}").write_bytes(bytes(number))
    pack(script="entry.py", data="part*", pack_data=True, arguments=("{results}", "--x={nothing}"))
    task = unpack(here, tmp_path / "worker")
    done = run(task, "--here")
    assert done.returncode == 3, done.stderr
    assert done.stdout.splitlines()[1:] == ["part0 0", "part1 1", "part2 2"]
    assert (task / "results" / "out.txt").read_text() == f"{task / 'results'} --x={{nothing}}"
    assert (task / "results" / "task.log").read_text() == "part0 0\npart1 1\npart2 2\nexit code 3\n"

    done = run(task, "--here", "--results=elsewhere", f"--data={here}/part2")
    assert done.stdout.splitlines()[1:] == ["part2 2"]
    assert (tmp_path / "elsewhere" / "out.txt").read_text() == f"{tmp_path / 'elsewhere'} --x={{nothing}}"


def test_remote_data_is_left_where_it_is(here, tmp_path):
    (here / "entry.py").write_text("import os; print(os.environ['TASK_DATA'])")
    pack(script="entry.py", data="gs://bucket/a*, /mnt/b")
    assert "gs://bucket/a*,/mnt/b\n" in run(unpack(here, tmp_path / "worker"), "--here").stdout


@pytest.mark.parametrize(
    "number, arrives",
    [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGINT), (signal.SIGHUP, signal.SIGTERM)],
)
def test_a_signal_reaches_what_runs(here, tmp_path, number, arrives):
    (here / "entry.py").write_text(
        "import signal, sys\n"
        "for number in (signal.SIGTERM, signal.SIGINT): signal.signal(number, lambda n, _: sys.exit(40 + n))\n"
        "print('ready')\nsignal.pause()"
    )
    pack(script="entry.py")
    task = unpack(here, tmp_path / "worker")
    line = [sys.executable, task / "run.py", "--here"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        while process.stdout.readline() != "ready\n":
            assert process.poll() is None
        process.send_signal(number)
        assert process.wait(60) == 40 + arrives
    assert (task / "results" / "task.log").read_text() == f"ready\nexit code {40 + arrives}\n"


def test_it_goes_on_when_nobody_reads_any_more(here, tmp_path):
    (here / "entry.py").write_text("import sys\nfor number in range(3): print(number, 'x' * 100_000, flush=True)")
    pack(script="entry.py")
    task = unpack(here, tmp_path / "worker")
    line = [sys.executable, task / "run.py", "--here"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
        process.stdout.readline()
        process.stdout.close()
        assert (process.wait(60), process.stderr.read()) == (0, b"")
    log = (task / "results" / "task.log").read_text()
    assert [line[:2] for line in log.splitlines()] == ["0 ", "1 ", "2 ", "ex"]


@pytest.mark.slow
def test_a_notebook_is_executed(here, tmp_path):
    import nbformat

    cells = ["%matplotlib inline\nimport os", "!echo\nprint('word', os.environ['WORD'])", "1 / 0"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbformat.write(notebook, here / "look.ipynb")
    pack(notebook="look.ipynb", arguments=("WORD=of={data}",), data="gs://x")
    task = unpack(here, tmp_path / "worker")
    assert "nbclient" in (task / "requirements.txt").read_text()
    done = run(task, "--here")
    assert done.returncode == 1
    assert "\nword of=gs://x\n" in done.stdout
    assert "error: a cell failed: ZeroDivisionError: division by zero" in done.stdout
    executed = nbformat.read(task / "results" / "look.ipynb", as_version=4)
    assert executed.cells[1].outputs[-1].text.endswith("word of=gs://x\n")
    assert executed.cells[2].outputs[0].ename == "ZeroDivisionError"


def test_the_same_task_has_the_same_bytes_and_harmless_names(here):
    (here / "my_models.py").write_text("import gan.models")
    os.utime(here / "my_models.py", (0, 0))
    settings = {"module": "gan.train", "own_modules": "my_models.py", "extras": "gpu"}
    settings["arguments"] = ("--generator_model=my_models.G",)
    pack(**settings)
    os.utime(here / "my_models.py", (1e9, 1e9))
    pack(**settings, output="again.zip")
    assert (here / "task.zip").read_bytes() == (here / "again.zip").read_bytes()
    with zipfile.ZipFile(here / "task.zip") as archive:
        names = archive.namelist()
        requirements = archive.read("requirements.txt").decode()
    assert {
        "run.py",
        "task.json",
        "code/my_models.py",
        "code/gan/train.py",
        "code/gan/arena/templates/base.html",
    } <= set(names)
    assert len(set(names)) == len(names)
    for name in names:
        assert not re.search(r"^/|\\|(^|/)\.|__pycache__|\.pyc$|^[A-Z]:", name), name
    assert re.search(r"^tensorflow\b", requirements, re.MULTILINE) and "and-cuda" in requirements
    assert not re.search("pytest|extra", requirements)


def test_what_gan_train_is_told(here):
    record_files.write_images(here / "faces", [[0] * 2500] * 3)
    (here / "flags.txt").write_text("--seed=7\n")
    pack(
        module="gan.train",
        pack_data=True,
        arguments=("--train_data_pattern", "faces", "--flagfile=flags.txt", "--export_image_steps=9"),
    )
    with zipfile.ZipFile(here / "task.zip") as archive:
        facts = json.loads(archive.read("task.json"))
        assert archive.read("data/faces") == (here / "faces").read_bytes()
    assert facts["arguments"] == [
        *("--train_dir={results}", "--export_image_steps=0", "--train_data_pattern={data}"),
        *("--seed=7", "--export_image_steps=9"),
    ]
    assert (facts["data"], facts["packed"]) == ("data/faces", "data/faces")
    assert facts["python"] == ">=3.10,<3.14"


KEY = "-----BEGIN RSA " + "PRIVATE KEY-----"


@pytest.mark.parametrize(
    "words, settings",
    [
        ("--module is missing", {}),
        ("--output is missing", {"module": "gan.train", "output": ""}),
        ("--module=a and --script=b.py exclude each other", {"module": "a", "script": "b.py"}),
        ("--module=gan.trian: there is no such module", {"module": "gan.trian"}),
        ("Unknown command line flag 'max_stepz'", {"module": "gan.train", "arguments": ("--max_stepz=3",)}),
        ("--max_steps=0: expected at least 1", {"module": "gan.train", "arguments": ("--max_steps=0",)}),
        ("flags.txt", {"module": "gan.train", "arguments": ("--flagfile=flags.txt",)}),
        ("mean the same", {"module": "gan.train", "data": "a", "arguments": ("--train_data_pattern=b",)}),
        ("--pack_data needs --data", {"module": "gan.train", "pack_data": True}),
        ("no file matches 'none*'", {"module": "gan.train", "data": "none*", "pack_data": True}),
        ("several files have the same name", {"script": "alone.py", "data": "a/x,b/x", "pack_data": True}),
        ("--script=none.py: expected the name of a file", {"script": "none.py"}),
        ("--script=a/x: expected the name of a file that ends in .py", {"script": "a/x"}),
        ("broken.py, line 2: invalid syntax", {"script": "broken.py"}),
        ("bad.ipynb cannot be read; expected a notebook", {"notebook": "bad.ipynb"}),
        ("--seed=3: a notebook takes NAME=VALUE", {"notebook": "bad.ipynb", "arguments": ("--seed=3",)}),
        ("good.py imports helper, which does not go along: add --own_modules=helper", {"script": "good.py"}),
        ("add --own_modules=helper", {"module": "gan.train", "arguments": ("--label_loss=helper.Loss",)}),
        ("--requirements=no.txt", {"script": "alone.py", "requirements": "no.txt"}),
        ("--extras=tpu: gan has no such extra; it has", {"module": "gan.train", "extras": "tpu"}),
        ("nothing in this task imports", {"script": "alone.py", "extras": "gpu"}),
        ("secret.py holds what looks like a key", {"script": "secret.py"}),
        ("what follows -- holds what looks like a key", {"script": "alone.py", "arguments": (KEY,)}),
        ("requirements.txt holds what looks like a key", {"script": "alone.py", "requirements": "keyed.txt"}),
        ("add --own_modules=helper", {"module": "gan.train", "arguments": ("--label_loss", "helper.Loss")}),
    ],
)
def test_what_cannot_be_packed_is_refused(here, words, settings):
    for name in "ab":
        (here / name).mkdir()
        (here / name / "x").write_text("")
    (here / "helper").mkdir()
    (here / "helper" / "__init__.py").write_text("")
    (here / "alone.py").write_text("import json")
    (here / "good.py").write_text("import helper.thing")
    (here / "broken.py").write_text("import os\nimport\n")
    (here / "bad.ipynb").write_text("[]")
    (here / "secret.py").write_text(f"key = '''{KEY}'''")
    (here / "keyed.txt").write_text("git+https://gh" + "p_" + 36 * "a" + "@github.com/x/y\n")
    with pytest.raises(InputError, match=re.escape(words)):
        pack(**settings)
    assert not (here / "task.zip").exists()


@pytest.fixture
def another_gan(here, monkeypatch):
    """A copy of the package, with something in it that is none of its own, as that which runs."""
    copy = shutil.copytree(ROOT / "gan", here / "copy" / "gan", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(gan, "__file__", str(copy / "__init__.py"))
    return copy


def test_what_is_not_of_the_package_does_not_go_along(another_gan, here):
    (another_gan / "service_account.json").write_text(KEY)
    pack(module="gan.train")
    with zipfile.ZipFile(here / "task.zip") as archive:
        assert not [name for name in archive.namelist() if "service_account" in name]


def test_a_key_in_the_code_of_the_package_is_seen(another_gan, here):
    (another_gan / "my_losses.py").write_text(f"key = '''{KEY}'''")
    with pytest.raises(InputError, match=r"code/gan/my_losses\.py holds what looks like a key"):
        pack(module="gan.train")


def test_requirements_of_another_version_are_refused(here, monkeypatch):
    monkeypatch.setattr(gan, "__version__", "99.0")
    with pytest.raises(InputError, match=r"^gan [\d.]+ is installed here, but this is the code of 99\.0, .*again$"):
        pack(module="gan.train")


def test_the_worker_gets_what_setup_py_asks_for(here):
    wanted = []
    with unittest.mock.patch("setuptools.setup", lambda **given: wanted.extend(given["install_requires"])):
        runpy.run_path(str(ROOT / "setup.py"))
    pack(module="gan.train")
    with zipfile.ZipFile(here / "task.zip") as archive:
        found = archive.read("requirements.txt").decode().splitlines()
    assert {Requirement(line) for line in found} == {Requirement(line) for line in wanted}


def test_own_modules_go_along(here, tmp_path):
    (here / "helper").mkdir()
    (here / "helper" / "__init__.py").write_text("from helper import word")
    (here / "helper" / "word.py").write_text("import other\nWORD = other.WORD")
    (here / "other.py").write_text("WORD = 'from the other'")
    (here / "entry.py").write_text("import helper\nprint(helper.word.WORD)")
    with pytest.raises(InputError, match=r"helper/word\.py imports other, which does not go along"):
        pack(script="entry.py", own_modules="helper")
    pack(script="entry.py", own_modules="helper/,other.py")
    assert "from the other\n" in run(unpack(here, tmp_path / "worker"), "--here").stdout


def test_what_is_missing_is_asked_for_on_a_terminal(here):
    (here / "entry.py").write_text("print(1)")
    (here / "numbers.csv").write_text("1,2")
    output = terminal(here, [], {"What is to run": "entry.py", "flags?": "--a 'b c'", "zip go": "", "Data": "*.csv"})
    assert "Put these files into the zip? [yes]" in output
    with zipfile.ZipFile(here / "task.zip") as archive:
        facts = json.loads(archive.read("task.json"))
        assert "data/numbers.csv" in archive.namelist()
    assert (facts["kind"], facts["name"], facts["arguments"]) == ("script", "entry.py", ["--a", "b c"])
    (here / "faces").write_text("")
    flags = ["--output=faces.zip", "--module=gan.train", "--", "--train_data_pattern=faces"]
    assert re.findall(r"^.+\?", terminal(here, flags, {}), re.MULTILINE) == ["Put these files into the zip?"]
    with zipfile.ZipFile(here / "faces.zip") as archive:
        assert "data/faces" in archive.namelist()
    answered = ["--script=entry.py", "--output=other.zip", "--data=gs://x"]
    assert "?" not in terminal(here, answered, {})
    assert (here / "other.zip").exists()
    assert "error: --a ': No closing quotation; expected flags" in terminal(here, [], {"flags?": "--a '"}, code=2)


def terminal(folder, flags, answers, code=0):
    """Runs the command on a terminal, answers each question whose words occur, others by Return; returns the text."""
    master, slave = pty.openpty()
    line = [sys.executable, "-m", "gan.package_task", *flags]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(line, cwd=folder, stdin=slave, stdout=slave, stderr=slave, env=environment) as process:
        os.close(slave)
        text = asked = ""
        while True:
            try:
                new = os.read(master, 4096).decode()
            except OSError:  # the other side is closed
                break
            text, asked = text + new, asked + new
            if asked.endswith("] "):
                answer = next((given for words, given in answers.items() if words in asked), "")
                os.write(master, f"{answer}\n".encode())
                asked = ""
        assert process.wait(60) == code, text
    os.close(master)
    return text


def test_a_worker_that_cannot_run_it_is_told(here, tmp_path):
    (here / "entry.py").write_text("print(1)")
    (here / "x").write_text("")
    pack(script="entry.py", data="x", pack_data=True)
    odd = unpack(here, tmp_path / "a,b")
    for flags, words in (
        (["--here"], "error: move the task to a folder without any of"),
        (["--here", "--results=gs://x"], "error: --results=gs://x: expected a folder of this machine"),
        (["--here", "--data=x", f"--results={here}/x/y"], f"error: --results={here}/x/y: Not a directory"),
    ):
        done = run(odd, *flags)
        assert done.returncode == 2 and done.stderr.startswith(words) and done.stderr.count("\n") == 1
    done = run(odd, "--her")
    assert done.returncode == 2 and "unrecognized arguments: --her" in done.stderr
    pack(module="gan.train", output="bare.zip")
    done = run(unpack(here, tmp_path / "bare", "bare.zip"), "--here", "--data=x")
    assert done.returncode == 2 and done.stderr.startswith("error: --data=x: this task was packed without data")
    facts = json.loads((odd / "task.json").read_text())
    (odd / "task.json").write_text(json.dumps({**facts, "python": ">=3.1,<3.2"}))
    done = run(odd, "--here")
    assert done.returncode == 2 and "and the task needs >=3.1,<3.2" in done.stderr
