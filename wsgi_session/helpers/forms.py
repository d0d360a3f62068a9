"""Reading one field of a request's form, so that the application can still read the whole form."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, MutableMapping
from io import BytesIO
from typing import Any, BinaryIO
from urllib.parse import unquote_to_bytes

from wsgi_session.errors import StoreUnavailable
from wsgi_session.helpers.lookup import environ_of

#: The maximum number of bytes of a body that are searched. The application can read all of it.
MAX_BODY = 1_048_576

_URLENCODED = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data"
# Stands for a form that could not be parsed, so that its body is not read again.
_UNPARSABLE_FORM: Mapping[str, str] = {}
# One parameter of a header: ; name="value" or ; name=value
_PARAMETER = re.compile(r';\s*([^\s=;"]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))\s*')


def read_field(request: object, name: str) -> str | None:
    """Return the form's first field ``name``; ``None`` if there is no such field in a valid form of up to one MiB.

    If the request object has a parsed form, that is used, because the framework may have read the body, or may read it
    later. Otherwise, if the headers give the type of a form and its length, the first MiB is read and put back as
    ``environ["wsgi.input"]``. With a plain environ, call this before the application reads the body.
    """
    environ = environ_of(request)
    form = _form_already_read(environ) if isinstance(request, Mapping) else _own_form(request, environ)
    if form is None:
        stream = environ.get("wsgi.input")
        field = _field_of_body(environ, name)
        if stream is not None and getattr(request, "stream", None) is stream:
            request.stream = environ["wsgi.input"]  # type: ignore[attr-defined]  # Falcon's
        return field
    # Bottle's get() decodes as latin-1, its getunicode() as UTF-8.
    value = _call_or(None, getattr(form, "getunicode", form.get), name)
    return value if isinstance(value, str) else None


def find_urlencoded_field(data: bytes, name: str) -> str | None:
    """Return the first ``name`` in a query string or a urlencoded body, decoded as UTF-8; ``None`` if there is none.

    Takes linear time.
    """
    encoded_name = name.encode()
    for pair in data.split(b"&"):
        found, _, value = pair.partition(b"=")
        # A percent-encoded byte takes three. A longer name cannot match, and may be slow to decode.
        if not len(encoded_name) <= len(found) <= 3 * len(encoded_name):
            continue
        if unquote_to_bytes(found.replace(b"+", b" ")) == encoded_name:
            return unquote_to_bytes(value.replace(b"+", b" ")).decode(errors="replace")
    return None


def _form_already_read(environ: Mapping[str, Any]) -> Any:
    """Return the form that Flask has already parsed, whose body cannot be read again; ``None`` if there is none.

    Other frameworks leave the body readable (WebOb, Bottle), or store nothing in the environ.
    """
    return getattr(environ.get("werkzeug.request"), "__dict__", {}).get("form")


def _own_form(request: object, environ: Mapping[str, Any]) -> Any:
    """Return the parsed form of ``request``, an object with ``get()``; ``None`` if it has none."""
    names = ["form", "POST"]  # Werkzeug, Flask; WebOb, Pyramid, Django, Bottle
    if hasattr(request, "wsgi_environ"):
        names.append("params")  # CherryPy, which has already read the body; elsewhere, this is the query string
    for name in names:
        form = _call_or(_UNPARSABLE_FORM, getattr, request, name, None)
        if callable(getattr(form, "get", None)):
            return form
    # Falcon caches the parsed form, so the application still gets it.
    urlencoded = _content_type(environ)[0] == _URLENCODED and 0 < _content_length(environ) <= MAX_BODY
    if callable(getattr(request, "get_media", None)) and urlencoded:
        form = _call_or(_UNPARSABLE_FORM, request.get_media)  # type: ignore[attr-defined]
        return form if isinstance(form, Mapping) else _UNPARSABLE_FORM
    return None


def _call_or(default: Any, function: Any, *args: Any) -> Any:
    """Call ``function``, which may run a framework's parser; return ``default`` if it raises."""
    try:
        return function(*args)
    except StoreUnavailable:
        raise
    except Exception:
        # A framework may raise any error for a malformed, truncated or too long body. The field is missing then, and
        # the application gets the same error when it reads the form.
        return default


