"""Exit 0 if GET /livez of the service in this container answers 200, else 1 with a reason.

The request looks like one from the proxy in front: it names an allowed host and says it used TLS.
"""

from __future__ import annotations

import http.client
import os
import sys


def main() -> int:
    """Send one request, with a limit of three seconds."""
    hosts = [host.strip() for host in os.environ.get("ALLOWED_HOSTS", "").split(",")]
    host = next((host for host in hosts if host and host != "*"), "localhost").lstrip(".")
    connection = http.client.HTTPConnection(
        "127.0.0.1", int(os.environ.get("PORT") or 8080), timeout=3
    )
    try:
        connection.request("GET", "/livez", headers={"Host": host, "X-Forwarded-Proto": "https"})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        print(f"no answer: {error}", file=sys.stderr)
        return 1
    finally:
        connection.close()
    if status != http.HTTPStatus.OK:
        print(f"/livez answered {status}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
