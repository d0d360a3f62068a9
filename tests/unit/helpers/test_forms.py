"""Reading one field of a form, after which the application can still read the form."""

from __future__ import annotations

import tempfile
import time
from io import BytesIO
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.requests import URLENCODED, Wire, make_environ, with_body
from wsgi_session.errors import StoreUnavailable
from wsgi_session.helpers.forms import MAX_BODY, Rejoined, find_urlencoded_field, read_field

MULTIPART = "multipart/form-data; boundary=XyZ"


def multipart(*parts: str, boundary: str = "XyZ") -> bytes:
    return "".join(f"--{boundary}\r\n{part}\r\n" for part in parts).encode() + f"--{boundary}--\r\n".encode()


FIELD = 'Content-Disposition: form-data; name="a"\r\n\r\none'
FORMS = [
    (b"a=one&b=two", URLENCODED),
    (b"b=two&a=one&a=three", URLENCODED),
    (b"%61=%6Fne", URLENCODED),
    (b"a=one", "Application/X-WWW-Form-Urlencoded; charset=UTF-8"),
    (multipart(FIELD), MULTIPART),
    (multipart('Content-Disposition: form-data; name="b"\r\n\r\ntwo', FIELD), MULTIPART),
    (multipart(FIELD), 'Multipart/Form-Data; charset=utf-8; Boundary="XyZ"'),
    (multipart("Content-Type: text/plain\r\ncontent-disposition:form-data;name=a\r\n\r\none"), MULTIPART),
    (multipart("no header at all", "\r\n\r\nno disposition", FIELD), MULTIPART),
    (multipart('Content-Disposition: attachment; name="a"\r\n\r\nno', FIELD), MULTIPART),
    (multipart('Content-Disposition: form-data; name="a"; filename="a.txt"\r\n\r\nno', FIELD), MULTIPART),
    (multipart("Content-Disposition: form-data; name=\"a\"; filename*=UTF-8''a.txt\r\n\r\nno", FIELD), MULTIPART),
    (multipart('Content-Disposition: form-data; name="b"; x="; name=\\"a\\""\r\n\r\nno', FIELD), MULTIPART),
    (b"preamble\r\n" + multipart(FIELD) + b"epilogue", MULTIPART),
]


@pytest.mark.parametrize(("body", "content_type"), FORMS)
def test_a_field_is_read_and_the_body_stays_readable(body: bytes, content_type: str) -> None:
    environ = with_body(body, content_type)
    assert read_field(environ, "a") == "one"
    assert read_field(environ, "a") == "one"
    assert environ["wsgi.input"].read() == body


@pytest.mark.parametrize("value", ["", "a b+c&d=e", "é ü", "line\r\nline", "\r\n--", "0" * 5000])
def test_a_value_comes_back_as_it_was_typed(value: str) -> None:
    # WebOb encodes the form as a browser does. Imported here, because it warns about the deprecated cgi module.
    from webob import Request

    for content_type in (URLENCODED, "multipart/form-data"):
        request = Request.blank("/", POST={"x": "y", "a": value}, content_type=content_type)
        assert read_field(request.environ, "a") == value, content_type


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"a": "one"}', "application/json"),
        (b"a=one", "text/plain"),
        (b"a=one", ""),
        (b"b=two", URLENCODED),
        (b"a", "application/x-www-form-urlencoded-not"),
        (multipart(FIELD), "multipart/form-data"),
        (multipart(FIELD), "multipart/form-data; boundary="),
        (multipart(FIELD), "multipart/form-data; boundary=abc"),
        (multipart(FIELD), "multipart/mixed; boundary=XyZ"),
        (multipart('Content-Disposition: form-data; name="a'), MULTIPART),
        (multipart("Content-Disposition: form-data; name=a b\r\n\r\none"), "multipart/form-data; boundary=Ünï"),
        (multipart('Content-Disposition: form-data; x="name=a"\r\n\r\none'), MULTIPART),
        (b"\xff\x00\r\n--XyZ\r\n\r\n\r\n--XyZ", MULTIPART),
    ],
)
def test_what_is_no_form_or_has_no_such_field_is_none_and_stays_readable(body: bytes, content_type: str) -> None:
    environ = with_body(body, content_type)
    assert read_field(environ, "a") is None
    read = environ["wsgi.input"].read(len(body))
    assert read == body[: len(read)]
    assert read


