"""Text of others in Markdown: shown as it is written, never as markup of the document."""

from __future__ import annotations

import pytest

from hydramobile.markdown import cell, plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Opacity: 1 is person, p2 to p98 in [0, 1] (16-bit)", "Opacity: 1 is person, p2 to p98 in [0, 1] (16-bit)"),
        ("one\n\n```js\nsteal()\n```", "one \\`\\`\\`js steal() \\`\\`\\`"),
        ("# heading\n- list\n    code", "# heading - list code"),
        ("<script>alert(1)</script>", "&lt;script>alert(1)&lt;/script>"),
        ("already &lt;b> escaped, R&D", "already &amp;lt;b> escaped, R&amp;D"),
        ("![x](https://example.org/pixel)", "![x]\\(https://example.org/pixel)"),
    ],
)
def test_plain(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_a_cell_does_not_end() -> None:
    assert cell("a | b\n| c |") == "a \\| b \\| c \\|"
