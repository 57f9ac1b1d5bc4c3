"""What a plan may do about a person, and the codes that a record can be refused or marked with, in words for people."""

from collections.abc import Mapping

#: What a plan may do about a person, in the order in which it is shown: one, several, and what that means.
ACTIONS: Mapping[str, tuple[str, str, str]] = {
    "leaver": ("leaver", "leavers", "lose their access, now or at their last day"),
    "leave": ("on leave", "on leave", "begin a leave of absence: suspended, groups kept"),
    "joiner": ("joiner", "joiners", "get an account"),
    "rehire": ("rehire", "rehires", "come back"),
    "return": ("return", "returns", "come back from a leave: opened again"),
    "stays": ("stays", "stay", "were to leave, and do not"),
    "mover": ("mover", "movers", "change in fields or groups"),
    "reference": ("reference", "references", "get another manager"),
    "absent": ("absent", "absent", "missing from the file, not yet often enough to be leavers"),
    "noted": ("noted", "noted", "remembered; there is nothing to do now"),
    "case": ("case", "cases", "wait for a person's decision: muster feed cases"),
    "warning": ("warning", "warnings", "worth a look; carried out all the same"),
    "refused": ("refused", "refused", "records that were not taken; nobody is changed by them"),
}

#: One sentence or two: what the code means and what to do. The text beside a code names the record and the column.
CODES: Mapping[str, str] = {
    # whose record it is
    "missing_id": "The record does not say whose it is. Fill in the column of the person's id and push the record again.",
    "bad_id": "The person's id was changed on its way, or holds what nobody can see. Export ids as text and push again.",
    "duplicate_id": "The same id stands in several different records of one file. None of them was taken: find out which "
                    "one is right and push that one alone.",
    "near_miss_id": "The id is new but equals a known one apart from leading zeros. Check that the source did not lose "
                    "them, or this person gets a second account.",
    # the record as a whole
    "ragged_row": "The record has more or fewer cells than the header has columns. Look for a delimiter or a line break "
                  "that is not in quotes.",
    "bad_quotes": "A quotation mark is not closed, or stands where none belongs. Quote the cell and double the marks in it.",
    "nul_byte": "The record holds NUL bytes, which no text has. Export the file again; it was damaged or is not a text.",
    "undecodable": "The record holds bytes that are not of the file's encoding. Declare the encoding that it is in.",
    "bad_json": "The record is not JSON. Correct it where the text says, one object a line.",
    "not_an_object": "The record is JSON but no object with names and values. Send one object per person.",
    "bad_operation": "The SCIM operation is not one that a feed takes. Send POST to /Users with the whole person as data.",
    "bad_message": "The message has no type, time or person that Muster knows. Correct what the text names; send it again.",
    # single cells
    "missing_value": "A cell is empty that has to be filled in. Fill it in and push the record again.",
    "bad_value": "A cell holds what this field cannot hold. Correct it in the source, or translate it with `words`.",
    "too_long": "A cell holds more characters than this field can. Shorten it in the source.",
    "bad_date": "A cell holds no date of a declared form, or one that can be read in two ways. Correct it, or declare the "
                "form it is written in.",
    "excel_serial_date": "A cell holds the number by which Excel counts days. Give the column a date format before "
                         "the file is exported.",
    "unknown_status": "The status is none of the declared words, so nothing was decided. Add the word to the feed's "
                      "status table, or correct the record.",
    "unknown_word": "The word is not in the list of this column. Add it to `words`, or correct the record.",
    "bad_zone": "The time zone is not a name of the IANA data base, such as Europe/Berlin. Translate it with `words`.",
    "bad_sequence": "The sequence is not a whole number. Without it nobody knows which record is newer.",
    "bad_modified": "The time of change cannot be read. Send it as 2026-01-31T12:00:00Z, or declare its form.",
    # what is worth knowing; the record was taken
    "manager_loop": "Managers stand above each other in a circle. Accounts are made all the same; correct it in the source.",
    "unknown_manager": "The manager is not there yet. It is set as soon as that person appears.",
    # taken or not, but not acted on
    "older": "Something newer is known of this person, so the record changed nothing. There is nothing to do.",
    "ambiguous_match": "Several accounts could be this person. Decide it with `muster feed cases`.",
    "owned_by_another": "The account that this person would get belongs to another source, or to somebody else there. "
                        "Decide it with `muster feed cases`.",
    "ignored": "Somebody decided that this person is to be left alone. `muster feed cases` takes that back.",
    "not_here": "Nobody here is this person, and the source makes no accounts. Looked at again every day.",
    "administrator": "Nothing but an address or a username says that an administrator's account is this person's. Decide.",
    "deleted": "The person was deleted, and nothing says that they were hired again. A newer day of hire brings them back.",
    "username_taken": "The username belongs, or once belonged, to somebody else. Give another one in the source, or decide "
                      "it with `muster feed cases`.",
    "disabled_by_hand": "The source says active, but somebody disabled or locked the account by hand, which counts more. "
                        "Decide it with `muster feed cases`.",
}  # fmt: skip
