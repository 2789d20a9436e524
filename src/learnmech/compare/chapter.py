"""A chapter: predictions frozen before training, claims judged after it, figures that regenerate.

The life of a chapter::

    chapter = Chapter("deep-linear-networks")
    predicted = chapter.predict("half-times", half_time(s, a0), fed="setting")
    ...                                     # train
    chapter.claim("modes-are-learned-on-time", "Each mode is half learned when predicted.",
                  prediction="half-times", measured=times, measure=relative_error(), ...)
    chapter.figure(drawing, name="modes", alt="...", caption="...")
    chapter.close()

A claim takes the *name* of a frozen prediction, so nothing measured can flow back into it.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import weakref
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from learnmech.compare import live_picture, session
from learnmech.compare import reproducibility as repro
from learnmech.compare.bibliography import load_bibliography
from learnmech.compare.docket import Docket
from learnmech.compare.entries import SLUG
from learnmech.compare.figures import publish
from learnmech.compare.ledger import Ledger, differences, load_ledger
from learnmech.compare.live import Axis, Frame, LiveFigure
from learnmech.compare.measures import ClaimError
from learnmech.compare.progress import show_progress
from learnmech.compare.scorecard import ledger_table_html
from learnmech.compare.style import use_book_style
from learnmech.numerics.progress import tracked
from learnmech.sentences import OneSentence

if TYPE_CHECKING:
    import torch
    from matplotlib.figure import Figure

__all__ = ["Chapter", "LedgerDiffers"]

_TITLE = re.compile(r"^# +(.+?) *$", re.MULTILINE)

T = TypeVar("T")


class LedgerDiffers(OneSentence, AssertionError):
    """The ledger of this run is not the committed one."""


class Chapter(Docket):
    """One chapter's predictions, claims, figures and ledger.

    Opening a chapter sets, for this process: one PyTorch thread (at full scale as many as there
    are), float64 as PyTorch's default, print precision, deterministic algorithms, and the book's
    plot style. Its ``scale`` is "laptop", or "full" where the environment variable LEARNMECH_SCALE
    or ``learnmech check --scale full`` says so.

    Args:
        slug: the chapter's name, lower case with hyphens.
        root: folder of the book or of your own project. Without it the checkout that holds the
            working directory is used, or else the folder ``learnmech-chapters`` here.

    Raises:
        ClaimError: if the slug is not lower case with hyphens.
    """

    def __init__(self, slug: str, root: str | os.PathLike[str] | None = None) -> None:
        if not SLUG.fullmatch(slug):
            raise ClaimError(
                f"a chapter's name is lower case with hyphens, such as 'my-chapter', got {slug!r}"
            )
        given = Path(root) if root is not None else None
        checkout = repro.find_root(given)
        pillar, title = _describe(checkout, slug)
        self.mode = os.environ.get(repro.MODE, "")
        self.seed_offset = session.seed_offset()
        self.scale = session.scale()
        super().__init__(
            slug,
            pillar=pillar,
            title=title,
            root=checkout,
            keep_going=self.mode == repro.CHECK,
        )
        self._figures: list[str] = []
        self._folder = self._output_folder(given)
        session.prepare(self.seed_offset, self.scale)
        use_book_style()
        show_progress()

    def _output_folder(self, given: Path | None) -> Path:
        stage = os.environ.get(repro.STAGE)
        if self.mode and stage:
            return Path(stage)
        if self.root is not None:
            scratch = tempfile.mkdtemp(prefix=f"learnmech-{self.slug}-")
            weakref.finalize(self, shutil.rmtree, scratch, ignore_errors=True)
            return Path(scratch)
        return given if given is not None else Path.cwd() / "learnmech-chapters"

    def scaled(self, *, laptop: T, full: T) -> T:
        """Return the value for the scale in force: numbers, names, lists, whatever a run needs.

        Both values are made before one is chosen, so let them be cheap: the name of a data set,
        and not the data. A claim keeps its identifier, its measure and its tolerance's reason at
        every scale.

        Args:
            laptop: the book's own value, for a minute on one core.
            full: the value for a GPU or a cluster: more widths, samples, seeds, other data.
        """
        return full if self.scale == repro.FULL else laptop

    @property
    def device(self) -> str:
        """Say where to train, on the "cpu" or, at full scale, on "cuda" where there is one."""
        return session.device(self.scale)

    def progress(self, items: Iterable[T], words: str) -> Iterable[T]:
        """Return the items of a long loop, and show in a notebook how many of them are done.

        Training shows it of itself. Only a person sees it: not a run whose outputs are stored.

        Args:
            items: what the loop goes over.
            words: what an item is, such as "seed".
        """
        return tracked(items, words)

    def seeds(self, count: int) -> list[int]:
        """Return ``count`` seeds: 0, 1, ... in the book, others under ``--seed-offset``.

        At offset K > 0 seed i is drawn from NumPy's ``SeedSequence([K, i])``, so that the seeds of
        different offsets never meet.

        Raises:
            ClaimError: if fewer than one seed is asked for.
        """
        if count < 1:
            raise ClaimError(f"ask for one seed or more, got {count}")
        if self.seed_offset == 0:
            return list(range(count))
        draws = (np.random.SeedSequence([self.seed_offset, i]) for i in range(count))
        return [int(draw.generate_state(1, np.uint64)[0] >> 1) for draw in draws]

    def generator(self, seed: int, purpose: str = "") -> torch.Generator:
        """Return a PyTorch CPU generator for a seed; another ``purpose`` gives another stream."""
        import torch  # noqa: PLC0415 - compare works without PyTorch until it is asked for

        state = np.random.SeedSequence([seed, zlib.crc32(purpose.encode())])
        return torch.Generator().manual_seed(int(state.generate_state(1, np.uint64)[0] >> 1))

    def rng(self, seed: int, purpose: str = "") -> np.random.Generator:
        """Return a NumPy generator for a seed; another ``purpose`` gives another stream."""
        return np.random.default_rng([seed, zlib.crc32(purpose.encode())])

    def figure(
        self,
        drawing: Figure,
        *,
        name: str,
        alt: str,
        caption: str,
        rtol: float = 1e-6,
        atol_share: float = 1e-6,
    ) -> None:
        """Publish a figure: picture, hash, alt text, caption and all plotted numbers.

        Args:
            drawing: the Matplotlib figure; it is closed.
            name: short name; pages refer to it as ``fig-<chapter>-<name>``.
            alt: what a sighted reader sees and what it shows, with numbers from the data.
            caption: the sentence below the figure.
            rtol: relative tolerance under which regenerated numbers count as the same.
            atol_share: absolute tolerance as a share of each series' plotted range.

        Raises:
            ClaimError: for a missing or repeated name, alt text or caption, or empty data.
        """
        self._publish(
            drawing, name=name, alt=alt, caption=caption, rtol=rtol, atol_share=atol_share
        )

    def live_figure(
        self,
        frames: Sequence[Frame],
        *,
        name: str,
        knob: str,
        x: Axis,
        y: Axis,
        alt: str,
        caption: str,
        choice: str = "",
        apart: bool = False,
        rtol: float = 1e-6,
        atol_share: float = 1e-6,
    ) -> None:
        """Publish a figure with a slider over finished runs, and the picture of all of them.

        Args:
            frames: what is shown for each value of the knob, in increasing order.
            name: short name; pages refer to it as ``fig-<chapter>-<name>``.
            knob: what the slider changes, in words.
            x: the horizontal axis, the same for all frames.
            y: the vertical axis, the same for all frames.
            alt: what the picture of all frames shows, with numbers from the data.
            caption: the sentence below the figure.
            choice: what a second knob of a few choices changes; every frame then names its choice.
            apart: in the picture, a panel for every frame instead of one for all.
            rtol: relative tolerance under which regenerated numbers count as the same.
            atol_share: absolute tolerance as a share of each series' plotted range.

        Raises:
            ClaimError: as :meth:`figure` does, and for frames that do not belong together.
        """
        live = LiveFigure(f"fig-{self.slug}-{name}", knob, frames, x, y, choice)
        self._publish(
            live_picture.draw(live, apart=apart),
            name=name,
            alt=alt,
            caption=caption,
            rtol=rtol,
            atol_share=atol_share,
            live=live.payload(),
        )

    def _publish(
        self, drawing: Figure, *, name: str, live: dict[str, Any] | None = None, **words: Any
    ) -> None:
        if not SLUG.fullmatch(name):
            raise ClaimError(f"figure '{name}': a figure's name is lower case with hyphens")
        if name in self._figures:
            raise ClaimError(f"figure '{name}': the name is used already; choose another")
        if self._closed:
            raise ClaimError(f"figure '{name}': the chapter is closed; draw it before close()")
        published = publish(drawing, chapter=self.slug, name=name, live=live, **words)
        self._figures.append(name)
        _write(self._folder / "_figures" / self.slug / f"{name}.json", published.data_json)
        _display(published.bundle, published.metadata)

    def close(self) -> None:
        """Write the ledger and show the verdicts as a table.

        In a plain run of the book's own seeds and scale the ledger is compared with the committed
        one; a session that the book did not start has to give its verdicts.

        Raises:
            ClaimError: if the chapter has no claim, or is closed already.
            LedgerDiffers: if a committed ledger says something else.
        """
        if self._closed:
            raise ClaimError("the chapter is closed already; call chapter.close() once, at the end")
        ledger = self.ledger()
        if not ledger.of_kind("claim"):
            raise ClaimError("a chapter needs at least one claim before it is closed")
        named = {
            Path(str(entry[key])).stem
            for entry in ledger.claims
            for key in ("theory", "measured")
            if isinstance(entry.get(key), str)
        }
        if missing := named - set(self._figures):
            raise ClaimError(f"claims name the figure '{sorted(missing)[0]}', which was not drawn")
        self._closed = True
        _write(self._folder / "_ledger" / f"{self.slug}.json", ledger.to_json())
        table = ledger_table_html(ledger, load_bibliography(self.root))
        _display({"text/html": table, "text/plain": f"Verdicts of {self.title}"}, {})
        if self.root is not None and not self.mode and self._is_the_books_own():
            committed = self.root / "book" / "_ledger" / f"{self.slug}.json"
            if committed.is_file():
                self._compare(load_ledger(committed), ledger)

    def _is_the_books_own(self) -> bool:
        return self.seed_offset == 0 and self.scale == repro.LAPTOP

    def _compare(self, committed: Ledger, ledger: Ledger) -> None:
        """Hold this run's ledger against the book's.

        Numbers alone may differ in a session that was not started with the book's pins: a chaotic
        run multiplies the last digits, which depend on them. That is said, and no error.
        """
        found = differences(committed, ledger)
        if not found:
            return
        words = f"differences: {len(found)}, the first is {found[0]}"
        pinned = os.environ.get(repro.BOOK_KERNEL) == "1"
        if pinned or committed.verdicts != ledger.verdicts:
            raise LedgerDiffers(
                f"this run's ledger is not the committed one ({words}); if the change is meant, "
                f"run 'learnmech run {self.slug}'"
            )
        print(
            f"All verdicts are those of the book, but not all numbers ({words}): chaotic runs "
            f"differ in a session whose threads and code paths the book did not choose."
        )


def _describe(root: Path | None, slug: str) -> tuple[str, str]:
    """Return pillar and title of a chapter from its text, if the book has one."""
    texts = sorted(root.glob(f"notebooks/*/{slug}.md")) if root is not None else []
    if not texts:
        return "own", slug.replace("-", " ")
    title = _TITLE.search(texts[0].read_text(encoding="utf-8"))
    return texts[0].parent.name, title.group(1) if title else slug


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(path.suffix + ".part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _display(bundle: dict[str, Any], metadata: dict[str, Any]) -> None:
    try:
        from IPython import get_ipython  # noqa: PLC0415 - the core package has no IPython
        from IPython.display import display  # noqa: PLC0415
    except ImportError:
        return
    if get_ipython() is not None:
        display(bundle, metadata=metadata, raw=True)
