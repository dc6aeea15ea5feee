"""Checks a submission against every rule of the contest: a line each, and what to change.

    python -m gan.check_submission --train_dir=my_run
    python -m gan.check_submission --train_dir=my_run --input_data_pattern='faces/validation*' \\
        --train_data_pattern='faces/train*'

Exit code 0 if the submission may battle (warnings are allowed), 1 if it may not. The organiser runs the same check.
"""

if not __package__:  # `python gan/check_submission.py` works like `python -m gan.check_submission`
    import pathlib
    import sys

    sys.path[0] = str(pathlib.Path(__file__).absolute().parents[1])

import dataclasses
import json

from etils import epy

from gan import flags, storage
from gan.arena import options as arena_options
from gan.errors import RunError
from gan.flags import flag

with epy.lazy_imports():
    from gan.arena import check_report, self_check, teams


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckSubmissionOptions(arena_options.CheckOptions):
    """Flags of `gan.check_submission`."""

    train_dir: str = flag("/tmp/kmlc_gan_train/", "submission to check")
    sandbox: str = flags.inherit(arena_options.SandboxOptions, "sandbox", "auto")
    json: bool = flag(False, "print the findings as JSON")
    output_dir: str = flag("", "folder for check.json and pictures (generated images, nearest training images)")


def check_submission(options):
    """Checks, and prints the findings.

    Args:
      options: `CheckSubmissionOptions`.

    Returns:
      The findings as plain data.

    Raises:
      RunError: the submission may not battle.
    """
    team = teams.Team("submission", options.train_dir)
    examples = self_check.examples(options)
    files, report = self_check.run(storage.path(options.train_dir), options, examples)
    data = check_report.as_data(team, files, report)
    if options.output_dir:
        check_report.write(storage.path(options.output_dir), team, files, report, examples)
    if options.json:
        print(json.dumps(data, indent=2))
    else:
        self_check.print_findings(report)
    if not report.may_battle:
        raise RunError(f"{options.train_dir} may not battle: {report.first_failure()}")
    if not options.json:
        warnings = len(report.warned())
        print(f"{options.train_dir} may battle" + (f"; {warnings} warnings" if warnings else ""))
    return data


if __name__ == "__main__":
    flags.run(check_submission, CheckSubmissionOptions)
