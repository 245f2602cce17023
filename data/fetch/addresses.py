"""Where a download may go: over http or https, and to no address of this machine or its network unless that is allowed.

A name is resolved here, the answer checked, and the checked address connected to: a name that answers otherwise when
it is asked again leads nowhere else. Redirects come as requests of their own. Proxies of the environment are not used:
they would resolve names anew.
"""
import asyncio
import ipaddress
import socket

import httpx

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # the last four bytes are an IPv4 address


class RefusedAddress(Exception):
    """An address that nothing is fetched from; the message says why."""


def is_public(address: str) -> bool:
    """Whether an IP address lies outside of this machine and its network, whatever it is wrapped in."""
    found = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo or (None, None))[1]
        if found in NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if found.is_site_local:
            return False
    return found.is_global and not found.is_multicast


async def resolve(host: str, port: int) -> list[str]:
    """The IP addresses of a host, each once.

    Raises:
        socket.gaierror: if it has none.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class CheckedTransport(httpx.AsyncBaseTransport):
    """Sends each request to an address that was resolved and checked for it.

    Every host has connections of its own: they are kept by address, and a certificate speaks for its host alone.
    """

    def __init__(self, allow_private: bool, per_host: int) -> None:
        self._allow_private = allow_private
        self._limits = httpx.Limits(max_keepalive_connections=per_host, keepalive_expiry=15)
        self._certificates = httpx.create_ssl_context()
        self._hosts: dict[str, httpx.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request.

        Raises:
            RefusedAddress: if its scheme or address is not allowed. socket.gaierror: if the host has no address.
        """
        host = request.url.raw_host.decode("ascii")
        if request.url.scheme not in ("http", "https") or not host:
            raise RefusedAddress(f"no http(s) address: {str(request.url):.80}")
        addresses = await resolve(host, request.url.port or {"http": 80, "https": 443}[request.url.scheme])
        private = [address for address in addresses if not is_public(address)]
        if private and not self._allow_private:
            raise RefusedAddress(f"private address {private[0]} of {host}")
        if host not in self._hosts:
            self._hosts[host] = httpx.AsyncHTTPTransport(verify=self._certificates, limits=self._limits)
        failed: httpx.TransportError | None = None
        for address in addresses:
            sent = httpx.Request(request.method, request.url.copy_with(host=address), headers=request.headers,
                                 stream=request.stream, extensions={**request.extensions, "sni_hostname": host})
            try:
                return await self._hosts[host].handle_async_request(sent)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failed = error
        assert failed is not None, "a host that was resolved has an address"
        raise failed

    async def aclose(self) -> None:
        """Close every connection."""
        for inner in self._hosts.values():
            await inner.aclose()
