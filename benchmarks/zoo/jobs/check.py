"""May a submission battle?"""

import functools

from benchmarks.zoo import commands
from benchmarks.zoo.jobs.job import Job
from gan import storage


def job(point):
    work = functools.partial(check, point=point)
    return Job("check", point.preset, (point.preset,), work, (("train", point.name),), minutes=0.5)


def check(comparison, point):
    """Asks `gan.check_submission`; returns the rules that fail and those that warn, and all messages."""
    options = comparison.options
    output = comparison.folder / "check" / point.preset
    output.rmtree(missing_ok=True)
    commands.run(
        "check_submission",
        *(f"--train_dir={comparison.submission(point)}", f"--output_dir={output}", "--json", commands.OWN_MODELS),
        *comparison.data_flags(input=options.validation_data_pattern, train=options.train_data_pattern),
        fine=(0, 1),  # 1: it may not battle
    )
    findings = storage.read_json(output / "check.json")["findings"]
    failed, warned = ([f["rule"] for f in findings if f["status"] == status] for status in ("FAIL", "WARN"))
    return {"failed": failed, "warned": warned, "messages": {f["rule"]: f["message"] for f in findings}}
