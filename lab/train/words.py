"""English for scenes: articles, plurals by rule, and the phrases a caption is built from."""

import re

SIZES = {"small": ["small", "tiny"], "large": ["large", "big"]}
COUNTS = {2: ["two", "2", "a pair of"], 3: ["three", "3"], 4: ["four", "4"]}
OPENINGS = [
    "",
    "",
    "",
    "",
    "a picture of ",
    "a photo of ",
    "an emoji of ",
    "an image of ",
    "a 3d render of ",
    "a drawing of ",
]
# {1}: with its article
PLAIN = [
    " on {1} background",
    " on {1} background",
    " on {0}",
    " against {1} background",
    " with {1} background",
    ", {0} background",
]
GRADED = [
    " on a background fading from {0} to {1}",
    " on a gradient from {0} to {1}",
    " on a background that goes from {0} at the top to {1} at the bottom",
    " with a gradient from {0} down to {1}",
]
LEFT = [
    "{0} to the left of {1}",
    "{0} left of {1}",
    "{1} to the right of {0}",
    "{1} right of {0}",
    "{0} on the left and {1} on the right",
]
ABOVE = ["{0} above {1}", "{0} over {1}", "{1} below {0}", "{1} under {0}", "{0} at the top and {1} at the bottom"]
SIDE_BY_SIDE = ["{0} and {1}", "{0} and {1}", "{0} with {1}", "{0} next to {1}"]
TOGETHER = SIDE_BY_SIDE[:3]  # true wherever the two stand
# words that begin with another sound than their first letter says
CONSONANTS, VOWELS = re.compile(r"(uni|eu|use|ufo|ukulele|one\b)"), re.compile(r"(hour|heir|honest)")


def plural(noun: str) -> str:
    """`fox` → `foxes`; a noun with `of` bends its first word, any other its last."""
    if " of " in noun:
        head, rest = noun.split(" of ", 1)
        return f"{plural(head)} of {rest}"
    if noun.endswith("fish"):
        return noun
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")


def article(phrase: str) -> str:
    """The phrase with `a` or `an`, by how it is spoken: `a unicorn`, `an hourglass`."""
    is_vowel = VOWELS.match(phrase) or (phrase[0] in "aeiou" and not CONSONANTS.match(phrase))
    return ("an " if is_vowel else "a ") + phrase


def listing(phrases: list[str]) -> str:
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"
