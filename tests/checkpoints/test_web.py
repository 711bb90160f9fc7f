"""Web servers that cannot give parts, that break off, and that mean harm."""

import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from tests.checkpoints.web import serving
from tests.hostile import good

import steelyard as sy
from steelyard.checkpoints import _web, _web_line
from steelyard.checkpoints._fetched import BLOCK
from steelyard.errors import CheckpointError

pytestmark = pytest.mark.no_keras

ARRAY = np.random.default_rng(0).normal(size=(300, 400)).astype("float32")


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch):
    monkeypatch.setattr(_web, "SECONDS", 1.0)
    monkeypatch.setattr(_web, "_PAUSES", (0, 0.01, 0.01))


@pytest.fixture
def url(web):
    return web.put("x.npy", good.npy(ARRAY))


def refused(url, match):
    with pytest.raises(CheckpointError, match=match) as caught:
        sy.weights(url).one().numpy()
    assert str(caught.value).startswith(url)


def test_one_that_knows_no_parts(web, url):
    def whole(handler, first, last):
        handler.send_response(200)
        handler.send_header("Content-Length", str(1 << 40))
        handler.end_headers()
        while True:  # for as long as somebody listens
            handler.wfile.write(bytes(1 << 20))

    web.change = whole
    refused(url, "it does not know `Range`.*copy it here first")


def test_an_answer_that_does_not_end(web, url):
    def endless(handler, first, last):
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes {first}-{last}/{1 << 40}")
        handler.end_headers()
        while True:
            handler.wfile.write(good.npy(ARRAY))

    web.change = endless
    refused(url, "bytes by its shape, and")


@pytest.mark.parametrize("times", [1, 99])
def test_one_that_sends_too_little(web, url, times):
    def little(handler, first, last):
        if last < BLOCK or len(web.asked) > times + 2:
            return False
        body = web.files["x.npy"][first : last + 1]
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes {first}-{last}/{len(web.files['x.npy'])}")
        handler.send_header("Content-Length", str(len(body)))
        handler.send_header("ETag", web.tags["x.npy"])
        handler.end_headers()
        handler.wfile.write(body[:1000])
        handler.close_connection = True
        return True

    web.change = little
    if times == 1:  # what broke off is gone on with, not begun anew
        assert np.array_equal(sy.weights(url).one().numpy(), ARRAY)
        assert web.asked[-1][1] == web.asked[-2][1] + 1000
    else:
        refused(url, "sent too little")


@pytest.mark.parametrize("status, times", [(503, 2), (503, 99), (500, 1), (403, 1), (418, 1)])
def test_one_that_says_no(web, url, status, times):
    def no(handler, first, last):
        if len(web.asked) > times:
            return False
        handler.tell(status)
        return True

    web.change = no
    if status >= 500 and times < 3:
        assert np.array_equal(sy.weights(url).one().numpy(), ARRAY)
    else:
        refused(url, f"answers? {status}")


def test_a_file_that_changes(web, url):
    found = sy.weights(url)
    web.put("x.npy", good.npy(ARRAY + 1), '"other"')
    with pytest.raises(CheckpointError, match="was changed while it was read"):
        found.one().numpy()
    found = sy.weights(url)
    web.put("x.npy", good.npy(ARRAY[1:]), '"other"')
    with pytest.raises(CheckpointError, match="was changed while it was read"):
        found.one().numpy()


@pytest.mark.parametrize(
    "told",
    [
        {"Content-Range": "bytes 5-9/100"},
        {"Content-Range": "bytes 0-9/*"},
        {"Content-Range": ""},
        {"Content-Encoding": "gzip"},
    ],
)
def test_another_part_than_was_asked_for(web, url, told):
    def other(handler, first, last):
        handler.part(web.files["x.npy"], first, last, **told)
        return True

    web.change = other
    refused(url, "another part than was asked for")


def test_an_empty_file(web):
    refused(web.put("x.npy", b""), "is empty")


@pytest.mark.parametrize("how", ["nothing", "head", "body"])
def test_one_that_never_answers(web, url, how):
    """Nothing at all, and bytes so slowly that each wait is short."""

    def never(handler, first, last):
        if how == "nothing":
            time.sleep(40)
            return True
        handler.wfile.write(b"HTTP/1.1 206 Partial\r\nContent-Length: 65536\r\n")
        if how == "body":
            handler.wfile.write(f"Content-Range: bytes 0-{last}/99999\r\n\r\n".encode())
        for _ in range(400):
            handler.wfile.write(b"x")
            time.sleep(0.1)
        return True

    web.change = never
    began = time.monotonic()
    refused(url, "did not answer within")
    assert time.monotonic() - began < 30  # of 40


def test_nobody_is_there():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        refused(f"http://127.0.0.1:{held.getsockname()[1]}/x.npy", "cannot be reached")


