"""Central's REST API as the interlock's second way: logged in beforehand, so that a question needs one round trip.

It brings httpx, which costs memory: imported only where the station's file names the API (``interlock.http``).
"""

import asyncio
import json
import ssl
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import httpx
import structlog
from pydantic import BaseModel, Field, ValidationError

from agent.faults import Faults
from agent.settings.station import CentralApi
from contracts.errors import LinkError, SetupError
from contracts.interlock import PermitAnswer, PermitRequest, PermitReturned
from messaging.lives import live_again_and_again

log = structlog.get_logger()

PATIENCE_S = 5.0
"""An answer is waited for so long, also when nobody needs it any more: a permit in it is given back."""
RENEW_AFTER = 0.5
"""Of a token's life: then it is renewed."""
FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 60.0
REFUSED_RETRY_S = 300.0
"""A wrong password is tried again so seldom: five in a row lock the account."""

LOGIN = "login"
QUESTION = "question"


class _Token(BaseModel):
    """What a login answers, as far as it is of use."""

    access_token: str
    expires_in: float = Field(gt=0)


class _LoginRefused(LinkError):
    """Central is there, and does not let this user in."""


class CentralHttp:
    """Asks central over HTTP while ``run()`` runs. ``failures`` counts requests that brought nothing; the same reason
    is told once, until an answer has come. ``faults`` counts mistakes of the program itself."""

    def __init__(self, settings: CentralApi) -> None:
        self._settings = settings
        self._client: httpx.AsyncClient | None = None
        self._token: str | None = None
        self._renew = asyncio.Event()
        self._under_way: set[asyncio.Task[None]] = set()
        self._standing = {LOGIN: "not logged in at central yet"}
        self.failures = 0
        self.faults = Faults(log)

    async def run(self) -> None:
        """Stay logged in until cancelled. A station whose settings for it cannot be used goes on without: told."""
        try:
            verify = self._trusted()
        except SetupError as error:
            self._failed(str(error), at=LOGIN)
            return
        await live_again_and_again(partial(self._life, verify), lost=lambda error: self._failed(str(error), at=LOGIN))

    async def _life(self, verify: ssl.SSLContext | bool) -> None:
        with self.faults.as_lost_link():
            async with httpx.AsyncClient(
                base_url=self._settings.url, verify=verify, timeout=PATIENCE_S, trust_env=False
            ) as client:
                self._client = client
                try:
                    await self._stay_logged_in(client)
                finally:
                    self._client = self._token = None
                    for task in self._under_way:
                        task.cancel()
                    await asyncio.gather(*self._under_way, return_exceptions=True)

    def ask(self, question: PermitRequest, take: Callable[[PermitAnswer], None]) -> "asyncio.Task[None]":
        """Ask; the answer goes to ``take``, however late it is. The task ends when there is an answer or will be
        none, and raises nothing."""

        async def asked() -> None:
            try:
                answered = await self._posted("interlock/permits", question.model_dump_json())
                answer = PermitAnswer.model_validate_json(answered)
            except LinkError as error:
                self._failed(str(error))
                return
            except ValidationError as error:
                self._failed(f"central's answer is not understood: {error.errors()[0]['msg']}")
                return
            if answer.request_id != question.request_id:
                self._failed("central answered another question")
                return
            self._well()
            take(answer)

        return self._begun(asked())

    def give_back(self, returned: PermitReturned) -> None:
        """A permit came to nothing. Where central does not hear of it, its lease ends by its time."""

        async def told() -> None:
            try:
                await self._posted("interlock/permits/return", returned.model_dump_json())
            except LinkError as error:
                self._failed(str(error))

        self._begun(told())

    def _begun(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.ensure_future(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    async def _posted(self, path: str, body: str) -> bytes:
        """What was answered. Raises LinkError, whose text names neither token nor password."""
        if self._client is None or self._token is None:
            raise LinkError(self._standing.get(LOGIN, "logging in at central again"))
        token = self._token
        response = await self._sent(self._client, path, body, token=token)
        if response.status_code == 401 and token == self._token:
            self._token = None
            self._renew.set()
        if not response.is_success:
            raise LinkError(f"central refuses {path}: {_reason(response)}")
        return response.content

    async def _sent(
        self, client: httpx.AsyncClient, path: str, body: str = "", *, token: str | None = None
    ) -> httpx.Response:
        headers = {"Content-Type": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        with self.faults.as_lost_link():
            try:
                async with asyncio.timeout(PATIENCE_S):
                    return await client.post(path, content=body, headers=headers)
            except TimeoutError as error:
                raise LinkError(f"central does not answer over HTTP within {PATIENCE_S:g} s") from error
            except (httpx.HTTPError, OSError) as error:
                reason = str(error) or type(error).__name__
                raise LinkError(f"central is not reached over HTTP: {reason}") from error

    # -- login -------------------------------------------------------------------------------------------------------

    async def _stay_logged_in(self, client: httpx.AsyncClient) -> None:
        retry_s = FIRST_RETRY_S
        while True:
            self._renew.clear()
            try:
                wait_s = RENEW_AFTER * await self._logged_in(client)
                retry_s = FIRST_RETRY_S
            except _LoginRefused as error:
                self._failed(str(error), at=LOGIN)
                wait_s = REFUSED_RETRY_S
            except LinkError as error:
                self._failed(str(error), at=LOGIN)
                wait_s, retry_s = retry_s, min(2 * retry_s, LONGEST_RETRY_S)
            try:
                async with asyncio.timeout(wait_s):
                    await self._renew.wait()
            except TimeoutError:
                pass

    async def _logged_in(self, client: httpx.AsyncClient) -> float:
        """Renew the token, or log in where there is none; how long it is good, in seconds. Raises LinkError."""
        if self._token is not None:
            response = await self._sent(client, "auth/refresh", token=self._token)
            if response.status_code != 401:
                return self._taken(response)
            self._token = None
        credentials = {"username": self._settings.username, "password": self._settings.password.get_secret_value()}
        response = await self._sent(client, "auth/login/json", json.dumps(credentials))
        if response.is_client_error:
            who = f"user {self._settings.username} (interlock.http)"
            raise _LoginRefused(f"central does not let {who} in: {_reason(response)}")
        return self._taken(response)

    def _taken(self, response: httpx.Response) -> float:
        if not response.is_success:
            raise LinkError(f"no token from central: {_reason(response)}")
        try:
            token = _Token.model_validate_json(response.content)
        except ValidationError:  # its text repeats the answer
            raise LinkError(
                "no token from central: its answer is not understood; is interlock.http.url right?"
            ) from None
        self._token = token.access_token
        self._well(at=LOGIN)
        return token.expires_in

    def _trusted(self) -> ssl.SSLContext | bool:
        """How the API proves who it is. Raises SetupError."""
        if not self._settings.url.startswith("https:"):
            return False
        try:
            return ssl.create_default_context(cafile=self._settings.ca)
        except (OSError, ssl.SSLError) as error:
            raise SetupError(f"interlock.http.ca: {self._settings.ca} cannot be used: {error}") from error

    # -- what became of it -------------------------------------------------------------------------------------------

    def _failed(self, reason: str, *, at: str = QUESTION) -> None:
        self.failures += 1
        if reason not in self._standing.values():
            log.warning("central cannot be asked over HTTP", reason=reason, failures=self.failures)
            self._standing[at] = reason

    def _well(self, *, at: str = QUESTION) -> None:
        """A login says nothing of a question: the user may be one of another station."""
        if self._standing.pop(at, None) is not None:
            log.info("central can be asked over HTTP", after=at, failures=self.failures)


def _reason(response: httpx.Response) -> str:
    """Status and what central says of it; nothing that was sent."""
    try:
        said = response.json()
        detail = said.get("detail") if isinstance(said, dict) else None
    except ValueError:
        detail = None
    return f"{response.status_code} {detail}"[:300] if isinstance(detail, str) else f"{response.status_code}"
