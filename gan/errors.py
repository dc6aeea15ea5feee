"""The errors whose message is meant for the person at the terminal.

A message says what was wrong, the value received, and what would be right. `gan.flags.run` prints it as one line
and turns it into an exit code; anything else that is raised is a bug and keeps its traceback.
"""

import re
import sys


class InputError(Exception):
    """A flag, a file or a class that the user gave cannot be used: exit code 2."""


class SubmissionError(InputError):
    """A submission that may not battle; the message says why and what to change.

    The message may quote the submission, so what a terminal could take for a command is escaped, and it is cut short.
    """

    def __init__(self, message):
        super().__init__(printable(message))


class Fault(SubmissionError):
    """A model gave no output, or not one that the contract allows; the message is the reason.

    `side` is "generator" or "discriminator".
    """

    def __init__(self, side, message):
        super().__init__(message)
        self.side = side


class RunError(Exception):
    """The input was fine but the run failed (loss not a number, disk full, ...): exit code 1."""


class Interrupted(BaseException):
    """A signal ended the run after it had saved: exit code 128 + the signal's number, as shells have it.

    Like KeyboardInterrupt it is no `Exception`: a handler of what failed must not take it for a failure.
    """

    def __init__(self, message, signal_number):
        super().__init__(message)
        self.exit_code = 128 + signal_number


def printable(text, longest=1000):
    """Returns a stranger's text as one line that is safe on a terminal: control characters escaped, cut short."""
    escaped = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: longest + 1])
    return escaped if len(escaped) <= longest else escaped[:longest] + "..."


def of_tensorflow(names):
    """Returns TensorFlow's error classes of these names as a tuple: empty where nothing has needed TensorFlow yet."""
    tensorflow = sys.modules.get("tensorflow")
    return tuple(getattr(tensorflow.errors, name) for name in names) if tensorflow else ()


def first_line(error):
    """Returns the first telling line of an error's text; TensorFlow's and Keras's go on for pages."""
    text = re.sub(r"\x1b\[\d*m|\{\{.*?\}\} ?", "", str(getattr(error, "message", None) or error))
    headings = ("Exception encountered when", "Graph execution error:", "Detected at node", "Node: ")
    of_a_stack = ('  File "', "    ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(headings + of_a_stack)]
    return lines[0][:300] if lines else type(error).__name__
