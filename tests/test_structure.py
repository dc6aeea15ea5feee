"""The walls between the wings: a module imports only what stands on its floor or below."""

import ast
import pathlib

import pytest
from conftest import ROOT

GROUND = {
    *("errors", "spec", "seeds", "random_noise_generator", "storage", "flags", "pictures", "records", "digits"),
    *(
        "class_lookup",
        "feature_networks",
        "memorisation",
        "metrics",
        "examples",
        "tfrecords",
        "ordered_map",
        "gs",
        "receipt",
        "beam_runner",
        "stop_signals",
    ),
}
STUDIO_COMMANDS = {"train", "eval", "train_features", "export"}
ARENA_COMMANDS = {
    *("generate_and_discriminate", "linear_interpolation", "check_submission", "battle", "tournament", "referee"),
    "replay",
}
DATA_COMMANDS = {"build_records", "describe_records"}
CLOUD_COMMANDS = {"submit", "submit_model", "package_task"}
COMMANDS = STUDIO_COMMANDS | ARENA_COMMANDS | DATA_COMMANDS | CLOUD_COMMANDS
FOLDERS = ("arena", "data", "cloud")
WINGS = {"studio", *FOLDERS}
MODULES = sorted((ROOT / "gan").rglob("*.py"))


def imports(file):
    """The modules of the package that a module imports, as dotted names below `gan`."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "gan":
            below = node.module.partition(".")[2]
            for name in node.names:
                if not name.name.startswith("__"):
                    yield f"{below}.{name.name}" if below in FOLDERS else below or name.name


def wing(name):
    if name.partition(".")[0] in FOLDERS:
        return name.partition(".")[0]
    if name in GROUND:
        return "ground"
    return "command" if name in COMMANDS else "studio"


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(ROOT)))
def test_walls_hold(file):
    name = ".".join(file.relative_to(ROOT / "gan").with_suffix("").parts)
    used = {wing(other) for other in imports(file)}
    if name in COMMANDS:  # a command may call any wing, but only one, and the cloud beside it
        assert "command" not in used
        assert len((used & WINGS) - {"cloud"}) <= 1
    else:
        assert used <= {"ground", wing(name)}


def test_importing_the_package_costs_nothing():
    tree = ast.parse(pathlib.Path(ROOT / "gan" / "__init__.py").read_text())
    assert not [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
