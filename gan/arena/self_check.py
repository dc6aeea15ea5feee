"""A team's own check of its submission, by the rules of the organiser."""

from gan.arena import check, check_report, player, sandbox
from gan.errors import SubmissionError


def run(folder, options, examples):
    """Checks the submission in a folder.

    Args:
      folder: an `epath.Path`.
      options: an `options.CheckOptions`.
      examples: see `examples`.

    Returns:
      (`snapshot.Snapshot` or None, `check.Report`); the snapshot's files are gone.
    """
    sandboxed = sandbox.resolve(options.sandbox)
    try:
        with player.visiting(folder, sandboxed, options.time_limit) as visitor:
            return visitor.files, check_report.of_snapshot(visitor.files, visitor, examples)
    except SubmissionError as error:
        return None, check_report.of_failure(str(error))


def examples(options):
    """Returns the `check.Examples` that the options name.

    Real images are the embedded digits, or those that a pattern names; without any, what needs them is skipped.
    """
    named = options.input_data_pattern or options.validation_data_pattern or options.train_data_pattern
    reals = options.load_reals() if options.input_data_pattern or not named else None
    return check.Examples(options.contest, reals, options.load_training(), options.load_validation(), options.seed)


def print_findings(report):
    for finding in report.findings:
        print(f"{finding.status}  {finding.rule}: {finding.message}")
