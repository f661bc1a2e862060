"""How Debian's ActiveMQ Classic is run with its STOMP transport, keeping nothing on disk."""

from __future__ import annotations

from pathlib import Path

__all__ = ["JAR", "prepare"]

_HOME = Path("/usr/share/activemq")
JAR = _HOME / "bin" / "activemq.jar"

_CONFIGURATION = """\
<beans xmlns="http://www.springframework.org/schema/beans"
       xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
       xsi:schemaLocation="http://www.springframework.org/schema/beans
         http://www.springframework.org/schema/beans/spring-beans-2.0.xsd
         http://activemq.apache.org/schema/core
         http://activemq.apache.org/schema/core/activemq-core.xsd">
  <broker xmlns="http://activemq.apache.org/schema/core" brokerName="rtchat" useJmx="false"
          persistent="false" advisorySupport="false" dataDirectory="${{activemq.data}}">
    <transportConnectors>
      <transportConnector name="stomp" uri="{uri}"/>
    </transportConnectors>
  </broker>
</beans>
"""


def prepare(folder: Path, uri: str, *, java: str = "java", max_heap: str) -> list[str]:
    """Write a configuration into a folder; return the command that runs the broker there.

    Args:
        folder: The broker's own folder.
        uri: Where it listens, as ActiveMQ writes it.
        java: The program.
        max_heap: The most memory, as Java's ``-Xmx`` takes it.
    """
    configuration = folder / "activemq.xml"
    configuration.write_text(_CONFIGURATION.format(uri=uri), encoding="utf-8")
    return [
        java,
        f"-Xmx{max_heap}",
        f"-Dactivemq.home={_HOME}",
        f"-Dactivemq.base={folder}",
        f"-Dactivemq.conf={folder}",
        f"-Dactivemq.data={folder / 'data'}",
        "-jar",
        str(JAR),
        "start",
        f"xbean:file:{configuration}",
    ]
