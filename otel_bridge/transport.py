"""One HTTP connection to a Flowspan server, kept alive. Of the standard library: `requests` costs the user's program 110 ms more of import."""

from __future__ import annotations

import os
from base64 import b64encode
from dataclasses import dataclass
from importlib import import_module
from time import time
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

from otel_bridge.loading import importing

if TYPE_CHECKING:  # 25 ms of import, paid by the sender's thread
    import http.client
    import ssl
    from email.message import Message

# An answer says "ok" or which records were refused; nobody reads more.
MOST_ANSWER_BYTES = 64 * 1024
# No server may make us wait longer than this.
MOST_RETRY_AFTER_S = 300.0
# The body is at fault: sent again it is refused again. Anything else may pass by itself, or when a person has mended an address or a key.
_NEVER = frozenset({400, 413, 415, 422})
# Of these the second is needed by getaddrinfo, for the names of hosts.
_LATER = ("http.client", "encodings.idna", "email.utils")


@dataclass(frozen=True)
class Answer:
    """What became of a request. again: it may be sent again, after retry_after_s at least. reason: for people.

    refused: how many of its records were not taken, though the request was. is_answered: whether there was an answer at all.
    """

    taken: bool
    again: bool = False
    retry_after_s: float = 0.0
    reason: str = ""
    refused: int = 0
    is_answered: bool = False


class Transport:
    """Posts bodies to one address. Used by one thread."""

    def __init__(self, url: str, api_key: str, timeout_s: float) -> None:
        """url: without a path of OTLP. TLS is verified, against OTEL_EXPORTER_OTLP_CERTIFICATE or the system's authorities."""
        self._url = url
        self._timeout_s = timeout_s
        self._headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip", "User-Agent": "flowspan-bridge"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._target = ""
        self._connection: http.client.HTTPConnection | None = None
        self._is_loaded = False

    def post(self, path: str, body: bytes) -> Answer:
        """Send one body and say what became of it. A connection the server has closed meanwhile is opened anew, once."""
        self._load()
        is_old = self._connection is not None
        try:
            return self._post(path, body)
        except ConnectionError as error:
            self.close()
            return self.post(path, body) if is_old else _unreached(error)
        except Exception as error:  # noqa: BLE001  # HTTPException, OSError, an address that is none, a certificate that cannot be read
            self.close()
            return _unreached(error)

    def close(self) -> None:
        """Close the connection; the next request opens one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _load(self) -> None:
        """Import now what is needed later, some of it deep inside the standard library."""
        if not self._is_loaded:
            with importing:
                for module in _LATER:
                    import_module(module)

                if _may_have_proxy():
                    import_module("urllib.request")
            self._is_loaded = True

    def _post(self, path: str, body: bytes) -> Answer:
        if self._connection is None:
            self._connection = self._connect()
        connection = self._connection
        connection.request("POST", self._target + path, body, self._headers)
        response = connection.getresponse()
        text = response.read(MOST_ANSWER_BYTES)
        if response.will_close or not response.isclosed():
            self.close()
        return _answer_of(response.status, response.headers, text)

    def _connect(self) -> http.client.HTTPConnection:
        import http.client

        parts = urlsplit(self._url)
        self._target = parts.path
        host, port = parts.hostname or "", parts.port
        proxy = _proxy_of(parts)
        to_host, to_port = (proxy.hostname or "", proxy.port or 80) if proxy else (host, port)
        if parts.scheme == "https":
            tls = http.client.HTTPSConnection(to_host, to_port, timeout=self._timeout_s, context=_tls_context())
            if proxy:
                tls.set_tunnel(host, port, _proxy_headers(proxy))
            return tls
        if proxy:  # a proxy for plain HTTP is sent the whole address (RFC 9112, 3.2.2)
            self._target = self._url
            self._headers |= _proxy_headers(proxy)
        return http.client.HTTPConnection(to_host, to_port, timeout=self._timeout_s)


def _unreached(error: Exception) -> Answer:
    # That a header cannot be written is said by a ValueError with the header in it: the key. (Those of TLS are OSErrors as well.)
    words = "" if isinstance(error, ValueError) and not isinstance(error, OSError) else str(error)
    return Answer(taken=False, again=True, reason=f"it cannot be reached: {words or type(error).__name__}")


def _answer_of(status: int, headers: Message, text: bytes) -> Answer:
    if 200 <= status < 300:
        return _taken(text)
    reason = f"it answered {status} {text[:200].decode(errors='replace')}".rstrip()
    retry_after_s = _retry_after_s(headers.get("Retry-After", ""))
    return Answer(taken=False, again=status not in _NEVER, retry_after_s=retry_after_s, reason=reason, is_answered=True)


def _taken(text: bytes) -> Answer:
    """Read what a server says that has taken a request but not all of it (opentelemetry-proto, OTLP/HTTP Partial Success)."""
    if not text:
        return Answer(taken=True, is_answered=True)
    try:
        with importing:
            from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
        said = ExportLogsServiceResponse.FromString(text).partial_success  # spelled as that for spans is
    except Exception:  # noqa: BLE001  # protobuf's error of the day, or no protobuf here; a 200 is a 200
        return Answer(taken=True, is_answered=True)
    return Answer(taken=True, reason=said.error_message, refused=max(said.rejected_log_records, 0), is_answered=True)


def _retry_after_s(stated: str) -> float:
    """Return seconds, from a number or an HTTP date (RFC 9110, 10.2.3); 0 if it says nothing usable."""
    from email.utils import parsedate_to_datetime

    try:
        seconds = float(stated) if stated.replace(".", "", 1).isdecimal() else parsedate_to_datetime(stated).timestamp() - time()
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), MOST_RETRY_AFTER_S)


def _tls_context() -> ssl.SSLContext:
    """Verify the server, as the SDK's exporters are told to: the same variables name authorities and the client's own certificate."""
    import ssl

    context = ssl.create_default_context(cafile=os.environ.get("OTEL_EXPORTER_OTLP_CERTIFICATE") or None)
    certificate = os.environ.get("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE")
    if certificate:
        context.load_cert_chain(certificate, os.environ.get("OTEL_EXPORTER_OTLP_CLIENT_KEY") or None)
    return context


def _may_have_proxy() -> bool:
    """Return whether it is worth 20 ms of import to find out."""
    return any(name.lower().endswith("_proxy") for name in os.environ)


def _proxy_of(parts: SplitResult) -> SplitResult | None:
    """Return the proxy that the environment names for this address, as every other HTTP client of the program would use it."""
    if not _may_have_proxy():
        return None
    from urllib.request import getproxies, proxy_bypass

    stated = getproxies().get(parts.scheme)
    if not stated or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    return urlsplit(stated if "://" in stated else f"http://{stated}")


def _proxy_headers(proxy: SplitResult) -> dict[str, str]:
    if not proxy.username:
        return {}
    words = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
    return {"Proxy-Authorization": f"Basic {b64encode(words).decode()}"}
