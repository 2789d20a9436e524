"""The command line: ``learnmech list | run | check | scorecard | seal | editions | new``.

Exit codes: 0 all is well, 1 a verdict fails, 2 an error or an unknown chapter.
"""

from __future__ import annotations

from typing import Any

import click

from learnmech.commands.authoring import editions, new, seal
from learnmech.commands.common import stop
from learnmech.commands.running import check, run
from learnmech.commands.verdicts import list_chapters, scorecard

__all__ = ["main"]


class _Commands(click.Group):
    """A group that ends an interrupt as an error; click would exit with 1, a failing verdict."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise stop("interrupted") from None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="learnmech")
def main() -> None:
    """Learning Mechanics, Measured: run the book's chapters and read their verdicts."""


for command in (list_chapters, run, check, scorecard, new, seal, editions):
    main.add_command(command)


if __name__ == "__main__":
    main()
