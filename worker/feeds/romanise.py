"""Names in letters that every login, mail server and keyboard knows: Müller becomes mueller in German, muller in Finnish."""

import re
import unicodedata

from anyascii import anyascii

from worker.jobs import fold

# Scripts whose letters stand for sounds one by one, vowels included, so that everybody reads the same out of them.
# Not among them: Han and Kana (the reading depends on the person), Arabic, Hebrew and other scripts that leave vowels
# out, Indic ones and Thai (unwritten vowels, and conventions that differ by country), Hangul (families write their name
# in Latin letters as they please: 이 is Lee to its owner and I by the table).
READABLE = ("LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "GEORGIAN")

_DANISH = {"å": "aa", "æ": "ae", "ø": "oe", "ä": "ae", "ö": "oe"}
_GERMAN = {"ä": "ae", "ö": "oe", "ü": "ue"}
_SERBIAN = {"đ": "dj", "ж": "z", "х": "h", "ц": "c", "ч": "c", "ш": "s", "џ": "dz"}

#: Where a language writes a letter otherwise than without its marks and as anyascii has it. Lower case; ß is ss for all.
#: Swedish, Finnish, Estonian, Hungarian and Turkish drop the marks (å and ä become a, ö becomes o, ı becomes i), as
#: people there do in their own addresses, so they have no table. Ukrainian and Bulgarian: the letters in which their
#: official tables (2010 and 2009) differ from what is usual for Russian.
LETTERS: dict[str, dict[str, str]] = {
    "de": _GERMAN, "gsw": _GERMAN,
    "da": _DANISH, "nb": _DANISH, "nn": _DANISH, "no": _DANISH,
    "sr": _SERBIAN, "hr": _SERBIAN, "bs": _SERBIAN,
    "mk": {"х": "h", "ц": "c", "ѓ": "gj", "ќ": "kj"},
    "bg": {"х": "h", "щ": "sht", "ъ": "a", "ь": "y"},
    "uk": {"г": "h", "и": "y"},
}  # fmt: skip
_TABLES = {language: str.maketrans(table) for language, table in LETTERS.items()}

# Two letters that are one sound. No other language has these letters, so they are read so whatever the locale says.
# Greek: ELOT 743; αυ, ευ and ηυ end in f before a voiceless consonant and at the end of a word, else in v.
_SOUNDS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile("ο[υύ]"), "ou"),
    (re.compile("γγ"), "ng"), (re.compile("γξ"), "nx"), (re.compile("γχ"), "nch"),
    (re.compile(r"(?<=[αεη])[υύ](?=[θκξπστφχψ]|\b)"), "f"),
    (re.compile("(?<=[αεη])[υύ]"), "v"),
    (re.compile("ու"), "u"), (re.compile("եւ"), "ev"),
)  # fmt: skip

_ENDING_DOT = re.compile(r"\.(?=\s|$)")
_SEPARATOR = re.compile("[_/]")
_OTHER = re.compile("[^a-z0-9.-]")
_RUN = re.compile("([.-])[.-]+")


def romanise(text: str, locale: str | None) -> str | None:
    """Return the text in a-z, 0-9, dot and hyphen, or None where nothing is left or a letter has no certain reading.

    Blanks, apostrophes, emoji and marks vanish (van der Berg: vanderberg), also the dots of abbreviations; hyphens of
    any kind stay, underscores and slashes become hyphens; none stands first, last or beside another. Titles stay: they
    are part of what the source calls the name. `locale`: a language tag such as de-AT, for what ü and the like become.
    """
    folded = fold(text)
    if not folded.isascii():
        spelled = _spelled(folded, locale)
        if spelled is None:
            return None
        folded = spelled
    if not folded.isalnum():
        folded = _SEPARATOR.sub("-", _ENDING_DOT.sub("", folded))
        folded = _RUN.sub(r"\1", _OTHER.sub("", folded)).strip(".-")
    return folded or None


def _spelled(text: str, locale: str | None) -> str | None:
    """The folded text with every letter and digit in ASCII, dashes as hyphens and symbols left out."""
    table = _TABLES.get(_language(locale))
    if table is not None:
        text = text.translate(table)
    for sound, spelling in _SOUNDS:
        text = sound.sub(spelling, text)
    spelled = []
    for letter in text:
        if letter.isascii():
            spelled.append(letter)
            continue
        category = unicodedata.category(letter)
        if category[0] == "L":
            name = unicodedata.name(letter, "")
            if not name.startswith((*READABLE, "MODIFIER LETTER")):
                return None
            # A modifier letter is an apostrophe here (Hawaiian, Ukrainian): what it would be turned into says the same.
            spelled.append(_OTHER.sub("", anyascii(letter).lower()))
        elif category == "Nd":
            spelled.append(anyascii(letter))
        elif category == "Pd" or letter == "\N{MINUS SIGN}":
            spelled.append("-")
        elif category[0] == "Z":
            spelled.append(" ")
    return "".join(spelled)


def _language(locale: str | None) -> str:
    return (locale or "").replace("_", "-").partition("-")[0].lower()
