"""Search log lines and the local variables of our frames for tokens and secrets, during the whole test run.

The watch notes every token, every text made from one for a cookie or a form, and every secret of a
middleware. It searches for them in every line that the package logs (at DEBUG), and, whenever the package raises an
error, in the ``repr`` of every local variable of the package's frames, which error reporters and debuggers show. It
does not search what is not ours: the environ, which has the Cookie header, and the application's page, which may
contain the token of a form.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import pytest

import wsgi_session
from wsgi_session import SessionError
from wsgi_session.config import options as config
from wsgi_session.cookies import tokens
from wsgi_session.cookies.seal import RANDOM_PART, Sealer
from wsgi_session.cookies.tokens import TokenSigner

_PACKAGE = str(Path(wsgi_session.__file__).parent)
# The number of characters of a longer secret to search for: enough that no other text has them by chance.
_LENGTH = 32
# Below DEBUG, so that a level that the watch has set can be recognised.
_EVERYTHING = 5
# The number of times that frames at the same places in the code are searched.
_ENOUGH = 3
# The number of characters of a local variable to search: more than any error reporter shows.
_SHOWN = 10_000
# Local variables that have the application's response.
_PAGE = ("body", "chunks")


class Watch:
    """The secrets to search for, and the places where they were found."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._marks: set[str] = set()
        self._places: Counter[tuple[object, ...]] = Counter()
        self._busy = False

    def forget_places(self) -> None:
        """Search every place in the code again."""
        self._places.clear()

    def note(self, secret: str | bytes) -> None:
        """Search for ``secret`` from now on, unless it is so short that other texts contain it by chance."""
        text = secret.decode("latin-1") if isinstance(secret, bytes) else secret
        if len(set(text[:_LENGTH])) >= 10:
            self._marks |= {text[:_LENGTH], repr(text)[1:-1][:_LENGTH]}

    def shows(self, text: str) -> bool:
        """Return whether ``text`` contains a noted secret."""
        marks = self._marks
        return any(text[start : start + _LENGTH] in marks for start in range(len(text) - _LENGTH + 1))

    def search_line(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info:
            text += logging.Formatter().formatException(record.exc_info)
        if self.shows(text):
            self.found.append(f"a log line of {record.name}: {record.msg!r} from {record.pathname}:{record.lineno}")
        # An error reporter adds the stack to a log line, and most log lines are written where an error is handled.
        self.search_frames(frames_from(sys._getframe(1)))
        self.search_frames(frames_of(sys.exc_info()[1]))

    def search_frames(self, frames: Iterable[FrameType]) -> None:
        """Search the local variables of those ``frames`` that are ours."""
        frames = [frame for frame in frames if is_ours(frame)]
        place = tuple((frame.f_code, frame.f_lineno) for frame in frames)
        self._places[place] += 1
        if self._busy or self._places[place] > _ENOUGH:
            return
        # A repr may raise an error of this package too.
        self._busy = True
        try:
            self.found += self.shown_in(frames)
        finally:
            self._busy = False

    def shown_in(self, frames: Iterable[FrameType]) -> Iterator[str]:
        """Yield a description of each local variable that shows a secret."""
        for frame in frames:
            for name, value in list(frame.f_locals.items()):
                if name not in _PAGE and self.shows(as_shown(value)[:_SHOWN]):
                    file = frame.f_code.co_filename.removeprefix(_PACKAGE)
                    yield f"{name} in {frame.f_code.co_name}, wsgi_session{file}:{frame.f_lineno}"


def is_ours(frame: FrameType) -> bool:
    """Return whether a frame runs the package's code, except ``testing``, which handles cookies by design."""
    file = frame.f_code.co_filename
    return file.startswith(_PACKAGE) and not file.startswith(_PACKAGE + "/testing")


def frames_from(frame: FrameType | None) -> Iterator[FrameType]:
    """Return the frames of the current stack, which a traceback would show."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def frames_of(error: BaseException | None) -> Iterator[FrameType]:
    """Return the frames that a traceback of ``error`` shows, including those of its causes."""
    while error is not None:
        traceback: TracebackType | None = error.__traceback__
        while traceback is not None:
            yield traceback.tb_frame
            traceback = traceback.tb_next
        error = error.__cause__ or error.__context__


def as_shown(value: object) -> str:
    """Return what a debugger shows of a local variable; nothing for an environ, which belongs to the server."""
    # Only a dict: reading another mapping could load a session.
    if isinstance(value, dict) and not value.keys().isdisjoint(("HTTP_COOKIE", "REQUEST_METHOD")):
        return ""
    try:
        return repr(value)
    except Exception:
        return ""


@contextmanager
def watching() -> Iterator[Watch]:
    """Note and search everything that happens in the block."""
    watch = Watch()
    logger = logging.getLogger("wsgi_session")

    def filter_line(record: logging.LogRecord) -> bool:
        watch.search_line(record)
        # A test that captures logs gets the same lines as without the watch.
        threshold = logging.getLogger().getEffectiveLevel() if logger.level == _EVERYTHING else logger.level
        return record.levelno >= threshold

    def note_drawn(drawn: bytes) -> None:
        watch.note(drawn)

    def note_csrf(token: str) -> None:
        # The first half is a random mask.
        watch.note(token[-_LENGTH:])

    def note_seal(seal: str) -> None:
        watch.note(seal[RANDOM_PART.start :])

    def note_secrets(secrets: list[bytes]) -> None:
        for secret in secrets:
            watch.note(secret)

    raised = SessionError.__init__

    def search(error: SessionError, *arguments: object, **named: object) -> None:
        raised(error, *arguments, **named)
        watch.search_frames(frames_from(sys._getframe(1)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "new_token", _then(note_drawn, tokens.new_token))
        patch.setattr(tokens, "new_short_token", _then(note_drawn, tokens.new_short_token))
        patch.setattr(tokens, "csrf_token", _then(note_csrf, tokens.csrf_token))
        patch.setattr(TokenSigner, "sign", _then(watch.note, TokenSigner.sign))
        patch.setattr(Sealer, "seal", _then(note_seal, Sealer.seal))
        patch.setattr(config, "check_secrets", _then(note_secrets, config.check_secrets))
        patch.setattr(SessionError, "__init__", wraps(raised)(search))
        patch.setattr(logger, "level", _EVERYTHING)
        logger.addFilter(filter_line)
        logger.manager._clear_cache()  # type: ignore[attr-defined]
        try:
            yield watch
        finally:
            logger.removeFilter(filter_line)
    logger.manager._clear_cache()  # type: ignore[attr-defined]


def _then(note: Callable[[Any], None], function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function``, with its results noted."""

    @wraps(function)
    def noting(*arguments: Any, **named: Any) -> Any:
        result = function(*arguments, **named)
        note(result)
        return result

    return noting


def everything(value: object) -> str:
    """Return all text and bytes in ``value``, however deep."""
    if isinstance(value, (bytes, str)):
        return repr(value)
    if isinstance(value, dict):
        return "".join(everything(item) for pair in value.items() for item in pair)
    if isinstance(value, (list, tuple, set, frozenset)):
        return "".join(everything(item) for item in value)
    return repr(value)
