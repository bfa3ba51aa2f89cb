"""The server the demo reports to, as a client sees it: an address, a key, JSON over urllib."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

from otel_bridge.demo.pipeline import Undelivered

TIMEOUT_S = 10.0


class TryAgain(Undelivered):
    """The server could not be reached, or cannot take data just now."""


# Statuses that say "later" (OTLP specification); any other refusal is final.
_LATER = frozenset({408, 429, 502, 503, 504})


@dataclass(frozen=True)
class Server:
    """Where a Flowspan server is, and the key it wants, if any. url: without a path."""

    url: str
    api_key: str = ""

    def headers(self) -> Mapping[str, str]:
        """Return the headers every request needs."""
        return {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}

    def page_of(self, run_id: str) -> str:
        """Return the address of a run's page."""
        return f"{self.url}/runs/{quote(run_id, safe='')}"

    def check(self) -> None:
        """Return if the server answers and takes the key. Raises Undelivered."""
        self._ask(Request(f"{self.url}/api/v1/runs?limit=1", headers=dict(self.headers())))  # noqa: S310  # main checked that it is http

    def post(self, path: str, content: Any) -> None:
        """Send content as JSON; when this returns, it is stored. Raises TryAgain or Undelivered."""
        headers = {**self.headers(), "Content-Type": "application/json"}
        answer = self._ask(Request(self.url + path, json.dumps(content).encode(), headers))  # noqa: S310  # main checked that it is http
        if not answer.get("ok"):
            raise Undelivered(f"{self.url} refused {answer.get('rejected')}")

    def _ask(self, request: Request) -> dict[str, Any]:
        try:
            with urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310  # main checked that it is http
                answer = json.load(response)
        except HTTPError as error:
            with error:
                kind = TryAgain if error.code in _LATER else Undelivered
                raise kind(f"{self.url} answered {error.code} {error.reason}") from error
        except (OSError, HTTPException) as error:
            raise TryAgain(f"cannot reach {self.url}: {getattr(error, 'reason', error)}") from error
        except ValueError as error:
            raise Undelivered(f"{self.url} is no Flowspan server: its answer is not JSON") from error
        return answer if isinstance(answer, dict) else {}