@pytest.mark.parametrize("length", ["", "0", "-1", "x", "1e3", "\uff15", "9" * 5000])
def test_a_body_of_no_length_is_not_read(length: str) -> None:
    environ = with_body(b"a=one", CONTENT_LENGTH=length)
    given = environ["wsgi.input"]
    assert read_field(environ, "a") is None
    assert environ["wsgi.input"] is given
    assert given.read(5) == b"a=one"


def test_a_body_of_exactly_a_mebibyte_is_read() -> None:
    body = b"a=one&b=" + b"x" * (MAX_BODY - 8)
    environ = with_body(body, stream=Wire(body, piece=60_000))
    assert read_field(environ, "a") == "one"
    assert environ["wsgi.input"].read() == body


UPLOAD = b"line\r\n" * 400_000
LARGE_FORMS = [
    (multipart(FIELD, 'Content-Disposition: form-data; name="f"; filename="f"\r\n\r\n{}'), MULTIPART),
    (b"a=one&b={}", URLENCODED),
    (b"b=two&%61=one&c={}&a=three", URLENCODED),
]


@pytest.mark.parametrize(("body", "content_type"), LARGE_FORMS)
@pytest.mark.parametrize("piece", [1000, 10_000_000])
def test_a_field_in_front_of_a_large_upload_is_found_and_the_rest_stays_with_the_client(
    body: bytes, content_type: str, piece: int
) -> None:
    body = body.replace(b"{}", UPLOAD)
    wire = Wire(body, piece)
    environ = with_body(body, content_type, stream=wire)
    for _ in range(2):
        assert read_field(environ, "a") == "one"
        assert read_field(environ, "z") is None
        assert len(body) - wire.left == MAX_BODY
    stream = environ["wsgi.input"]
    chunks: list[bytes] = []
    while size := min(70_001, len(body) - sum(map(len, chunks))):
        chunks.append(stream.read(size))
    assert b"".join(chunks) == body
    # The field is still found after the application has read the whole body.
    assert read_field(environ, "a") == "one"


def test_a_field_behind_the_first_mebibyte_is_not_found_nor_one_that_is_cut_there() -> None:
    for behind in (
        multipart('Content-Disposition: form-data; name="f"; filename="f"\r\n\r\n{}', FIELD),
        multipart('Content-Disposition: form-data; name="a"\r\n\r\n{}'),
    ):
        body = behind.replace(b"{}", UPLOAD)
        environ = with_body(body, MULTIPART, stream=Wire(body, 60_000))
        assert read_field(environ, "a") is None
        assert read_to_the_end(environ["wsgi.input"], len(body)) == body
    for body in (b"b=" + b"x" * MAX_BODY + b"&a=one", b"b=" + b"x" * (MAX_BODY - 5) + b"&a=onetwo"):
        assert read_field(with_body(body, stream=Wire(body, 60_000)), "a") is None


def read_to_the_end(stream: Any, size: int) -> bytes:
    body = b""
    while len(body) < size and (data := stream.read(size - len(body))):
        body += data
    return body


def test_an_upload_held_in_a_file_is_left_where_the_application_had_it() -> None:
    body = b"a=one&b=" + UPLOAD
    stream = BytesIO(body)
    stream.seek(7)
    environ = with_body(body, stream=stream)
    assert read_field(environ, "a") == "one"
    assert environ["wsgi.input"] is stream
    assert stream.tell() == 7


LINES = [b"a=one\n", b"two\n", b"\n", b"x" * 20 + b"\n", b"end"]
READS: list[Any] = [
    lambda stream: stream.read(),
    lambda stream: stream.read(-1),
    lambda stream: stream.read(None),
    lambda stream: stream.read(0) + stream.read(3) + stream.read(8) + stream.read(50),
    lambda stream: b"".join(stream),
    lambda stream: b"".join(stream.readlines()),
    lambda stream: b"".join(stream.readlines(None)),
    lambda stream: b"".join(stream.readlines(8) + stream.readlines(1) + stream.readlines(0)),
    lambda stream: b"".join(iter(stream.readline, b"")),
    lambda stream: b"".join(iter(lambda: stream.readline(4), b"")),
    lambda stream: stream.readline(None) + stream.readline(0) + stream.readline(-1) + stream.read(),
    lambda stream: [next(iter(stream)), stream.readline(), stream.readlines()],
    lambda stream: [stream.read(3), stream.readline(2), stream.readlines(5), stream.readline(9), *stream],
]


