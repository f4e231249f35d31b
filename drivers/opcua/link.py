"""One connection to one OPC-UA server, through asyncua: services in, answers out, every failure one of ours.

asyncua's reconnecting is off: a link that failed is closed and opened again by its owner.
"""

import asyncio
import logging
import struct
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from asyncua import ua
from asyncua.client.ua_session import UaSession
from asyncua.common.utils import NotEnoughData
from cryptography import x509

from contracts.errors import LinkError, SetupError
from drivers.opcua.connect import Connect, Security
from drivers.opcua.refusals import SETUP_CODES, advice
from drivers.opcua.security import SecureClient, presented, secure

CLOSE_TIMEOUT_S = 2.0
_GRACE_S = 1.0
LEAST_SESSION_S = 30.0
"""A server keeps the session of a station that vanished so long; it has few."""
_FAILURES = (OSError, TimeoutError, ua.UaError, AssertionError, NotEnoughData, struct.error, ValueError)
"""What asyncua raises when the other side is away, or its answer is none: it has no error of its own for that."""
_TOO_MUCH = (
    ua.StatusCodes.BadTooManyOperations,
    ua.StatusCodes.BadResponseTooLarge,
    ua.StatusCodes.BadRequestTooLarge,
    ua.StatusCodes.BadEncodingLimitsExceeded,
)

Attribute = tuple[ua.NodeId, ua.AttributeIds]

# asyncua tells every step of a lost link with tracebacks; ours is the one who tells, once.
logging.getLogger("asyncua").setLevel(logging.CRITICAL)


