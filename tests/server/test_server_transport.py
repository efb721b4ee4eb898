"""The transport that the server's protocol gets."""

from unittest.mock import Mock

import pytest

from pcf.server.server_transport import ServerTransport


@pytest.mark.parametrize("peer", [("192.0.2.1", 1), None])
def test_the_server_gets_the_addresses_of_a_lost_connection(peer):
    """It asks for them when it reads the next request of a pipeline."""
    inner = Mock()
    inner.get_extra_info = {"peername": peer, "sockname": ("192.0.2.100", 80)}.get
    transport = ServerTransport(inner, Mock(), Mock())
    inner.get_extra_info = Mock(side_effect=ValueError("negative file descriptor"))
    assert transport.get_extra_info("peername") == peer
    assert transport.get_extra_info("sockname") == ("192.0.2.100", 80)


def test_the_end_is_that_of_the_connection_and_the_rest_that_of_the_transport():
    inner, close, is_closing = Mock(), Mock(), Mock()
    transport = ServerTransport(inner, close, is_closing)
    assert (transport.close, transport.write_eof, transport.is_closing) == (
        close, close, is_closing
    )  # fmt: skip
    assert (transport.write, transport.pause_reading) == (inner.write, inner.pause_reading)
    assert transport.get_extra_info("ssl_object", 1) is inner.get_extra_info.return_value
