"""The images' recipes, without a Docker engine: linted, held to rules, and their steps done here one by one."""

import io
import json
import os
import pathlib
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
import unittest.mock

import pytest
from conftest import ROOT
from dockerfile_parse import DockerfileParser

from gan.cloud import package

RECIPES = sorted((ROOT / "docker").glob("*.Dockerfile"))
pytestmark = pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)


def steps(recipe):
    """Returns the (instruction, value) pairs of a recipe, without its comments."""
    parser = DockerfileParser(fileobj=io.BytesIO(recipe.read_bytes()))
    return [(step["instruction"], step["value"]) for step in parser.structure if step["instruction"] != "COMMENT"]


def values(recipe, instruction):
    return [value for name, value in steps(recipe) if name == instruction]


def test_a_linter_finds_nothing(recipe):
    linter = pathlib.Path(sys.executable).with_name("hadolint")
    found = subprocess.run([linter, "--no-color", recipe], capture_output=True, text=True, check=False)
    assert found.stdout + found.stderr == ""


def test_bases_are_pinned_by_tag_and_hash(recipe):
    bases = {value.split()[0] for value in values(recipe, "FROM")}
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+@sha256:[0-9a-f]{64}", bases.pop())


def test_runs_as_an_ordinary_user_and_any_command(recipe):
    assert values(recipe, "USER")[-1] == "1000"
    assert "useradd --create-home --uid=1000 gan" in values(recipe, "RUN")
    assert not values(recipe, "ENTRYPOINT")  # with one, a command would become its arguments
    assert json.loads(values(recipe, "CMD")[0])[:2] == ["python3", "-m"]


def test_only_sources_of_the_package_get_in(recipe):
    copied = [value for value in values(recipe, "COPY") if not value.startswith("--from=build ")]
    allowed = set(package.SOURCES)
    assert {name for value in copied for name in value.split()[:-1]} == allowed
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert let_in == allowed
    assert not values(recipe, "ADD") and not values(recipe, "ARG")
    secret = re.compile(r"(?i)key|token|secret|password|credential")
    assert not [step for step in steps(recipe) if secret.search(step[1])]


def test_what_it_installs_beyond_the_package_is_one_of_its_extras(recipe):
    """pip itself installs an unknown extra without a word of blame."""
    with unittest.mock.patch("setuptools.setup") as setup:
        runpy.run_path(str(ROOT / "setup.py"))
    wanted = [name for value in values(recipe, "RUN") for name in re.findall(r"\.whl\)\[([\w,-]+)\]", value)]
    assert wanted
    assert set(wanted) <= set(setup.call_args.kwargs["extras_require"])


@pytest.mark.slow
def test_its_steps_install_what_it_runs(recipe, tmp_path):
    """Each step in a folder of its own; the libraries are those of this environment, so nothing is downloaded."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    libraries = sysconfig.get_path("purelib")
    own = next((tmp_path / "venv").glob("lib/python*/site-packages"))
    environment = {
        **os.environ,
        "PATH": f"{tmp_path / 'venv' / 'bin'}:{os.environ['PATH']}",
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "false",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }

    def run(line, **more):
        line = line if isinstance(line, list) else ["bash", "-euc", inside(line)]
        done = subprocess.run(
            line, cwd=here, env={**environment, **more}, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def inside(text):
        """The text with the container's own places in the folder of this test."""
        return re.sub(r"(?<![\w.])/(?=(build|wheels|home)\b)", f"{tmp_path}/", text)

    here = tmp_path
    for instruction, value in steps(recipe):
        if instruction == "WORKDIR":
            here = pathlib.Path(inside(value))
            here.mkdir(parents=True)
        elif instruction == "COPY":
            *names, target = value.removeprefix("--from=build ").split()
            for name in names:
                source = pathlib.Path(inside(name)) if value.startswith("--from") else ROOT / name
                if source.is_dir():
                    shutil.copytree(source, here / inside(target))
                else:
                    shutil.copy(source, here / inside(target))
        elif instruction == "RUN" and not value.startswith("useradd "):
            # Only setuptools, to build with, comes from here; while installing, nothing is there yet, as in the image.
            run(value, PYTHONPATH=libraries if "pip wheel" in value else "")
        elif instruction == "CMD":
            reached = f"{own}{os.pathsep}{libraries}"
            assert run([*json.loads(value), "--help"], PYTHONPATH=reached).count("--flagfile=FILE") == 1
            place = "import gan; print(gan.__file__)"
            assert run(["python3", "-c", place], PYTHONPATH=reached).startswith(str(own))
