"""The commands that tests take from the pages about installations."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.page_commands import Command, page_commands

DOCS = Path(__file__).parent.parent.parent / "docs"
PAGES_OF_STEPS = ("debian", "containers", "umbrel-start9-raspiblitz")

PAGE = """\
# A page

```sh
first
```

## 1. Files

Text with `code`.

```sh
echo one \\
    two

cat > file <<'END'
# a line

END
echo "three" # with a comment
```

```
not for the test
```

```ini
[Service]
```
"""


def test_the_commands_of_a_page_come_in_its_order() -> None:
    """A backslash and a here-document continue a command. Other blocks have no commands."""
    assert list(page_commands(PAGE)) == [
        Command("", "first"),
        Command("1. Files", "echo one \\\n    two"),
        Command("1. Files", "cat > file <<'END'\n# a line\n\nEND"),
        Command("1. Files", 'echo "three" # with a comment'),
    ]


@pytest.mark.parametrize("page", ["```sh\necho one\n", "```sh\ncat <<END\ntext\n```\n"])
def test_a_block_without_an_end_is_a_fault_of_the_page(page: str) -> None:
    with pytest.raises(AssertionError):
        list(page_commands(page))


@pytest.mark.parametrize("name", ["install", *PAGES_OF_STEPS])
def test_each_command_of_a_page_is_whole(name: str) -> None:
    """bash can parse each of them by itself."""
    for command in page_commands((DOCS / f"{name}.md").read_text(encoding="utf-8")):
        done = subprocess.run(["bash", "-n", "-c", command.text], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), command


def test_the_install_page_has_commands_in_each_section() -> None:
    commands = list(page_commands((DOCS / "install.md").read_text(encoding="utf-8")))
    assert {command.section.partition(".")[0] for command in commands} >= set(map(str, range(1, 11)))


@pytest.mark.parametrize("name", PAGES_OF_STEPS)
def test_the_steps_of_the_other_pages_are_numbered(name: str) -> None:
    text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    steps = re.findall(r"(?m)^## (\d+)\. ", text)
    assert steps == [str(number) for number in range(1, len(steps) + 1)]
    assert len(steps) >= 5
