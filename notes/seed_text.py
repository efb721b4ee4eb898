"""Made-up words for users, notes and tags.

Every function draws from the random generator that it gets: the same state gives the same text. The
words contain no tab, newline or backslash.
"""

from collections.abc import Sequence
from random import Random

_FIRST_NAMES = (
    "Ada", "Amara", "Anna", "Ben", "Carlos", "Chen", "Clara", "David", "Dina", "Elif", "Emil",
    "Fatima", "Grace", "Hanna", "Hugo", "Ida", "Inès", "Ivan", "Jonas", "Kofi", "Laila", "Leo",
    "Lina", "Marco", "Maya", "Mira", "Nadia", "Noah", "Olga", "Omar", "Paul", "Priya", "Ravi",
    "Rosa", "Sami", "Sofía", "Tara", "Tom", "Yuki", "Zoë",
)  # fmt: skip
_LAST_NAMES = (
    "Abel", "Adeyemi", "Andersen", "Baker", "Bauer", "Brandt", "Castro", "Costa", "Demir",
    "Dubois", "Eriksen", "Fischer", "García", "Haddad", "Hansen", "Ito", "Jönsson", "Kaya", "Khan",
    "Kim", "Kowalski", "Lang", "López", "Martin", "Mensah", "Müller", "Moreau", "Novák", "Okafor",
    "Olsen", "Patel", "Petrov", "Reyes", "Rossi", "Sato", "Silva", "Smith", "Tanaka", "Weber",
    "Wójcik",
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
_SUBJECTS = (
    "the café", "the orchard", "a violin", "the harbour", "some pottery", "the archive", "a kayak",
    "the observatory", "the bakery", "an old compass", "the greenhouse", "the ferry", "a telescope",
    "the crème brûlée", "the résumé", "a sculpture", "the aquarium", "the vineyard", "a tapestry",
    "the windmill", "the piñata", "a manuscript", "the locksmith", "the planetarium", "a carousel",
    "the blacksmith", "an accordion", "the beekeeper", "a mosaic", "the apothecary", "the glacier",
    "a typewriter", "the soufflé", "the botanist", "a hammock", "the lagoon", "the marathon",
    "an umbrella", "the jalapeños", "a fresco", "the canal", "the naïve painting", "a teacup",
    "the tramway", "a thermometer", "the smörgåsbord", "the cathedral", "an avalanche", "a sax",
    "the chess club", "the volcano", "a fountain pen", "the fjord", "the flea market", "a beetle",
    "the saffron", "the tournament", "a snowshoe", "the herbarium", "a metronome", "the château",
    "the beech forest", "a jigsaw", "the cinnamon buns", "the quarry", "an encyclopedia",
)  # fmt: skip
_PLACES = (
    "Lisbon", "Málaga", "Zürich", "Kraków", "Reykjavík", "Montréal", "São Paulo", "Malmö", "Dublin",
    "Ghent", "Tromsø", "Utrecht", "Bologna", "Kyoto", "Accra", "Izmir", "Porto", "Besançon", "Graz",
    "Tallinn", "Valparaíso", "Galway", "Leipzig", "Århus", "Plzeň", "Oaxaca", "Nairobi", "Győr",
)  # fmt: skip
RARE_WORD = "lighthouse"  # in one note of a hundred
MAX_REMARKS = 5  # sentences after the first one of a note's text


def _pick(random: Random, words: Sequence[str]) -> str:
    # three times as quick as Random.choice, and quick matters a million times
    return words[int(random.random() * len(words))]


def person(random: Random) -> tuple[str, str]:
    """Return a first and a last name."""
    return _pick(random, _FIRST_NAMES), _pick(random, _LAST_NAMES)


def note(random: Random) -> tuple[str, str]:
    """Return a note's title, and its content of three to seven sentences."""
    thing = _pick(random, _THINGS)
    title = f"{_pick(random, _ACTIONS)} {thing} {_pick(random, _OCCASIONS)}"
    count = 1 + int(random.random() * MAX_REMARKS)
    remarks = " ".join([_pick(random, _REMARKS) for _ in range(count)])
    detail = f"See {_pick(random, _SUBJECTS)} in {_pick(random, _PLACES)}."
    return title, f"This is about {thing}. {remarks} {detail}"


def with_rare_word(title: str, content: str, *, in_title: bool) -> tuple[str, str]:
    """Return the texts of a note with RARE_WORD in the content, and in the title if wanted."""
    if in_title:
        title = f"{title} at the {RARE_WORD}"
    return title, f"{content} The {RARE_WORD} opens at ten."


def tag(index: int) -> str:
    """Return the name of tag number ``index``, from 0. Every number has a different name."""
    turn, word = divmod(index, len(_TAGS))
    return f"{_TAGS[word]} {turn + 1}" if turn else _TAGS[word]
