"""What the command line accepts, and the sentence for what it does not."""

from argparse import Namespace

import pytest

from axiom.host.cli.arguments import COMMANDS, at_least, make_parser
from axiom.host.errors import UserError


def handle(_: Namespace) -> int:
    return 0


def parse(*words: str) -> Namespace:
    return make_parser(dict.fromkeys(COMMANDS, handle)).parse_args(words)


def test_a_command_has_its_handler_and_its_defaults() -> None:
    given = parse("run")
    assert given.handler is handle
    assert (given.model, given.prompt, given.count, given.cpus) == (None, "", 256, None)
    assert (given.machine, given.load, given.link) == ("auto", "auto", "auto")
    given = parse("run", "m.gguf", "-p", "Once", "-n", "5", "--temp", "0.5", "--seed", "1", "--cpus", "2")
    assert (given.model, given.prompt, given.count, given.temp) == ("m.gguf", "Once", 5, 0.5)
    assert (given.seed, given.cpus) == (1, 2)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_that_fits_a_terminal(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        parse(command, "--help")
    assert left.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: axiom {command}")
    assert max(map(len, text.splitlines())) <= 110


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["walk"], r"invalid choice: 'walk'"),
        (["run", "--cpus", "two"], r"argument --cpus: invalid int value: 'two'\."),
        (["run", "-n"], r"argument -n: expected one argument\."),
        (["run", "--promt", "x"], r"unrecognized arguments: --promt"),
        (["trace", "-n", "0"], r"argument -n: invalid number from 1 on, value: '0'\."),
        (["compile"], r"the following arguments are required: FILE\.py\."),
        (["compile", "f.py", "-O", "4"], r"argument -O: invalid choice: 4"),
        (["bench", "--tokens", "-1"], r"argument --tokens: invalid number from 1 on, value: '-1'\."),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(words: list[str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as raised:
        parse(*words)
    assert "\n" not in raised.value.message


def test_words_are_not_abbreviated() -> None:
    with pytest.raises(UserError, match="unrecognized arguments: --mach"):
        parse("run", "--mach", "kvm")


def test_a_number_has_a_least_value() -> None:
    read = at_least(3)
    assert read("3") == 3
    for text in ("2", "-5", "many", ""):
        with pytest.raises(ValueError, match=r"^(invalid literal.*)?$"):
            read(text)
