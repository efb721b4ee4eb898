"""Words for made-up people, notes and tags.

Every function takes the random generator that decides; the same state gives the same text. The
words hold no tab, newline or backslash.
"""

from collections.abc import Sequence
from random import Random

_FIRST_NAMES = (
    "Ada", "Amara", "Anna", "Ben", "Carlos", "Chen", "Clara", "David", "Dina", "Elif", "Emil",
    "Fatima", "Grace", "Hanna", "Hugo", "Ida", "Ines", "Ivan", "Jonas", "Kofi", "Laila", "Leo",
    "Lina", "Marco", "Maya", "Mira", "Nadia", "Noah", "Olga", "Omar", "Paul", "Priya", "Ravi",
    "Rosa", "Sami", "Sofia", "Tara", "Tom", "Yuki", "Zoe",
)  # fmt: skip
_LAST_NAMES = (
    "Abel", "Adeyemi", "Andersen", "Baker", "Bauer", "Brandt", "Castro", "Costa", "Demir",
    "Dubois", "Eriksen", "Fischer", "Garcia", "Haddad", "Hansen", "Ito", "Jansen", "Kaya", "Khan",
    "Kim", "Kowalski", "Lang", "Lopez", "Martin", "Mensah", "Meyer", "Moreau", "Novak", "Okafor",
    "Olsen", "Patel", "Petrov", "Reyes", "Rossi", "Sato", "Silva", "Smith", "Tanaka", "Weber",
    "Wolf",
)  # fmt: skip
_TAGS = (
    "work", "home", "ideas", "reading", "travel", "recipes", "garden", "budget", "health", "music",
    "projects", "meetings", "research", "shopping", "family", "friends", "school", "books",
    "films", "sport", "writing", "photos", "errands", "repairs", "bicycle", "energy", "letters",
    "languages", "history", "maps", "museum", "theatre", "kitchen", "wedding", "birthday",
    "insurance", "taxes", "contracts", "design", "code", "databases", "testing", "operations",
    "planning", "interviews", "training", "volunteers", "weather", "walks", "quotes",
)  # fmt: skip
_ACTIONS = (
    "Plan", "Prepare", "Questions about", "Notes on", "Finish", "Ideas for", "Compare prices for",
    "Ask around about", "Summary of", "Costs of", "Second thoughts on", "Checklist for", "Review",
    "First draft of", "Photos of", "What we decided about",
)  # fmt: skip
_THINGS = (
    "the garden", "the kitchen shelf", "the team meeting", "our trip to the coast", "the bicycle",
    "the quarterly report", "the reading group", "the birthday party", "the new boiler",
    "the train tickets", "the choir concert", "the database move", "the school project",
    "the interview", "the summer flat", "the bread recipe", "the museum visit", "the tax form",
    "the language course", "the walking route", "the photo album", "the neighbours' letter",
    "the running plan", "the workshop",
)  # fmt: skip
_OCCASIONS = (
    "before Friday", "for next week", "with Maya", "after the holidays", "in spring", "once more",
    "for the whole team", "on a small budget", "with the family", "this month", "by hand",
    "before the rain comes", "in the evening", "for beginners", "with fewer people", "step by step",
)  # fmt: skip
_REMARKS = (
    "Start with the parts that take longest.", "Ask twice before paying.",
    "The old list is still in the blue folder.", "Two people are enough for this.",
    "It should not take more than an afternoon.", "Keep the receipts.",
    "Last time we forgot the keys.", "The first version was too long.",
    "Call before nine, later nobody answers.", "There is a cheaper way, look it up.",
    "Write down who does what.", "We agreed to decide on Thursday.",
    "Measure it again, the numbers do not match.", "Bring the small table.",
    "The weather decides.", "Half of it is done already.", "Nobody liked the second proposal.",
    "Send everyone the address.", "Good enough for now.", "Try it once on paper.",
    "The shop closes at six on Saturdays.", "Remember to thank Omar.",
    "This needs a quiet hour.", "The photos are on the shared drive.",
)  # fmt: skip
MAX_REMARKS = 5  # sentences after the first one of a note's text


def _pick(random: Random, words: Sequence[str]) -> str:
    # three times as quick as Random.choice, and quick matters a million times
    return words[int(random.random() * len(words))]


def person(random: Random) -> tuple[str, str]:
    """A first and a last name."""
    return _pick(random, _FIRST_NAMES), _pick(random, _LAST_NAMES)


def note(random: Random) -> tuple[str, str]:
    """A note's title, and its text of two to six sentences."""
    thing = _pick(random, _THINGS)
    title = f"{_pick(random, _ACTIONS)} {thing} {_pick(random, _OCCASIONS)}"
    count = 1 + int(random.random() * MAX_REMARKS)
    remarks = " ".join([_pick(random, _REMARKS) for _ in range(count)])
    return title, f"This is about {thing}. {remarks}"


def tag(index: int) -> str:
    """The name of tag number ``index``, counted from 0; every number has a name of its own."""
    turn, word = divmod(index, len(_TAGS))
    return f"{_TAGS[word]} {turn + 1}" if turn else _TAGS[word]