class OpcUaLink:
    """``open()``, then services, then ``close()``; and again.

    ``broken`` says why the link is of no use any more, and ``on_broken`` is called when that becomes known.
    """

    def __init__(self, machine: str, connect: Connect, on_broken: Callable[[], None]) -> None:
        self._machine = machine
        self._connect = connect
        self._on_broken = on_broken
        self._client: SecureClient | None = None
        self.broken: str | None = None
        self.namespaces: Sequence[str] = ()
        self.read_limit = 0
        """Most nodes of one Read; 0: the server names no limit."""
        self._translate_limit = 0

    async def open(self) -> None:
        """Raises LinkError, or SetupError where the server or its people have to change something first."""
        connect = self._connect
        self.broken = None
        self.read_limit = self._translate_limit = 0
        client = self._client = self._new_client()
        client.connection_lost_callback = self._lost
        async with self._reaching():
            await secure(client, self._machine, connect)
            await _within(connect.timeout * 3, client.connect())
        await self._ask_for_limits()

    async def shown_certificate(self, security: Security) -> x509.Certificate:
        """What the server shows, trusted or not. Raises LinkError or SetupError."""
        async with self._reaching():
            shown = await presented(self._new_client(), security)
        return shown.certificate

    @property
    def host(self) -> str:
        """Where the server is, as the settings say it."""
        return str(urlsplit(self._connect.url).hostname)

    async def close(self) -> None:
        """Release everything. Never raises; may be called at any time."""
        client, self._client = self._client, None
        self.break_("closed")
        if client is None:
            return
        try:
            # Over a lost link too: only this ends the client's own tasks.
            await _within(CLOSE_TIMEOUT_S, client.disconnect())
        except _FAILURES:
            client.disconnect_socket()

    def break_(self, why: str) -> None:
        """The link is of no use any more. The first reason stays."""
        if self.broken is None:
            self.broken = why
            self._on_broken()

    @property
    def session(self) -> UaSession:
        """asyncua's session. Raises LinkError where there is none any more."""
        if self._client is None or self.broken is not None:
            raise LinkError(f"machine {self._machine}: {self.broken or 'not connected'}")
        return self._client.uaclient.session

    @asynccontextmanager
    async def doing(self, what: str) -> AsyncIterator[UaSession]:
        """Around one service: its failures become LinkError, with what was done; or SetupError where it names a rule
        that waiting does not change."""
        session = self.session
        try:
            yield session
        except ua.UaStatusCodeError as error:
            told = f"machine {self._machine}, {what}: {in_words(error)}"
            raise (SetupError(told) if error.code in SETUP_CODES else LinkError(told)) from error
        except _FAILURES as error:
            raise LinkError(f"machine {self._machine}, {what}: {in_words(error)}") from error

    async def read(self, nodes: Sequence[Attribute], what: str = "read") -> list[ua.DataValue]:
        """Attributes, in one Read; in several where the server's limit asks for it. Raises LinkError."""
        found: list[ua.DataValue] = []
        while len(found) < len(nodes):
            at, most = len(found), self.read_limit or len(nodes)
            part = nodes[at : at + most]
            try:
                async with self.doing(what) as session:
                    answers = await session.read(_read_parameters(part))
            except LinkError as error:
                # A limit that the server did not name, or the size of its answers: learn it.
                if not _is_too_much(error) or len(part) == 1:
                    raise
                self.read_limit = len(part) // 2
                continue
            if len(answers) != len(part):
                raise LinkError(f"machine {self._machine}, {what}: {len(answers)} answers to {len(part)} nodes")
            found += answers
        return found

    async def values(self, node_ids: Sequence[ua.NodeId], what: str = "read") -> list[ua.DataValue]:
        """The values of nodes, as ``read``."""
        return await self.read([(node_id, ua.AttributeIds.Value) for node_id in node_ids], what)

    async def write(self, node_id: ua.NodeId, value: ua.Variant, what: str) -> None:
        """A node's value, alone: many servers take no timestamp from others. Raises LinkError or SetupError."""
        wanted = ua.WriteValue(NodeId=node_id, AttributeId=ua.AttributeIds.Value, Value=ua.DataValue(value))
        async with self.doing(what) as session:
            (status,) = await session.write(ua.WriteParameters(NodesToWrite=[wanted]))
            status.check()

    async def write_all(self, values: Sequence[tuple[ua.NodeId, ua.Variant]], what: str) -> None:
        """The values of several nodes in one Write; the server takes them in any order. Raises LinkError or
        SetupError, also where it took some of them."""
        wanted = [
            ua.WriteValue(NodeId=node_id, AttributeId=ua.AttributeIds.Value, Value=ua.DataValue(value))
            for node_id, value in values
        ]
        if not wanted:
            return
        async with self.doing(what) as session:
            for status in await session.write(ua.WriteParameters(NodesToWrite=wanted)):
                status.check()

    async def translate(self, paths: Sequence[ua.BrowsePath]) -> list[ua.BrowsePathResult]:
        """Where browse paths lead. Raises LinkError."""
        found: list[ua.BrowsePathResult] = []
        most = self._translate_limit or max(len(paths), 1)
        for at in range(0, len(paths), most):
            async with self.doing("looking for browse paths") as session:
                found += await session.translate_browsepaths_to_nodeids(list(paths[at : at + most]))
        return found

    async def parents(self, node_id: ua.NodeId, reference: int) -> list[ua.NodeId]:
        """The nodes that refer to this one by a reference of this type. Raises LinkError."""
        wanted = ua.BrowseDescription(
            NodeId=node_id,
            BrowseDirection=ua.BrowseDirection.Inverse,
            ReferenceTypeId=ua.NodeId(ua.Int32(reference)),
            IncludeSubtypes=True,
            ResultMask=ua.UInt32(0),
        )
        async with self.doing(f"looking for the type of {node_id.to_string()}") as session:
            results = await session.browse(ua.BrowseParameters(NodesToBrowse=[wanted]))
        return [ua.NodeId(one.NodeId.Identifier, one.NodeId.NamespaceIndex) for one in results[0].References or ()]

    async def properties(self, wanted: Sequence[tuple[ua.NodeId, str]]) -> list[Any]:
        """Values of nodes' properties by their standard names; None for one that is not there. Raises LinkError."""
        paths = []
        for node_id, name in wanted:
            step = path_step(ua.ObjectIds.HasProperty, ua.QualifiedName(name))
            paths.append(ua.BrowsePath(StartingNode=node_id, RelativePath=ua.RelativePath([step])))
        found: dict[int, ua.NodeId] = {}
        for place, result in enumerate(await self.translate(paths)):
            if result.StatusCode.is_good() and result.Targets:
                target = result.Targets[0].TargetId
                found[place] = ua.NodeId(target.Identifier, target.NamespaceIndex)
        answers = dict(zip(found, await self.values(list(found.values())), strict=True))
        values = [answers[place].Value if place in answers else None for place in range(len(wanted))]
        return [None if value is None else value.Value for value in values]

    def _new_client(self) -> SecureClient:
        connect = self._connect
        # Its watchdog asks for the server's state; two of its turns are the time a frozen server is noticed in.
        client = SecureClient(connect.url, connect.timeout, watchdog_intervall=connect.silence / 2)
        client.name = "NeuroHub Edge"
        client.description = f"NeuroHub Edge {self._machine}"
        client.session_timeout = int(max(LEAST_SESSION_S, 3 * connect.silence) * 1000)
        return client

    @asynccontextmanager
    async def _reaching(self) -> AsyncIterator[None]:
        """Around what it takes to get to the server: all its errors are ours."""
        connect, where = self._connect, f"machine {self._machine}: {self._connect.url}"
        try:
            async with asyncio.timeout(connect.timeout * 3):
                yield
        except SetupError as error:
            raise SetupError(f"{where}: {error}") from error
        except _FAILURES as error:
            told = advice(error, connect)
            if told is not None:
                raise SetupError(f"{where}: {told}") from error
            raise LinkError(f"{where} cannot be reached: {in_words(error)}; check address, cable, power") from error

    async def _ask_for_limits(self) -> None:
        """The namespaces by index, and what the server can do at once (OPC 10000-5, 6.3.11)."""
        wanted = (
            ua.ObjectIds.Server_ServerStatus_State,
            ua.ObjectIds.Server_NamespaceArray,
            ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead,
            ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerTranslateBrowsePathsToNodeIds,
        )
        answers = await self.values([ua.NodeId(ua.Int32(node)) for node in wanted], "asking for the server's limits")
        state, namespaces, read_limit, translate_limit = (
            answer.Value.Value if answer.Value is not None else None for answer in answers
        )
        self.namespaces = namespaces or ()
        self.read_limit, self._translate_limit = read_limit or 0, translate_limit or 0
        if state is not None and state != ua.ServerState.Running:
            told = ua.ServerState(state).name if state in list(ua.ServerState) else str(state)
            raise LinkError(f"machine {self._machine}: the server is not running yet (its state is {told})")

    async def _lost(self, error: Exception) -> None:
        self.break_(f"connection lost: {in_words(error)}")


