"""``[proxy]``: the WebSocket-to-TCP gateway at ``/tcp/…``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredList
from typing_extensions import override

from rtchat.config.keys import GIB, KIB, MIB, key
from rtchat.core.access.hosts import Target
from rtchat.core.access.ssrf import NamePolicy
from rtchat.core.flow.outbound import Cork
from rtchat.net.connection.limits import ConnectionLimiter
from rtchat.net.gateway.resource import TcpSocket
from rtchat.net.websocket.factory import WebSockets
from rtchat.server.access import AccessPart
from rtchat.server.part import Gauges, Part, Server
from rtchat.server.stomp import BrokerPart
from rtchat.server.web import WebPart
from rtchat.server.websocket import WebSocketPart

if TYPE_CHECKING:
    # Loaded once the ports are open.
    from rtchat.net.connection.splice import PipePool
    from rtchat.net.gateway.relay import ProxyFactory
    from rtchat.net.gateway.resolver import Endpoints

__all__ = ["GatewayPart", "GatewaySettings"]


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """What the gateway may use.

    Attributes:
        connect_timeout_s: Seconds that a target has to accept the connection.
        max_message_bytes: Size of one WebSocket message from a browser.
        idle_timeout_s: Seconds without a byte in either direction; 0 waits without end.
        max_connections: How many connections there may be at once; 0 is no limit.
        max_per_target: How many to one target; 0 is no limit.
        max_per_source: How many from one address; 0 is no limit.
        max_per_user: How many of one user, where a rule asks for users; 0 is no limit, and then
            they count to their addresses.
        private_names: Whether a name may stand for a private address.
    """

    connect_timeout_s: float = key(
        "[proxy] connect.timeout", 10.0, unit="seconds", low=0.1, high=600
    )
    max_message_bytes: int = key(
        "[proxy] message.max_bytes", 16 * MIB, unit="bytes", low=KIB, high=GIB
    )
    idle_timeout_s: float = key(
        "[proxy] idle.timeout", 0.0, unit="seconds", low=0.1, high=604_800, or_zero=True
    )
    max_connections: int = key(
        "[proxy] connections.total",
        10_000,
        unit="connections",
        low=1,
        high=1_000_000,
        or_zero=True,
    )
    max_per_target: int = key(
        "[proxy] connections.per_target",
        0,
        unit="connections",
        low=1,
        high=1_000_000,
        or_zero=True,
    )
    max_per_source: int = key(
        "[proxy] connections.per_source",
        256,
        unit="connections",
        low=1,
        high=1_000_000,
        or_zero=True,
    )
    max_per_user: int = key(
        "[proxy] connections.per_user",
        256,
        unit="connections",
        low=1,
        high=1_000_000,
        or_zero=True,
    )
    private_names: bool = key("[proxy] private.names", True)


class GatewayPart(Part[GatewaySettings]):
    """Connects web pages with TCP services that the access list names."""

    reads = (GatewaySettings,)

    def __init__(self, settings: GatewaySettings, server: Server) -> None:
        super().__init__(settings, server)
        self._server = server
        access, limits = server.part(AccessPart), settings
        self._rule_for = access.access_list.rule_for
        self._wrap = server.part(WebSocketPart).wrap
        self._policy = NamePolicy(access.own_names, limits.private_names)
        self._endpoints: Endpoints | None = None
        self._limiter = ConnectionLimiter(
            limits.max_connections,
            limits.max_per_target,
            limits.max_per_source,
            limits.max_per_user,
        )
        self._pipes: PipePool | None = None
        self._websockets: dict[Target, WebSockets] = {}
        self._own_targets = access.stomp_targets
        resource = TcpSocket(
            access.access_list, self._websockets_to, access.stomp_targets, access.visitors
        )
        server.part(WebPart).serve("tcp", resource)

    @override
    def load_late(self) -> None:
        import rtchat.net.gateway.relay
        import rtchat.net.gateway.resolver  # noqa: F401  # for /tcp/…

    def _websockets_to(self, target: Target) -> WebSockets:
        """Return what serves the WebSockets to one target."""
        if target not in self._websockets:
            self._websockets[target] = self._wrap(
                self._factory_for(target),
                Cork(),
                max_message_bytes=self.settings.max_message_bytes,
                deflate=False,
            )
        return self._websockets[target]

    def _factory_for(self, target: Target) -> ProxyFactory:
        from rtchat.net.connection.splice import PipePool
        from rtchat.net.gateway.relay import ProxyFactory
        from rtchat.net.gateway.resolver import checked_endpoints

        if self._pipes is None:
            self._pipes = PipePool()
        if self._endpoints is None:
            self._endpoints = checked_endpoints(self._server.reactor, self._policy, self._rule_for)
        # Whatever the name: it may be one that the owner has given to this machine.
        is_own = target.port in {own.port for own in self._own_targets}
        return ProxyFactory(
            target,
            self._endpoints,
            self._server.clock,
            self.settings.connect_timeout_s,
            idle_timeout_s=self.settings.idle_timeout_s,
            limiter=self._limiter,
            pipes=self._pipes,
            has_proxy_header=self._rule_for(target).has_proxy_header,
            client_log=self._server.client_log,
            relayed=self._server.part(BrokerPart).door.relayed if is_own else None,
        )

    @override
    def gauges(self) -> Gauges:
        def count() -> int:
            return sum(len(sockets.protocols) for sockets in self._websockets.values())

        return {"proxied_websockets": count}

    @override
    def drain(self) -> Deferred[Any]:
        return DeferredList([sockets.shut_down() for sockets in self._websockets.values()])
