"""A contest as text: a line for each match, the bracket, tables."""

from gan.errors import printable


def match_line(result):
    """Returns one line that says who played, the score, and why it was decided so.

    Args:
      result: the content of a `match.json`.
    """
    a, b = (_name(result["teams"][side]["name"]) for side in "ab")
    parts = [f"{result['id']}: {a} v {b}"]
    if result["score"]:
        parts.append(score_text([result["score"]["a"], result["score"]["b"]]))
    reason = printable(result["reason"] or "", 400)
    if result["winner"]:
        winner = {"a": a, "b": b}[result["winner"]]
        verb = "advances" if result["kind"] == "knockout" and result["id"] != "final" else "wins"
        parts.append(f"{winner} {verb} ({result['decided_by']}: {reason})")
    elif reason:
        parts.append(f"({reason})")
    return "  ".join(parts)


def score_text(score):
    """Returns "27 : 22"; a side without a D has no points, "-"."""
    return " : ".join("-" if points is None else str(points) for points in score)


def bracket_text(bracket, names):
    """Returns the bracket, stage by stage.

    Args:
      bracket: that of the overview.
      names: {slug: name}.
    """
    lines, stage = [], None
    for match in bracket:
        if match["stage"] != stage:
            stage = match["stage"]
            lines.append(f"{stage}:")
        sides = []
        for side in ("a", "b"):
            slug = match[side]["team"]
            won = " *" if slug and slug == match["winner"] else ""
            sides.append(_name(names[slug]) + won if slug else f"winner of {match[side]['from']}")
        score = f"  {score_text(match['score'])}" if match["score"] else ""
        lines.append(f"  {match['id']:<18} {sides[0]}  v  {sides[1]}{score}")
    return "\n".join(lines)


def places_text(places, names):
    """Returns the teams by place; `places` is {slug: place}."""
    order = sorted(places, key=lambda slug: (places[slug], names[slug]))
    return "\n".join(f"  {places[slug]:>4}.  {_name(names[slug])}" for slug in order)


def ratings_text(title, rows):
    """Returns a table of ratings with intervals; a line parts those that are too close to call from the next."""
    lines, group = [f"{title:<30} rating   95 % interval"], 1
    for row in rows:
        if row["group"] != group:
            lines.append("  " + "-" * 50)
            group = row["group"]
        lines.append(f"  {_name(row['name']):<28} {row['rating']:6.0f}   {row['low']:.0f} to {row['high']:.0f}")
    return "\n".join(lines)


def _name(name):
    return printable(name, 40)
