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
from gan.errors import RunError, SubmissionError
from gan.flags import flag

with epy.lazy_imports():
    from gan.arena import check, check_report, player, sandbox, teams


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
    examples = _examples(options)
    files, report = _check(options, examples)
    data = check_report.as_data(team, files, report)
    if options.output_dir:
        check_report.write(storage.path(options.output_dir), team, files, report, examples)
    if options.json:
        print(json.dumps(data, indent=2))
    else:
        for finding in report.findings:
            print(f"{finding.status}  {finding.rule}: {finding.message}")
    if not report.may_battle:
        raise RunError(f"{options.train_dir} may not battle: {report.first_failure()}")
    if not options.json:
        warnings = len(report.warned())
        print(f"{options.train_dir} may battle" + (f"; {warnings} warnings" if warnings else ""))
    return data


def _check(options, examples):
    """Returns (`snapshot.Snapshot` or None, `check.Report`)."""
    sandboxed = sandbox.resolve(options.sandbox)
    try:
        with player.visiting(storage.path(options.train_dir), sandboxed, options.time_limit) as visitor:
            return visitor.files, check_report.of_snapshot(visitor.files, visitor, examples)
    except SubmissionError as error:
        return None, check_report.of_failure(str(error))


def _examples(options):
    """Real images are the embedded digits, or those that a pattern names; without any, what needs them is skipped."""
    named = options.input_data_pattern or options.validation_data_pattern or options.train_data_pattern
    reals = options.load_reals() if options.input_data_pattern or not named else None
    return check.Examples(options.contest, reals, options.load_training(), options.load_validation(), options.seed)


if __name__ == "__main__":
    flags.run(check_submission, CheckSubmissionOptions)