@pytest.mark.parametrize("read", READS)
def test_a_body_that_was_read_in_part_reads_like_a_file(read: Any) -> None:
    body = b"".join(LINES)
    for cut in range(len(body) + 1):
        assert read(Rejoined(body[:cut], BytesIO(body[cut:]))) == read(BytesIO(body)), cut


def test_falcons_stream_is_the_one_that_has_all_of_the_body() -> None:
    for body in (multipart(FIELD), multipart(FIELD, 'Content-Disposition: form-data; name="b"\r\n\r\n{}')):
        body = body.replace(b"{}", UPLOAD)
        environ = with_body(body, MULTIPART, stream=Wire(body, 60_000))
        request = SimpleNamespace(env=environ, get_media=None, stream=environ["wsgi.input"])
        assert read_field(request, "a") == "one"
        assert read_to_the_end(request.stream, len(body)) == body


def test_a_body_without_a_length_or_a_type_is_not_read() -> None:
    for name in ("CONTENT_LENGTH", "CONTENT_TYPE", "wsgi.input"):
        environ = with_body(b"a=one")
        del environ[name]
        assert read_field(environ, "a") is None, name


@pytest.mark.parametrize("position", [0, 3, 5])
def test_an_input_that_can_be_read_again_is_left_where_the_application_had_it(position: int) -> None:
    with tempfile.TemporaryFile() as stream:
        stream.write(b"a=one")
        for given in (BytesIO(b"a=one"), stream):
            given.seek(position)
            environ = with_body(b"a=one", stream=given)
            assert read_field(environ, "a") == "one"
            assert environ["wsgi.input"] is given
            assert given.tell() == position


def test_a_client_that_sends_less_than_it_said_gives_the_fields_that_came() -> None:
    environ = with_body(b"", stream=SimpleNamespace(read=BytesIO(b"a=one&b=t").read), CONTENT_LENGTH="50")
    assert read_field(environ, "a") == "one"
    assert environ["wsgi.input"].read() == b"a=one&b=t"


def test_a_connection_that_breaks_is_no_field() -> None:
    def broken(size: int) -> bytes:
        raise OSError("connection reset")

    assert read_field(with_body(b"a=one", stream=SimpleNamespace(read=broken)), "a") is None


def test_an_environ_that_the_body_could_not_be_put_back_into_is_not_read() -> None:
    environ = with_body(b"a=one")
    assert read_field(MappingProxyType(environ), "a") is None
    assert environ["wsgi.input"].read(5) == b"a=one"


class Raises:
    """A request whose framework raises when it parses the form."""

    def __init__(self, error: Exception, environ: dict[str, Any]) -> None:
        self.environ = environ
        self._error = error

    @property
    def form(self) -> Any:
        raise self._error


def test_a_form_that_its_framework_refuses_is_no_field_and_its_body_is_not_read_again() -> None:
    environ = with_body(b"a=one")
    assert read_field(Raises(ValueError("too many parts"), environ), "a") is None
    assert environ["wsgi.input"].read(5) == b"a=one"


def test_an_outage_met_while_a_framework_parses_is_not_hidden() -> None:
    with pytest.raises(StoreUnavailable):
        read_field(Raises(StoreUnavailable("the store is down"), make_environ()), "a")


@pytest.mark.parametrize("name", ["form", "POST"])
def test_a_request_objects_own_form_is_asked_and_the_body_left_alone(name: str) -> None:
    environ = with_body(b"a=from the body")
    assert read_field(SimpleNamespace(environ=environ, **{name: {"a": "one"}}), "a") == "one"
    assert read_field(SimpleNamespace(environ=environ, **{name: {}}), "a") is None
    assert read_field(SimpleNamespace(environ=environ, **{name: {"a": ["one"]}}), "a") is None
    assert environ["wsgi.input"].read(5) == b"a=fro"


def test_an_attribute_that_is_no_form_is_passed_over() -> None:
    assert read_field(SimpleNamespace(environ=with_body(b"a=one"), form="a form's name"), "a") == "one"


def test_webobs_form_is_read_by_webob_before_and_after() -> None:
    from webob import Request

    request: Any = Request(with_body(b"a=one&b=two"))
    assert request.POST["b"] == "two"
    assert read_field(request, "a") == "one"
    assert read_field(request.environ, "a") == "one"
    environ = with_body(b"a=one&b=two")
    assert read_field(environ, "a") == "one"
    request = Request(environ)
    assert request.POST["b"] == "two"
    request = Request(with_body(b'{"a": 1}', "application/json"))
    assert read_field(request, "a") is None
    assert request.json == {"a": 1}


