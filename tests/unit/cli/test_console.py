import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from searchkit.cli.console import Output, visible


@given(st.text())
def test_nothing_that_steers_a_terminal_is_printed(text):
    shown = visible(text)
    assert "\n" not in shown
    assert shown.isprintable() or all(character.isprintable() or ord(character) > 0x9F for character in shown)
    assert not set(shown) & set("\x1b\x07\x08\x9b\x00\u202e\u2066")
    shown.encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\n\tb", "a b"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x9b31m", "\\x9b31m"),
        ("evil\u202egpj.exe", "evil\\u202egpj.exe"),
        ("lone \ud800", "lone \\ud800"),
        ("naïve café 日本 👩\u200d💻", "naïve café 日本 👩\u200d💻"),
    ],
)
def test_harmless_text_stays_and_the_rest_is_spelled_out(text, shown):
    assert visible(text) == shown


def test_a_limit_cuts_with_an_ellipsis():
    assert visible("word " * 100, limit=10) == "word word…"
    assert visible("short", limit=5) == "short"


def test_brackets_are_not_read_as_markup():
    stream = io.StringIO()
    output = Output(data=Console(file=stream, markup=False, highlight=False, emoji=False))
    output.show("[bold]x[/bold] [/] :smile:", Text("[red]y"))
    assert stream.getvalue() == "[bold]x[/bold] [/] :smile: [red]y\n"


def test_many_warnings_are_cut_and_counted():
    stream = io.StringIO()
    Output(notes=Console(file=stream)).warn((f"problem {number}" for number in range(25)), limit=20)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 21
    assert lines[-1] == "... and 5 more (--json lists all)"
