"""Write short stories, one for each seed, from plots, casts and a template grammar.

The same seed always gives the same story, on every machine: Python's Mersenne Twister with an integer
seed is specified. A story is one paragraph with a beginning, a middle and an end. Nothing in it is taken
from any other text. Read `grammar`, then `cast`, then `plot`, then the files in `text`.

    python -m tools.bundled_model.stories --count 5 --first-seed 1
"""

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from tools.bundled_model.cast import draw_cast
from tools.bundled_model.grammar import expand, tidy
from tools.bundled_model.plot import PLOTS, Plot
from tools.bundled_model.text_files import TEXT, read_lists

FRAMES = read_lists(TEXT / "frames.txt")
TOY_OPENING_SHARE = 0.6
FIRST_PRONOUN = re.compile(r"\{[Hh]e\}")


@dataclass(frozen=True)
class Story:
    """A story's text, and what a test needs to know about it."""

    text: str
    plot: str
    hero: str
    friend: str
    hero_pronoun: str


def _opening(plot: Plot, rng: Random) -> list[str]:
    openings = [o for o in FRAMES["openings"] if not (plot.meets_friend and "{friend}" in o)]
    if not plot.about_toy:
        return [rng.choice(openings)]
    if rng.random() < TOY_OPENING_SHARE:
        return [rng.choice(FRAMES["toy_openings"])]
    return [rng.choice(openings), rng.choice(FRAMES["toy_arrivals"])]


def _closings(plot: Plot, friend_is_known: bool) -> list[str]:
    closings = FRAMES["closings_at_home"] + (() if plot.at_home else FRAMES["closings"])
    return [closing for closing in closings if friend_is_known or "{friend}" not in closing]


def _introduce(text: str, friend: str, his: str) -> str:
    """Put "his friend" before a friend's first mention, unless the text introduces the friend by itself."""
    first, found, rest = text.partition(friend)
    known = first.endswith(("friend ", "named ", "am ")) or rest.startswith((", a ", ", an ", ", " + his))
    if not found or known or "friends. " in rest[:60]:
        return text
    return f"{first}{his} friend {friend}{rest}"


def write_story(seed: int) -> Story:
    """Write the story of this seed."""
    rng = Random(seed)
    plot = rng.choice(PLOTS)
    slots = draw_cast(rng)
    for group in plot.props:
        slots |= rng.choice(group)
    opening = _opening(plot, rng)
    beats = [rng.choice(beat) for beat in plot.beats]
    if "{friend}" in opening[0]:
        # Both are known now: the friend needs no introduction, and a bare "she" could be either.
        slots["fintro"] = "{friend}"
        beats[0] = FIRST_PRONOUN.sub("{hero}", beats[0], count=1)
    told = [expand(template, slots, rng) for template in opening + beats if template]
    friend_is_known = any(slots["friend"] in part for part in told)
    told.append(expand(rng.choice(_closings(plot, friend_is_known)), slots, rng))
    # Tidied part by part, so that each begins with a capital, and then as a whole.
    text = tidy(" ".join(tidy(part) for part in told))
    return Story(
        text=tidy(_introduce(text, slots["friend"], slots["his"])),
        plot=plot.name,
        hero=slots["hero"],
        friend=slots["friend"],
        hero_pronoun=slots["he"],
    )


def stories(first_seed: int, count: int) -> Iterator[str]:
    """Yield the texts of `count` stories, of consecutive seeds."""
    for seed in range(first_seed, first_seed + count):
        yield write_story(seed).text


def main() -> None:
    """Print some stories."""
    parser = argparse.ArgumentParser(description="Print stories of the grammar.")
    parser.add_argument("--count", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=1)
    options = parser.parse_args()
    for text in stories(options.first_seed, options.count):
        print(text, end="\n\n")


if __name__ == "__main__":
    main()
