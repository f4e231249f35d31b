"""One MQTT 5 connection in asyncio: made, opened once, closed. A new connection is a new Session.

paho-mqtt does the protocol; this module drives it from the event loop (no thread) and adds futures for
acknowledgements. paho's own reconnecting is off: whoever owns the session opens the next one.
"""

import asyncio
import socket
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from contracts.errors import LinkError, RefusedError
from messaging.broker import BrokerAddress

CONNECT_TIMEOUT_S = 10.0
NO_SUBSCRIBERS = 16


@dataclass(frozen=True)
class Will:
    """What the broker publishes for us, retained, when we vanish."""

    topic: str
    payload: bytes


@dataclass(frozen=True)
class Message:
    """An application message. Acknowledge it through the session it came from, in order of receipt."""

    topic: str
    payload: bytes
    retain: bool
    user_properties: Mapping[str, str]
    packet_id: int = field(repr=False)
    qos: int = field(repr=False)


class Session:
    """A connection to the broker.

    ``clean_start=False`` with ``session_expiry_s`` lets the broker keep messages while we are away. Messages are
    acknowledged by us (``acknowledge``), never by paho.
    """

    def __init__(
        self,
        address: BrokerAddress,
        *,
        client_id: str,
        clean_start: bool = True,
        session_expiry_s: int = 0,
        will: Will | None = None,
        keepalive_s: int = 10,
        receive_maximum: int = 200,
    ) -> None:
        self.client_id = client_id
        self._address = address
        self._clean_start = clean_start
        self._session_expiry_s = session_expiry_s
        self._keepalive_s = keepalive_s
        self._receive_maximum = receive_maximum
        self._incoming: deque[Message] = deque()
        self._arrived = asyncio.Event()
        self._pubacks: dict[int, asyncio.Future[None]] = {}
        self._topics: dict[int, str] = {}
        self._subacks: dict[int, asyncio.Future[None]] = {}
        self._ended: asyncio.Future[None] | None = None
        self._connected: asyncio.Future[None] | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._socket: socket.socket | None = None
        self._unacknowledged = 0
        self._progress_at = time.monotonic()
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        self._client.max_inflight_messages_set(0)
        if will is not None:
            self._client.will_set(will.topic, will.payload, qos=1, retain=True)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
        self._client.on_publish = self._on_publish
        self._client.on_subscribe = self._on_subscribe

    async def open(self, subscriptions: Sequence[str] = ()) -> None:
        """Connect and subscribe (QoS 1). Raises LinkError when that fails, SetupError for a bad certificate file.

        A session that is resumed may be open before the broker has answered the subscription: it is answered behind
        the messages that wait, and some brokers hold it back until those are acknowledged. A refusal then ends the
        session like a lost link.
        """
        if self._ended is not None:
            raise RuntimeError("a session is opened once")
        loop = asyncio.get_running_loop()
        self._ended = loop.create_future()
        self._connected = loop.create_future()
        address = self._address
        context = address.ssl_context()
        if context is not None:
            self._client.tls_set_context(context)
        if address.username is not None:
            self._client.username_pw_set(address.username, address.password)
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's is untyped
        properties.SessionExpiryInterval = self._session_expiry_s
        properties.ReceiveMaximum = self._receive_maximum
        self._client.connect_timeout = CONNECT_TIMEOUT_S
        try:
            await asyncio.to_thread(
                self._client.connect,
                address.host,
                address.port,
                keepalive=self._keepalive_s,
                clean_start=self._clean_start,
                properties=properties,
            )
        except (OSError, ValueError) as error:
            raise LinkError(f"broker {address} cannot be reached: {error}") from error
        self._attach(loop)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._connected
                await self._subscribe(subscriptions)
        except TimeoutError as error:
            raise LinkError(f"broker {address} does not answer (MQTT 5 is needed)") from error

    async def _subscribe(self, subscriptions: Sequence[str]) -> None:
        if not subscriptions:
            return
        code, mid = self._client.subscribe([(topic, SubscribeOptions(qos=1)) for topic in subscriptions])
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS or mid is None:
            raise LinkError(f"broker {self._address}: subscribe failed: {paho.error_string(code)}")
        answered = self._subacks[mid] = asyncio.get_running_loop().create_future()
        answered.add_done_callback(self._subscription_ended)
        first = asyncio.create_task(self._arrived.wait())
        try:
            await asyncio.wait({answered, first}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
        if answered.done():
            answered.result()

    def _subscription_ended(self, answered: "asyncio.Future[None]") -> None:
        error = None if answered.cancelled() else answered.exception()
        if isinstance(error, LinkError):
            self._end(error)

    async def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        user_properties: Mapping[str, str] | None = None,
    ) -> asyncio.Future[None]:
        """Hand a message (QoS 1) to the broker; the future ends with its PUBACK, or with LinkError (RefusedError where
        the broker does not take it from us).

        A PUBACK proves the broker's custody and nothing more. Raises LinkError when the link is down.
        """
        properties: Properties | None = None
        if user_properties:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's is untyped
            properties.UserProperty = list(user_properties.items())
        info = self._client.publish(topic, payload, qos=1, retain=retain, properties=properties)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise LinkError(f"broker {self._address}: publish failed: {paho.error_string(info.rc)}")
        acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        acknowledged.add_done_callback(_retrieve)
        self._pubacks[info.mid] = acknowledged
        self._topics[info.mid] = topic
        return acknowledged

    async def next_message(self) -> Message:
        """The next message. Raises LinkError when the link is lost and nothing is left to hand out."""
        assert self._ended is not None, "open the session first"
        while not self._incoming:
            if self._ended.done():
                self._ended.result()
            self._arrived.clear()
            await self._arrived.wait()
        return self._incoming.popleft()

    def messages_waiting(self) -> list[Message]:
        """Every message that has come in already, without waiting."""
        waiting = list(self._incoming)
        self._incoming.clear()
        return waiting

    def acknowledge(self, message: Message) -> None:
        """Send the PUBACK of a message of this session."""
        if message.qos:
            self._client.ack(message.packet_id, message.qos)
            self._unacknowledged -= 1
            self._progress_at = time.monotonic()

    async def lost(self) -> None:
        """Wait until the link is lost; then raise LinkError."""
        assert self._ended is not None, "open the session first"
        await asyncio.shield(self._ended)

    async def close(self) -> None:
        """Say goodbye and release everything. Never raises; the last will is not sent."""
        if self._ended is None:
            return  # never opened
        if self._socket is not None:
            self._client.disconnect()
        self._end(LinkError("session closed"))
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.gather(self._ticker, return_exceptions=True)
        self._detach()
        await asyncio.to_thread(self._close_socket)

    def _close_socket(self) -> None:
        sock = self._client.socket()
        if sock is not None:
            sock.close()

    # -- paho driven by the event loop ---------------------------------------------------------------------------

    def _attach(self, loop: asyncio.AbstractEventLoop) -> None:
        sock = cast(socket.socket | None, self._client.socket())
        if sock is None:
            raise LinkError(f"broker {self._address} closed the connection")
        # A short packet behind one that is not acknowledged yet would wait for that (RFC 896), 40 ms on Linux.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = sock

        def register_write(_client: paho.Client, _userdata: Any, sock: Any) -> None:
            loop.add_writer(sock, self._client.loop_write)

        def unregister_write(_client: paho.Client, _userdata: Any, sock: Any) -> None:
            loop.remove_writer(sock)

        def on_close(_client: paho.Client, _userdata: Any, _sock: Any) -> None:
            self._detach()

        self._client.on_socket_register_write = register_write
        self._client.on_socket_unregister_write = unregister_write
        self._client.on_socket_close = on_close
        loop.add_reader(sock, self._read)
        if self._client.want_write():
            loop.add_writer(sock, self._client.loop_write)
        self._ticker = asyncio.create_task(self._tick())

    def _detach(self) -> None:
        if self._socket is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._socket)
            loop.remove_writer(self._socket)
            self._socket = None

    def _read(self) -> None:
        # One wake-up may find several packets in TLS's own buffer; paho reads one packet a call.
        self._client.loop_read()
        sock: Any = self._socket
        while sock is not None and hasattr(sock, "pending") and sock.pending() > 0:
            self._client.loop_read()
            sock = self._socket

    async def _tick(self) -> None:
        # paho wants its clock driven (keep-alive); this is not a wait on a state.
        while self._client.loop_misc() == MQTTErrorCode.MQTT_ERR_SUCCESS:
            if self._subscription_overdue():
                self._end(LinkError(f"broker {self._address} does not answer the subscription"))
                return
            await asyncio.sleep(1.0)
        self._end(LinkError(f"broker {self._address} is silent"))

    def _subscription_overdue(self) -> bool:
        """All that came was acknowledged, and still the broker has not said that we are subscribed."""
        waits = bool(self._subacks) and self._unacknowledged == 0
        return waits and time.monotonic() > self._progress_at + CONNECT_TIMEOUT_S

    def _end(self, error: LinkError) -> None:
        assert self._ended is not None
        if not self._ended.done():
            self._ended.set_exception(error)
            self._ended.add_done_callback(_retrieve)
            self._arrived.set()
        waiting = [*self._pubacks.values(), *self._subacks.values()]
        if self._connected is not None:
            waiting.append(self._connected)
            self._connected.add_done_callback(_retrieve)
        for future in waiting:
            if not future.done():
                future.set_exception(error)
        self._pubacks.clear()
        self._topics.clear()
        self._subacks.clear()

    def _on_connect(
        self, _client: paho.Client, _userdata: Any, _flags: Any, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        assert self._connected is not None
        if self._connected.done():
            return
        if reason.is_failure:
            self._connected.set_exception(LinkError(f"broker {self._address} refuses us: {reason}"))
        else:
            self._connected.set_result(None)

    def _on_disconnect(
        self, _client: paho.Client, _userdata: Any, _flags: Any, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        self._end(LinkError(f"broker {self._address}: connection lost: {reason}"))

    def _on_message(self, _client: paho.Client, _userdata: Any, message: paho.MQTTMessage) -> None:
        pairs = getattr(message.properties, "UserProperty", []) if message.properties is not None else []
        self._incoming.append(
            Message(message.topic, bytes(message.payload), bool(message.retain), dict(pairs), message.mid, message.qos)
        )
        self._unacknowledged += message.qos > 0
        self._arrived.set()

    def _on_publish(
        self, _client: paho.Client, _userdata: Any, mid: int, reason: ReasonCode, _properties: Properties
    ) -> None:
        # The broker's answer is always read in a later turn of the loop, when publish() has kept the future.
        future, topic = self._pubacks.pop(mid, None), self._topics.pop(mid, "")
        if future is None or future.done():
            return
        if reason.is_failure and reason.value != NO_SUBSCRIBERS:
            future.set_exception(RefusedError(f"broker {self._address} refuses messages on {topic}: {reason}"))
        else:
            future.set_result(None)

    def _on_subscribe(
        self, _client: paho.Client, _userdata: Any, mid: int, reasons: list[ReasonCode], _properties: Properties
    ) -> None:
        future = self._subacks.pop(mid, None)
        if future is None or future.done():
            return
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused:
            future.set_exception(LinkError(f"broker {self._address} refused a subscription: {', '.join(refused)}"))
        else:
            future.set_result(None)


def _retrieve(future: "asyncio.Future[None]") -> None:
    """Mark a future's exception as seen: whoever cares awaits it, a lost link must not warn for the others."""
    if not future.cancelled():
        future.exception()
