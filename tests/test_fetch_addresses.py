"""Where a download may lead: no address of this machine or its network, however it is written, named or reached."""
import shutil
import ssl
import subprocess

import pytest

from data.__main__ import main
from data.fetch import addresses
from data.pictures.photos import find_photos
from tests.fetching import IDS, jpeg, name_urls, quick, report, root, run, serve, server  # noqa: F401
from tests.misbehaving_server import Server, answer, redirect


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "192.168.0.1", "100.64.0.1", "0.0.0.0",
                                     "224.0.0.1", "::1", "fe80::1", "fc00::1", "fec0::1", "::ffff:127.0.0.1",
                                     "2002:7f00:1::", "64:ff9b::7f00:1", "::"])
def test_these_addresses_are_private(address):
    assert not addresses.is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_these_are_not(address):
    assert addresses.is_public(address)


def plain(root):
    return main(["fetch", str(root), "--silence", "2", "--tries", "1"])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "[::1]", "[::ffff:127.0.0.1]"])
def test_private_addresses_are_refused_however_they_are_written(root, server, host):
    port = server.server_address[1]
    name_urls(root, {name: f"http://{host}:{port}/{name}" for name in IDS})
    plain(root)
    assert not server.asked and not find_photos(root)
    assert {cause.partition(" ")[0] for _, cause in report(root).values()} <= {"private", "host"}


def test_a_redirect_to_a_private_address_is_refused(root, server, monkeypatch):
    """127.0.0.2 stands for an address outside."""
    outside = Server("127.0.0.2")
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.2")
    for name in IDS:
        outside.routes[f"/{name}"] = redirect(f"{server.url}/{name}")
    name_urls(root, {name: f"{outside.url}/{name}" for name in IDS})
    assert plain(root) == 0 and len(outside.asked) == 36 and not server.asked
    assert set(report(root).values()) == {("gone", "private address 127.0.0.1 of 127.0.0.1")}
    serve(root, server)
    name_urls(root, {name: f"{outside.url}/{name}" for name in IDS})
    assert run(root) == 0 and len(find_photos(root)) == 36  # allowed now, they are asked for again
    outside.shutdown()


def test_a_name_is_connected_to_where_it_was_found_when_checked(root, server, monkeypatch):
    """The second answer of a name that changes its mind would lead inside: nobody asks a second time."""
    answers = []

    async def resolve(host, port):
        answers.append(host)
        return ["127.0.0.2"] if len(answers) % 2 else ["127.0.0.1"]
    outside = Server("127.0.0.2")
    monkeypatch.setattr(addresses, "resolve", resolve)
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.2")
    asked_as = []

    def send(handler):
        asked_as.append(handler.headers["Host"])
        answer(jpeg())(handler)
    port = outside.server_address[1]
    outside.routes = {f"/{name}": send for name in IDS}
    name_urls(root, {name: f"http://photos.example:{port}/{name}" for name in IDS})
    plain(root)
    assert len(find_photos(root)) == len(outside.asked) == 18 and not server.asked
    assert set(asked_as) == {f"photos.example:{port}"}
    assert {cause for _, cause in report(root).values()} == {"private address 127.0.0.1 of photos.example"}
    outside.shutdown()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
@pytest.mark.parametrize("name", ["photos.example", "other.example"])
def test_a_certificate_is_held_against_the_name_not_the_address(root, tmp_path, monkeypatch, name):
    subprocess.run([*"openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2".split(),
                    "-subj", "/CN=photos.example", "-addext", "subjectAltName=DNS:photos.example"],
                   cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    secure = Server()
    secure.socket = context.wrap_socket(secure.socket, server_side=True, do_handshake_on_connect=False)
    secure.routes = {f"/{photo}": answer(jpeg()) for photo in IDS}

    async def resolve(host, port):
        return ["127.0.0.1"]
    monkeypatch.setattr(addresses, "resolve", resolve)
    monkeypatch.setattr(addresses.httpx, "create_ssl_context",
                        lambda: ssl.create_default_context(cafile=str(tmp_path / "cert.pem")))
    name_urls(root, {photo: f"https://{name}:{secure.server_address[1]}/{photo}" for photo in IDS})
    run(root)
    assert len(find_photos(root)) == (36 if name == "photos.example" else 0)
    secure.shutdown()


@pytest.mark.parametrize("url", ["storyworld:17", "ftp://example.org/a.jpg", "http://[broken", "no address", "http://"])
def test_what_is_no_web_address_is_said_to_be_none(root, url):
    name_urls(root, {name: url for name in IDS})
    assert run(root) == 0 and len(report(root)) == 36
    assert all(result == "gone" and cause.startswith("no http(s) address") for result, cause in report(root).values())
