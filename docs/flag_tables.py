"""Writes the README's flag tables anew from the code (`make readme`); a test checks that they are current."""

import importlib
import pathlib

from gan import flags

README = pathlib.Path(__file__).parent.parent / "README.md"
OPTIONS = {
    "train": "TrainOptions",
    "eval": "EvalOptions",
    "generate_and_discriminate": "BattleOptions",
    "linear_interpolation": "InterpolationOptions",
    "check_submission": "CheckSubmissionOptions",
    "battle": "BattleOptions",
    "tournament": "TournamentOptions",
    "referee": "RefereeOptions",
    "replay": "ReplayOptions",
    "train_features": "TrainFeaturesOptions",
    "build_records": "BuildOptions",
    "describe_records": "DescribeOptions",
    "export": "ExportOptions",
    "submit": "SubmitOptions",
    "submit_model": "SubmitModelOptions",
    "package_task": "PackageTaskOptions",
}


def table(command):
    """Returns the flags of a command as a Markdown table."""
    options = getattr(importlib.import_module(f"gan.{command}"), OPTIONS[command])
    rows = ["| flag | default | meaning |", "| --- | --- | --- |"]
    rows += [
        f"| `{name}` | {'' if default is None else f'`{default}`'} | {text} |"
        for name, default, text in flags.describe(options)
    ]
    return "\n".join(rows)


def with_current_tables(text):
    """Returns the README's text with every table between its markers replaced."""
    for command in OPTIONS:
        before, begin, rest = text.partition(f"<!-- flags of {command} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        if not end:
            raise ValueError(f"README.md has no markers for the flags of {command}")
        text = f"{before}{begin}{table(command)}\n{end}{after}"
    return text


if __name__ == "__main__":
    README.write_text(with_current_tables(README.read_text()))