def in_words(error: BaseException) -> str:
    """What a technician reads of a library's error."""
    if isinstance(error, ua.UaStatusCodeError):
        return status_in_words(ua.StatusCode(error.code))
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__


def status_in_words(status: ua.StatusCode) -> str:
    """Its name, and what the standard says of it."""
    return f"{status.name} ({status.doc.rstrip('.')})"


def path_step(reference: int, name: ua.QualifiedName) -> ua.RelativePathElement:
    """One step of a browse path, along references of this type and its subtypes."""
    step = ua.RelativePathElement(ReferenceTypeId=ua.NodeId(ua.Int32(reference)), TargetName=name)
    step.IsInverse, step.IncludeSubtypes = False, True  # type: ignore[assignment]  # asyncua's Boolean holds no value
    return step


def _is_too_much(error: LinkError) -> bool:
    cause = error.__cause__
    return isinstance(cause, ua.UaStatusCodeError) and cause.code in _TOO_MUCH


async def _within(limit_s: float, work: Coroutine[Any, Any, None]) -> None:
    """Raises TimeoutError after the limit, also over work that goes on when it is cancelled.

    asyncua waits for tasks of its own and takes a cancellation that arrives meanwhile for theirs: ``asyncio.timeout``
    around it can wait forever.
    """
    task = asyncio.create_task(work)
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    try:
        await asyncio.wait({task}, timeout=limit_s)
        if not task.done():
            raise TimeoutError
        task.result()
    finally:
        if task.cancel():
            await asyncio.wait({task}, timeout=_GRACE_S)


def _read_parameters(nodes: Sequence[Attribute]) -> ua.ReadParameters:
    return ua.ReadParameters(
        TimestampsToReturn=ua.TimestampsToReturn.Both,
        NodesToRead=[ua.ReadValueId(NodeId=node_id, AttributeId=attribute) for node_id, attribute in nodes],
    )
