"""Parts of the README that commands write: between `<!-- NAME -->` and `<!-- end -->`."""

from gan import storage

_END = "<!-- end -->"


def replace(readme, name, text):
    """Writes a part anew; where the README has no markers for it, prints the text.

    Args:
      readme: the README, an `epath.Path`.
      name: of the part.
      text: Markdown.

    Returns:
      Whether it was written.
    """
    marker = f"<!-- {name} -->"
    before, begin, rest = readme.read_text().partition(f"{marker}\n")
    _, end, after = rest.partition(_END)
    if not end:
        print(f"{text}\n\n{readme} has no markers {marker} and {_END}: nothing was written")
        return False
    storage.write_text(readme, f"{before}{begin}{text}\n{end}{after}")
    return True