def _field_of_body(environ: Mapping[str, Any], name: str) -> str | None:
    kind, parameters = _content_type(environ)
    if kind not in (_URLENCODED, _MULTIPART):
        return None
    length = _content_length(environ)
    body = _read_beginning(environ, length)
    cut = length > MAX_BODY
    if kind == _URLENCODED:
        return find_urlencoded_field(body.rpartition(b"&")[0] if cut else body, name)
    return _find_multipart_field(body, parameters.get("boundary", ""), name, cut)


def _content_type(environ: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    return _parse_header(str(environ.get("CONTENT_TYPE", "")))


def _content_length(environ: Mapping[str, Any]) -> int:
    """Return Content-Length in bytes; 0 if there is no valid one."""
    text = str(environ.get("CONTENT_LENGTH", ""))
    # At most fifteen ASCII digits, because int() is slow for a very long text, and accepts other digits.
    return int(text) if re.fullmatch(r"[0-9]{1,15}", text) else 0


def _read_beginning(environ: Mapping[str, Any], length: int) -> bytes:
    """Return the body, of ``length`` bytes, or its first MiB; all of it stays readable for the application."""
    stream = environ.get("wsgi.input")
    if not length or stream is None or not isinstance(environ, MutableMapping):
        return b""
    if isinstance(stream, Rejoined):
        return stream.beginning
    if _call_or(False, getattr(stream, "seekable", bool)):
        # The server or WebOb has buffered the body: read it from the start, then restore the position.
        position = stream.tell()
        stream.seek(0)
        body = _read(stream, min(length, MAX_BODY))
        stream.seek(position)
        return body
    body = _read(stream, min(length, MAX_BODY))
    environ["wsgi.input"] = BytesIO(body) if length <= MAX_BODY else Rejoined(body, stream)
    return body


class Rejoined:
    """A body as ``wsgi.input`` (PEP 3333) whose beginning was read: returns that first, then the rest of the stream."""

    def __init__(self, beginning: bytes, rest: BinaryIO) -> None:
        self.beginning = beginning
        self._beginning = BytesIO(beginning)
        self._rest = rest

    def read(self, size: int | None = -1) -> bytes:
        data = self._beginning.read(size)
        if size is None or size < 0:
            return data + self._rest.read()
        return data if len(data) == size else data + self._rest.read(size - len(data))

    def readline(self, size: int | None = -1) -> bytes:
        line = self._beginning.readline(size)
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
    """Read up to ``length`` bytes, fewer if the client sends fewer. Never request more: a socket would block."""
    chunks = []
    while length:
        chunk = _call_or(b"", stream.read, length)
        if not chunk:
            break
        chunks.append(chunk)
        length -= len(chunk)
    return b"".join(chunks)


def _find_multipart_field(body: bytes, boundary: str, name: str, cut: bool) -> str | None:
    if not boundary:
        return None
    # RFC 2046: the line break before a delimiter belongs to the delimiter.
    parts = (b"\r\n" + body).split(b"\r\n--" + boundary.encode("latin-1", errors="replace"))
    # If the body was cut, its last part may be incomplete.
    for part in parts[1:-1] if cut else parts[1:]:
        head, blank_line, value = part.partition(b"\r\n\r\n")
        disposition = re.search(rb"\r\ncontent-disposition:([^\r\n]*)", head, re.IGNORECASE)
        if not blank_line or disposition is None:
            continue
        kind, parameters = _parse_header(disposition[1].decode(errors="replace"))
        # A part with a filename (or filename*) is an uploaded file, not a text field.
        is_file = "filename" in parameters or "filename*" in parameters
        if kind == "form-data" and parameters.get("name") == name and not is_file:
            return value.decode(errors="replace")
    return None


def _parse_header(text: str) -> tuple[str, dict[str, str]]:
    """Split a header such as ``form-data; name="a"`` into its value and its parameters."""
    value, _, _ = text.partition(";")
    parameters: dict[str, str] = {}
    place = len(value)
    while match := _PARAMETER.match(text, place):
        parameters.setdefault(match[1].lower(), match[3] if match[2] is None else re.sub(r"\\(.)", r"\1", match[2]))
        place = match.end()
    return value.strip().lower(), parameters
