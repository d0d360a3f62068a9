"""One field of a request's form, read so that the application can still read all of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, MutableMapping
from io import BytesIO
from typing import Any, BinaryIO
from urllib.parse import unquote_to_bytes

from wsgi_session.errors import StoreUnavailable
from wsgi_session.helpers.lookup import environ_of

#: Bytes of a body that are looked at. What follows is left for the application to read.
MAX_BODY = 1_048_576

_URLENCODED = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data"
# A form that was there and could not be parsed: its body is not read once more.
_NO_FIELDS: Mapping[str, str] = {}
# One parameter of a header: ; name="value" or ; name=value
_PARAMETER = re.compile(r';\s*([^\s=;"]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))\s*')


def read_field(request: object, name: str) -> str | None:
    """Return the form's first field ``name``, or ``None``: not there, not a form, malformed, or not in the first MiB.

    A request object's own form is used where it has one, because its framework may have read the body, or will want to.
    Else the first MiB of the body, if it says that it is a form and how long it is, is read and put back as
    ``environ["wsgi.input"]``. Of a plain environ, ask before the application reads the body.
    """
    environ = environ_of(request)
    form = _form_already_read(environ) if isinstance(request, Mapping) else _own_form(request, environ)
    if form is None:
        stream = environ.get("wsgi.input")
        field = _field_of_body(environ, name)
        if stream is not None and getattr(request, "stream", None) is stream:
            request.stream = environ["wsgi.input"]  # type: ignore[attr-defined]  # Falcon's
        return field
    # Bottle's get() gives latin-1.
    value = _quietly(None, getattr(form, "getunicode", form.get), name)
    return value if isinstance(value, str) else None


def urlencoded_field(data: bytes, name: str) -> str | None:
    """Return the first ``name`` of a query or of a urlencoded body, decoded as UTF-8, or ``None``; in linear time."""
    wanted = name.encode()
    for pair in data.split(b"&"):
        found, _, value = pair.partition(b"=")
        # Each byte may be written as three: of half a million of "%" none is worth decoding.
        if not len(wanted) <= len(found) <= 3 * len(wanted):
            continue
        if unquote_to_bytes(found.replace(b"+", b" ")) == wanted:
            return unquote_to_bytes(value.replace(b"+", b" ")).decode(errors="replace")
    return None


def _form_already_read(environ: Mapping[str, Any]) -> Any:
    """Return the form that a Flask application has parsed, and whose body is gone, or ``None``.

    Others leave the body so that it can be read again (WebOb, Bottle), or no trace in the environ.
    """
    return getattr(environ.get("werkzeug.request"), "__dict__", {}).get("form")


def _own_form(request: object, environ: Mapping[str, Any]) -> Any:
    """Return the parsed form that ``request`` offers, something with ``get``, or ``None`` if it offers none."""
    names = ["form", "POST"]  # Werkzeug, Flask; WebOb, Pyramid, Django, Bottle
    if hasattr(request, "wsgi_environ"):
        names.append("params")  # CherryPy, which has read the body by now; elsewhere this is the query's
    for name in names:
        form = _quietly(_NO_FIELDS, getattr, request, name, None)
        if callable(getattr(form, "get", None)):
            return form
    # Falcon, which keeps what it has parsed: the same form is there for the application.
    urlencoded = _form_type(environ)[0] == _URLENCODED and 0 < _length(environ) <= MAX_BODY
    if callable(getattr(request, "get_media", None)) and urlencoded:
        form = _quietly(_NO_FIELDS, request.get_media)  # type: ignore[attr-defined]
        return form if isinstance(form, Mapping) else _NO_FIELDS
    return None


def _quietly(otherwise: Any, function: Any, *args: Any) -> Any:
    try:
        return function(*args)
    except StoreUnavailable:
        raise
    except Exception:
        # Whatever a framework raises over a malformed, truncated or too long body: to us there is no such field, and
        # the application meets the same error where it reads the form itself.
        return otherwise


def _field_of_body(environ: Mapping[str, Any], name: str) -> str | None:
    kind, parameters = _form_type(environ)
    if kind not in (_URLENCODED, _MULTIPART):
        return None
    length = _length(environ)
    body = _beginning(environ, length)
    cut = length > MAX_BODY
    if kind == _URLENCODED:
        return urlencoded_field(body.rpartition(b"&")[0] if cut else body, name)
    return _multipart_field(body, parameters.get("boundary", ""), name, cut)


def _form_type(environ: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    return _header(str(environ.get("CONTENT_TYPE", "")))


def _length(environ: Mapping[str, Any]) -> int:
    """Return Content-Length in bytes, 0 if there is none."""
    text = str(environ.get("CONTENT_LENGTH", ""))
    # At most fifteen digits: int() of a very long text is slow, and of non-ASCII digits surprising.
    return int(text) if re.fullmatch(r"[0-9]{1,15}", text) else 0


def _beginning(environ: Mapping[str, Any], length: int) -> bytes:
    """Return the body, of ``length`` bytes, or its first MiB; the application finds all of it where it looks for it."""
    stream = environ.get("wsgi.input")
    if not length or stream is None or not isinstance(environ, MutableMapping):
        return b""
    if isinstance(stream, Rejoined):
        return stream.beginning
    if _quietly(False, getattr(stream, "seekable", bool)):
        # Held in memory or in a file by the server or by WebOb: read where it is, left where it stood.
        position = stream.tell()
        stream.seek(0)
        body = _read(stream, min(length, MAX_BODY))
        stream.seek(position)
        return body
    body = _read(stream, min(length, MAX_BODY))
    environ["wsgi.input"] = BytesIO(body) if length <= MAX_BODY else Rejoined(body, stream)
    return body


class Rejoined:
    """A body whose beginning has been read: gives that, and then what is left in the stream it came from (PEP 3333)."""

    def __init__(self, beginning: bytes, rest: BinaryIO) -> None:
        self.beginning = beginning
        self._again = BytesIO(beginning)
        self._rest = rest

    def read(self, size: int | None = -1) -> bytes:
        data = self._again.read(size)
        if size is None or size < 0:
            return data + self._rest.read()
        return data if len(data) == size else data + self._rest.read(size - len(data))

    def readline(self, size: int | None = -1) -> bytes:
        line = self._again.readline(size)
        if line.endswith(b"\n") or len(line) == size:
            return line
        if size is None or size < 0:
            return line + self._rest.readline()
        return line + self._rest.readline(size - len(line))

    def readlines(self, hint: int | None = -1) -> list[bytes]:
        lines = []
        size = 0
        for line in self:
            lines.append(line)
            size += len(line)
            if hint is not None and 0 < hint <= size:
                break
        return lines

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")


def _read(stream: BinaryIO, length: int) -> bytes:
    """Read ``length`` bytes, less if the client sends less, and never ask for more: a socket would block."""
    chunks = []
    while length:
        chunk = _quietly(b"", stream.read, length)
        if not chunk:
            break
        chunks.append(chunk)
        length -= len(chunk)
    return b"".join(chunks)


def _multipart_field(body: bytes, boundary: str, name: str, cut: bool) -> str | None:
    if not boundary:
        return None
    # RFC 2046: a delimiter is a line of its own, and the line break before it belongs to it.
    parts = (b"\r\n" + body).split(b"\r\n--" + boundary.encode("latin-1", errors="replace"))
    # Where the body was cut, so may be the last part.
    for part in parts[1:-1] if cut else parts[1:]:
        head, blank_line, value = part.partition(b"\r\n\r\n")
        disposition = re.search(rb"\r\ncontent-disposition:([^\r\n]*)", head, re.IGNORECASE)
        if not blank_line or disposition is None:
            continue
        kind, parameters = _header(disposition[1].decode(errors="replace"))
        # With a filename (or filename*) it is a file, whatever its name.
        is_file = "filename" in parameters or "filename*" in parameters
        if kind == "form-data" and parameters.get("name") == name and not is_file:
            return value.decode(errors="replace")
    return None


def _header(text: str) -> tuple[str, dict[str, str]]:
    """Split a header such as ``form-data; name="a"`` into its value and its parameters."""
    value, _, _ = text.partition(";")
    parameters: dict[str, str] = {}
    place = len(value)
    while match := _PARAMETER.match(text, place):
        parameters.setdefault(match[1].lower(), match[3] if match[2] is None else re.sub(r"\\(.)", r"\1", match[2]))
        place = match.end()
    return value.strip().lower(), parameters