def test_bottles_form_is_asked_for_text_not_for_latin_1() -> None:
    class FormsDict(dict[str, str]):
        def getunicode(self, name: str) -> str:
            return self[name].encode("latin-1").decode()

    request = SimpleNamespace(environ=make_environ(), POST=FormsDict(a="Ã©"))
    assert read_field(request, "a") == "é"


def test_cherrypys_parameters_are_its_form_and_nobody_elses() -> None:
    environ = with_body(b"a=from the body")
    assert read_field(SimpleNamespace(wsgi_environ=environ, params={"a": "one"}), "a") == "one"
    assert read_field(SimpleNamespace(environ=environ, params={"a": "from the query"}), "a") == "from the body"


def test_falcons_form_is_asked_for_where_it_is_one_of_known_length() -> None:
    def request(environ: dict[str, Any], get_media: Any) -> Any:
        return SimpleNamespace(env=environ, get_media=get_media)

    def refuse() -> Any:
        raise ValueError("malformed")

    assert read_field(request(with_body(b"a=body"), lambda: {"a": "one"}), "a") == "one"
    assert read_field(request(with_body(b"a=body"), refuse), "a") is None
    assert read_field(request(with_body(b"a=body"), lambda: None), "a") is None
    assert read_field(request(with_body(b"a=body", CONTENT_LENGTH="x"), refuse), "a") is None
    assert read_field(request(with_body(multipart(FIELD), MULTIPART), refuse), "a") == "one"


def test_a_form_that_flask_has_parsed_is_found_from_its_environ() -> None:
    # Werkzeug stores the request in the environ, and the parsed form in the request's __dict__.
    environ = with_body(b"")
    environ["werkzeug.request"] = SimpleNamespace(environ=environ, form={"a": "one"})
    assert read_field(environ, "a") == "one"
    environ = with_body(b"a=one")
    environ["werkzeug.request"] = SimpleNamespace(environ=environ)
    assert read_field(environ, "a") == "one"


@given(
    st.binary(),
    st.sampled_from([URLENCODED, MULTIPART, "multipart/form-data; boundary=\r\n", "x"]),
    st.text(min_size=1),
)
def test_no_body_makes_an_exception_and_every_body_stays_readable(body: bytes, content_type: str, name: str) -> None:
    name = name.encode(errors="replace").decode()
    environ = with_body(body, content_type)
    assert read_field(environ, name) is None or body
    assert environ["wsgi.input"].read(len(body)) == body


@given(st.text(), st.text(), st.integers())
def test_no_content_type_or_length_makes_an_exception(content_type: str, length: str, number: int) -> None:
    for text in (length, str(number)):
        stream = BytesIO(b"a=one")
        environ = with_body(b"", content_type, CONTENT_LENGTH=text, **{"wsgi.input": stream})
        assert read_field(environ, "a") in (None, "one")


@pytest.mark.parametrize(
    "unit",
    [
        b"%&",
        b"a=&",
        b"%61=&",
        b"%41",
        b"--XyZ\r\n",
        b'--XyZ\r\nContent-Disposition: form-data; name="q"\r\n\r\nv\r\n',
        b"\r\ncontent-disposition",
        b'--XyZ\r\nContent-Disposition: form-data;x="\\',
        b';x="y',
    ],
)
def test_a_mebibyte_of_anything_is_read_in_linear_time(unit: bytes) -> None:
    def cost(size: int) -> float:
        body = b"--XyZ\r\nContent-Disposition: form-data" + unit * (size // len(unit)) + b"\r\n\r\n"
        begun = time.process_time()
        for content_type in (URLENCODED, MULTIPART):
            environ = with_body(body, content_type, **{"wsgi.input": BytesIO(body)})
            assert read_field(environ, "token") is None
        return time.process_time() - begun

    small, large = cost(MAX_BODY // 16), cost(MAX_BODY - 100)
    # The body is 16 times as long; quadratic time would be 256 times. The constant covers the clock's resolution.
    assert large < 64 * small + 0.2, f"{small:.4f} s for a sixteenth, {large:.4f} s for the whole"


def test_the_first_of_several_values_counts() -> None:
    assert find_urlencoded_field(b"a=1&a=2", "a") == "1"
    assert find_urlencoded_field(b"a&a=2", "a") == ""
    assert find_urlencoded_field(b"", "a") is None
