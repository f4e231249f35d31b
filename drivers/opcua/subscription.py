"""A subscription with one monitored item (OPC 10000-4, 5.13, 5.14): what came, in its order, and whether it lives."""

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import Any

import structlog
from asyncua import ua

from contracts.errors import SetupError
from drivers.opcua.link import OpcUaLink, status_in_words
from drivers.opcua.trigger import Inbox, Signal

LEAST_PUBLISHING_S = 0.01
KEEP_ALIVES = 3
"""The server is asked to speak so many times within the silence it is allowed."""

log = structlog.get_logger()


class Subscription:
    """One subscription with one monitored item. What comes is put into ``inbox``, in its order.

    ``lost``: something may have come before.
    """

    def __init__(
        self,
        machine: str,
        link: OpcUaLink,
        publishing_s: float,
        silence_s: float,
        inbox: Inbox[Signal[Any]],
        *,
        lost: bool = False,
    ) -> None:
        self._machine = machine
        self._link = link
        self._publishing_s = max(publishing_s, LEAST_PUBLISHING_S)
        self._silence_s = silence_s
        self._alive: asyncio.Task[None] | None = None
        self._heard_at = 0.0
        self._bad_since: tuple[float, str] | None = None
        self._sequence: int | None = None
        self._lost = lost
        self._inbox = inbox

    async def start(self, item: ua.MonitoredItemCreateRequest, what: str) -> ua.MonitoredItemCreateResult:
        """Subscribe. What the server grants. Raises LinkError or SetupError."""
        wanted = ua.CreateSubscriptionParameters(**self._asked(self._publishing_s), PublishingEnabled=True)
        async with self._link.doing("subscribing") as session:
            try:
                granted = await session.create_subscription(wanted, self._published)
            except (ua.uaerrors.BadServiceUnsupported, ua.uaerrors.BadNotImplemented) as error:
                raise SetupError(
                    f"machine {self._machine}: the server has no subscriptions; set trigger.poll to ask it"
                ) from error
            # A server that publishes less often than asked speaks less often too: it counts in its own interval.
            if self._keep_alive_s(granted) >= self._silence_s:
                changed = await session.modify_subscription(
                    ua.ModifySubscriptionParameters(
                        SubscriptionId=granted.SubscriptionId, **self._asked(granted.RevisedPublishingInterval / 1000)
                    )
                )
                self._check_silence(self._keep_alive_s(changed))
            parameters = ua.CreateMonitoredItemsParameters(
                SubscriptionId=granted.SubscriptionId,
                TimestampsToReturn=ua.TimestampsToReturn.Both,
                ItemsToCreate=[item],
            )
            self._heard_at = asyncio.get_running_loop().time()
            (found,) = await session.create_monitored_items(parameters)
        if found.StatusCode.is_bad():
            raise SetupError(f"machine {self._machine}, {what}: {status_in_words(found.StatusCode)}")
        self._alive = asyncio.create_task(self._watch())
        return found

    async def stop(self) -> None:
        """End the watch; the session's end is the subscription's."""
        alive, self._alive = self._alive, None
        if alive is not None:
            alive.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await alive

    def status(self, status: ua.StatusCode | None) -> bool:
        """Whether a value is of use; one that is bad for longer than the silence allowed ends the link."""
        if status is None or not status.is_bad():
            self._bad_since = None
            return True
        if self._bad_since is None:
            self._bad_since = (asyncio.get_running_loop().time(), status_in_words(status))
        return False

    # -- asyncua's callback ------------------------------------------------------------------------------------------

    def _published(self, result: ua.PublishResult) -> None:
        """The server spoke: notifications, or a keep-alive without any."""
        self._heard_at = asyncio.get_running_loop().time()
        message = result.NotificationMessage
        notifications = message.NotificationData or []
        if notifications and message.SequenceNumber != 0:  # 0: asyncua itself tells that the link is lost
            self._count(message.SequenceNumber)
        now = datetime.now(UTC)
        for notification in notifications:
            if isinstance(notification, ua.DataChangeNotification):
                for change in notification.MonitoredItems:
                    self._put(now, change.Value)
            elif isinstance(notification, ua.EventNotificationList):
                for event in notification.Events:
                    self._put(now, list(event.EventFields))
            elif isinstance(notification, ua.StatusChangeNotification):
                self._link.break_(f"subscription ended by the server: {status_in_words(notification.Status)}")

    def _put(self, now: datetime, content: Any) -> None:
        self._inbox.put(Signal(now, content, self._lost))
        self._lost = False

    def _count(self, number: int) -> None:
        """Messages are numbered 1, 2, 3 ... and after 4294967295 again from 1 (OPC 10000-4, 7.9)."""
        expected = None if self._sequence is None else self._sequence % (2**32 - 1) + 1
        if expected is not None and number != expected:
            log.warning("notifications missing", machine=self._machine, expected=expected, found=number)
            self._lost = True
        self._sequence = number

    def _asked(self, publishing_s: float) -> dict[str, Any]:
        count = max(int(self._silence_s / KEEP_ALIVES / publishing_s), 1)
        return {
            "RequestedPublishingInterval": ua.Duration(publishing_s * 1000),
            "RequestedMaxKeepAliveCount": ua.Counter(count),
            "RequestedLifetimeCount": ua.Counter(count * KEEP_ALIVES * 4),
        }

    def _keep_alive_s(self, granted: ua.CreateSubscriptionResult | ua.ModifySubscriptionResult) -> float:
        seconds: float = granted.RevisedPublishingInterval / 1000 * max(granted.RevisedMaxKeepAliveCount, 1)
        return seconds

    def _check_silence(self, keep_alive_s: float) -> None:
        if keep_alive_s >= self._silence_s:
            raise SetupError(
                f"machine {self._machine}: the server speaks every {keep_alive_s:g} s when nothing happens, and "
                f"connect.silence is {self._silence_s:g} s; set it to {2 * keep_alive_s:g}s or more"
            )

    async def _watch(self) -> None:
        """A subscription that was forgotten keeps its socket open and says nothing for ever."""
        loop = asyncio.get_running_loop()
        while self._link.broken is None:
            now, bad = loop.time(), self._bad_since
            if now - self._heard_at >= self._silence_s:
                self._link.break_(f"subscription has gone quiet: the server said nothing for {self._silence_s:g} s")
            elif bad is not None and now - bad[0] >= self._silence_s:
                self._link.break_(f"the trigger has had a bad status for {self._silence_s:g} s: {bad[1]}")
            else:
                since = self._heard_at if bad is None else min(self._heard_at, bad[0])
                await asyncio.sleep(since + self._silence_s - now + 0.001)
