"""Who a story is about, where it plays, and what is in it: one draw from the words in `text/words.txt`.

A draw is a dictionary of slots for `grammar.expand`. The hero and the friend are never both "he" or both
"she", so that a pronoun always names one of them; helpers are named by a noun every time.
"""

from dataclasses import dataclass
from random import Random

from tools.bundled_model.text_files import TEXT, read_lists

WORDS = read_lists(TEXT / "words.txt")
TRAITS = WORDS["traits"]
INVENTED_NAME_SHARE = 0.15


@dataclass(frozen=True)
class Place:
    """Where a story plays: the phrase for being there and for going there, and corners of it."""

    at: str
    to: str
    corners: tuple[str, ...]


def _places(name: str) -> tuple[Place, ...]:
    parts = (item.split("; ") for item in WORDS[name])
    return tuple(Place(at, to, tuple(corners)) for at, to, *corners in parts)


def _pairs(name: str) -> tuple[tuple[str, str], ...]:
    split = (item.split("; ") for item in WORDS[name])
    return tuple((first, second) for first, second in split)


ANIMALS = _pairs("animals")
TOYS = _pairs("toys")
PLACES_FOR_ALL = _places("places_for_all")
PLACES = PLACES_FOR_ALL + _places("places_for_children")


def _pronouns(female: bool, prefix: str) -> dict[str, str]:
    words = ("she", "her", "her") if female else ("he", "him", "his")
    return dict(zip((prefix + key for key in ("he", "him", "his")), words, strict=True))


def _name(female: bool, rng: Random) -> str:
    # Names that no list holds teach the model to repeat whatever name a prompt gives.
    if rng.random() < INVENTED_NAME_SHARE:
        parts = (rng.choice(WORDS[part]) for part in ("syllables", "syllables", "name_endings"))
        return "".join(parts).capitalize()
    return rng.choice(WORDS["girls" if female else "boys"])


def _somebody(animal: str, female: bool, rng: Random) -> tuple[str, str]:
    """Return what somebody is, as "little fox", and the trait in it or beside it."""
    creature = animal or ("girl" if female else "boy")
    trait = rng.choice(TRAITS)
    shape = rng.choice(WORDS["kinds"])
    return shape.format(creature=creature, trait=trait), trait


def draw_cast(rng: Random) -> dict[str, str]:
    """Draw a hero, a friend, a helper, a place and the small things of one story, as slots."""
    female = rng.random() < 0.5
    animal, home = "", rng.choice(WORDS["child_homes"])
    friend_animal = ""
    places, helpers = PLACES, WORDS["child_helpers"]
    if rng.random() < 0.5:
        (animal, home), (friend_animal, _) = rng.sample(ANIMALS, 2)
        places, helpers = PLACES_FOR_ALL, WORDS["animal_helpers"]
    hero, friend = _name(female, rng), _name(not female, rng)
    while friend in hero or hero in friend:
        friend = _name(not female, rng)
    kind, trait = _somebody(animal, female, rng)
    friend_kind, _ = _somebody(friend_animal, not female, rng)
    place = rng.choice(places)
    corner1, corner2, corner3 = rng.sample(place.corners, 3)
    toy, use = rng.choice(TOYS)
    parent = rng.choice(WORDS["parents"])
    return {
        "hero": hero,
        "hero_the": f"{hero} the {animal}" if animal else f"Little {hero}",
        "kind": kind,
        "creature": animal or ("girl" if female else "boy"),
        "second_trait": rng.choice([other for other in TRAITS if other != trait]),
        "home": home,
        "habit": rng.choice(WORDS["habits"]),
        "friend": friend,
        "fkind": friend_kind,
        "fintro": rng.choice(("{his} friend {friend}", "a {fkind} named {friend}")),
        "shared_habit": rng.choice(WORDS["shared_habits"]),
        "helper": rng.choice(helpers),
        "parent": parent,
        "my_parent": parent.replace("{his}", "my"),
        "at": place.at,
        "to": place.to,
        "corner1": corner1,
        "corner2": corner2,
        "corner3": corner3,
        "toyn": toy,
        "use": use,
        "toy": "{colour} {toyn}",
        "colour": rng.choice(WORDS["colours"]),
        "food": rng.choice(WORDS["foods"]),
        "weather": rng.choice(WORDS["weathers"]),
        "game": rng.choice(WORDS["games"]),
        **_pronouns(female, ""),
        **_pronouns(not female, "f"),
    }
