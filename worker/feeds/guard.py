"""Cells of a failed-rows file that a spreadsheet would take for a formula get an apostrophe, which reading takes off."""

import re

# A spreadsheet calculates what begins with one of these, full-width or not, after whatever it does not show. Who already
# has apostrophes there gets one more, so that taking one off always gives back what was.
_STARTS = r"'*[\s\x00-\x1f\xa0\u200b-\u200f\u2060\ufeff]*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20\u2212]"
_RISKY = re.compile(_STARTS)
_GUARDED = re.compile("'" + _STARTS)


def guarded(cell: str) -> str:
    """Return the cell so that no spreadsheet calculates it."""
    return f"'{cell}" if _RISKY.match(cell) else cell


def unguarded(cell: str) -> str:
    """Return the cell as it was before `guarded`."""
    return cell[1:] if _GUARDED.match(cell) else cell
