"""The story grammar: the same seed gives the same story, and what it says is put rightly."""

import re
from collections import Counter
from random import Random

import pytest
from tools.bundled_model.cast import WORDS, draw_cast
from tools.bundled_model.grammar import expand, tidy, wants_an
from tools.bundled_model.plot import PLOTS
from tools.bundled_model.stories import FRAMES, Story, write_story

N_STORIES = 4000


@pytest.fixture(scope="module")
def told() -> list[Story]:
    return [write_story(seed) for seed in range(N_STORIES)]


def test_a_seed_gives_the_same_story_every_time(told: list[Story]) -> None:
    assert [write_story(seed) for seed in range(100)] == told[:100]


def test_the_stories_do_not_depend_on_the_stories_before_them() -> None:
    forwards = [write_story(seed).text for seed in range(20)]
    backwards = [write_story(seed).text for seed in reversed(range(20))]
    assert forwards == backwards[::-1]


def test_stories_are_distinct(told: list[Story]) -> None:
    assert len({story.text for story in told}) == N_STORIES


def test_two_stories_rarely_begin_alike(told: list[Story]) -> None:
    beginnings = Counter(story.text[:60] for story in told)
    assert beginnings.most_common(1)[0][1] < N_STORIES / 100


def test_every_plot_is_told(told: list[Story]) -> None:
    counts = Counter(story.plot for story in told)
    assert set(counts) == {plot.name for plot in PLOTS}
    assert min(counts.values()) > N_STORIES / len(PLOTS) / 2


def test_stories_are_short_but_not_too_short(told: list[Story]) -> None:
    lengths = [len(story.text.split()) for story in told]
    assert min(lengths) > 60
    assert max(lengths) < 230


def test_no_template_syntax_is_left(told: list[Story]) -> None:
    assert [story.text for story in told if re.search(r"[\[\]{}|]", story.text)] == []


def test_stories_end_with_a_full_sentence(told: list[Story]) -> None:
    assert {story.text[-1] for story in told} <= set('.!?"')


def test_quotation_marks_come_in_pairs(told: list[Story]) -> None:
    assert [story.text for story in told if story.text.count('"') % 2] == []


def test_sentences_begin_with_a_capital(told: list[Story]) -> None:
    assert [story.text for story in told if re.search(r"[.] \"?[a-z]", story.text)] == []


def test_articles_agree_with_the_words_after_them(told: list[Story]) -> None:
    # Words of the text that begin with a vowel letter all begin with a vowel sound, and the others do not.
    wrong = re.compile(r"\b[Aa] [aeiouAEIOU]|\b[Aa]n [^aeiouAEIOU]")
    assert [match[0] for story in told for match in wrong.finditer(story.text)] == []


@pytest.mark.parametrize(
    ("word", "an"),
    [
        ("apple", True),
        ("kite", False),
        ("hour", True),
        ("unicorn", False),
        ("umbrella", True),
        ("one", False),
    ],
)
def test_the_article_follows_the_sound(word: str, an: bool) -> None:
    assert wants_an(word) == an


def test_the_hero_has_the_same_pronoun_from_the_beginning_to_the_end(told: list[Story]) -> None:
    """A story whose friend never appears has one person with a pronoun: the hero."""
    alone = [story for story in told if story.friend not in story.text]
    assert len(alone) > 100
    others = {"he": r"\b(she|her|herself)\b", "she": r"\b(he|him|his|himself)\b"}
    wrong = [s.text for s in alone if re.search(others[s.hero_pronoun], s.text, re.IGNORECASE)]
    assert wrong == []


def test_only_the_hero_and_the_friend_have_names(told: list[Story]) -> None:
    # "Sunny" and "Sky" are words too, but nowhere inside a sentence with a capital.
    names = re.compile(rf"(?<=[a-z] )({'|'.join(WORDS['girls'] + WORDS['boys'])})\b")
    for story in told:
        assert set(names.findall(story.text)) <= {story.hero, story.friend}


def test_the_friend_is_introduced_before_being_named_alone(told: list[Story]) -> None:
    for story in told:
        before, found, after = story.text.partition(story.friend)
        introduced_before = before.endswith(("friend ", "named ", "I am ", f"{story.hero} and "))
        assert not found or introduced_before or after.startswith(", "), story.text


def test_hero_and_friend_differ_in_name_and_pronoun() -> None:
    for seed in range(2000):
        slots = draw_cast(Random(seed))
        assert slots["hero"] != slots["friend"]
        assert slots["he"] != slots["fhe"]


def test_every_template_can_be_filled_with_any_cast() -> None:
    for plot in PLOTS:
        slots = draw_cast(Random(plot.name))
        templates = [template for beat in plot.beats for template in beat]
        for frame in FRAMES.values():
            templates += frame
        for index in range(max((len(group) for group in plot.props), default=1)):
            for group in plot.props:
                slots |= group[index % len(group)]
            for template in templates:
                assert not re.search(r"[\[\]{}|]", expand(template, slots, Random(index)))


def test_a_slot_that_nobody_filled_is_an_error() -> None:
    with pytest.raises(KeyError, match="dragon"):
        expand("There was {dragon}.", {}, Random(1))


def test_choices_nest_and_slots_take_capitals() -> None:
    seen = {expand("[{Who}|a [big|small] one]", {"who": "her aunt"}, Random(seed)) for seed in range(60)}
    assert seen == {"Her aunt", "a big one", "a small one"}


def test_tidying_puts_articles_capitals_and_dialogue_right() -> None:
    rough = 'she had a  orange hat. "it is mine." said Ann. the end.'
    assert tidy(rough) == 'She had an orange hat. "It is mine," said Ann. The end.'