@pytest.mark.parametrize("url", ["http://", "http://a:b/x", "http:///x", "https://[::1/x"])
def test_no_address(url):
    with pytest.raises(CheckpointError, match="is no address of the web"):
        sy.weights(url)


# --- Sent on --------------------------------------------------------------------------------------


def sends_on(web, where):
    def move(handler, first, last):
        if not handler.path.startswith("/x.npy"):
            return False
        handler.tell(302, Location=where)
        return True

    web.change = move


def test_to_another_place_of_the_same_server(web, url):
    web.put("y.npy", good.npy(ARRAY))
    sends_on(web, "/y.npy?for=now")
    login = url.replace("//", "//me:pass@")
    assert np.array_equal(sy.weights(login).one().numpy(), ARRAY)
    assert len({asked[3] for asked in web.asked}) == 1


def test_where_that_is_good_for_a_while_only(web, url):
    web.put("y1", good.npy(ARRAY), '"y"')
    web.put("y2", good.npy(ARRAY), '"y"')
    sends_on(web, "/y1")
    found = sy.weights(url)
    del web.files["y1"]
    sends_on(web, "/y2")
    assert np.array_equal(found.one().numpy(), ARRAY)


HERE = Path("/etc/passwd").as_uri()


@pytest.mark.parametrize("where", [HERE, "ftp://127.0.0.1/x", "memory://x", ""])
def test_to_what_is_not_of_the_web(web, url, where):
    sends_on(web, where)
    refused(url, "no address of the web; it was not followed")


def test_round_and_round(web, url):
    sends_on(web, "/x.npy")
    refused(url, "sends on more than 5 times")


def test_to_what_only_this_machine_reaches(web, url):
    with serving() as inner:
        inner.put("secret", good.npy(ARRAY))
        for host in ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"):
            sends_on(web, f"http://{host}:{inner.url.rpartition(':')[2]}/secret")
            refused(url, "is no public address; it was not followed")
        assert not inner.asked


def test_to_another_server_goes_no_login(web, url, monkeypatch):
    monkeypatch.setattr(_web_line, "is_public", lambda address: True)
    with serving() as other:
        sends_on(web, other.put("y.npy", good.npy(ARRAY)))
        found = sy.weights(url.replace("//", "//me:pass@"))
        assert np.array_equal(found.one().numpy(), ARRAY)
        assert {asked[3] for asked in other.asked} == {None}


def test_never_from_https_to_http():
    named = _web_line.Target.of("https://example.org/x", "x")
    assert named.moved("https://other.org/y?z", named).url == "https://other.org:443/y?z"
    with pytest.raises(CheckpointError, match="from https to http"):
        named.moved("http://example.org/x", named)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "169.254.169.254", "192.168.1.1", "0.0.0.0", "100.64.0.1"),
        *("::1", "fe80::1%eth0", "fd00::1", "::ffff:10.0.0.1", "2002:7f00:1::", "224.0.0.1"),
    ],
)
def test_addresses_that_are_not_public(address):
    assert not _web_line.is_public(address)


def test_addresses_that_are():
    assert _web_line.is_public("93.184.216.34") and _web_line.is_public("2606:2800::1")


def test_a_proxy_is_asked_where_the_environment_names_one(web, monkeypatch):
    monkeypatch.setenv("http_proxy", web.url.replace("//", "//me:pass@"))
    monkeypatch.delenv("no_proxy", raising=False)
    asked = "http://model.example:80/x.npy"
    web.put(asked[1:], good.npy(ARRAY))
    assert np.array_equal(sy.weights("http://model.example/x.npy").one().numpy(), ARRAY)
    assert {one[0] for one in web.asked} == {asked[1:]}


@pytest.fixture
def certificate(tmp_path):
    if not shutil.which("openssl"):
        pytest.skip("openssl makes the certificate of the server")
    told = "req -x509 -newkey rsa:2048 -nodes -keyout key -out cert -days 2 -subj /CN=localhost"
    made = ["openssl", *told.split(), "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(made, cwd=tmp_path, check=True, capture_output=True)
    return tmp_path / "cert", tmp_path / "key"


def test_https(certificate, monkeypatch):
    inside = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    inside.load_cert_chain(*certificate)
    monkeypatch.setenv("no_proxy", "localhost")
    with serving(inside) as web:
        url = web.put("x.npy", good.npy(ARRAY)).replace("127.0.0.1", "localhost")
        refused(url, "who the server is cannot be verified: self-signed certificate")
        trust = ssl.create_default_context(cafile=certificate[0])
        monkeypatch.setattr(_web_line, "_trust", lambda: trust)
        assert np.array_equal(sy.weights(url).one().numpy(), ARRAY)
        refused(url.replace("localhost", "127.0.0.1"), "cannot be verified")
