"""URLs and addresses, judged without a network."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults.corpora.egress import invalid_urls
from services.mesh.egress.addresses import FORBIDDEN_IPV4, NetworkPolicy, embedded, is_public, read_policy
from services.mesh.egress.urls import check_url, parse_url
from services.mesh.errors import InvalidUrl

OPEN = NetworkPolicy()


@pytest.mark.parametrize("url", list(invalid_urls(8080)), ids=ascii)
def test_malformed_and_private_urls_are_refused_without_an_echo(url: str) -> None:
    with pytest.raises(InvalidUrl) as caught:
        check_url(url)
    assert len(caught.value.message) <= 200
    assert "127.0.0.1" not in caught.value.message
    assert caught.value.metadata == {}


def test_the_corpus_is_large() -> None:
    assert len(set(invalid_urls(8080))) >= 150


@pytest.mark.parametrize(
    ("url", "written"),
    [
        ("http://media.example", "http://media.example/"),
        ("HTTPS://Media.Example:443/a?b#c", "https://media.example/a?b"),
        ("http://media.example:8443?x=1", "http://media.example:8443/?x=1"),
        ("http://media.example./x", "http://media.example/x"),
        ("https://bücher.example/ä ö".replace(" ", "%20"), "https://xn--bcher-kva.example/%C3%A4%20%C3%B6"),
        ("http://8.8.8.8:80/", "http://8.8.8.8/"),
        ("http://[2606:4700:0000::1111]:8080/x", "http://[2606:4700::1111]:8080/x"),
        ('http://media.example/{a}|b^`"<>', "http://media.example/%7Ba%7D%7Cb%5E%60%22%3C%3E"),
    ],
)
def test_fit_urls_are_written_in_one_spelling(url: str, written: str) -> None:
    assert check_url(url) == written
    assert check_url(written) == written


@given(st.text(max_size=80))
def test_any_text_is_a_url_or_refused_and_what_is_written_stays(text: str) -> None:
    for url in (text, f"http://{text}", f"http://media.example/{text}"):
        try:
            written = check_url(url)
        except InvalidUrl:
            continue
        assert check_url(written) == written
        assert written.isascii()


FORBIDDEN_NUMBERS = st.sampled_from(FORBIDDEN_IPV4).flatmap(lambda network: st.integers(int(network[0]), int(network[-1])))


@given(FORBIDDEN_NUMBERS | st.integers(min_value=0, max_value=2**32 - 1))
def test_no_spelling_of_a_forbidden_ipv4_address_passes(number: int) -> None:
    address = IPv4Address(number)
    if is_public(address):
        assert parse_url(f"http://{address}/").address == address
        return
    carriers = [
        IPv6Address(number),
        IPv6Address(0xFFFF << 32 | number),
        IPv6Address(0xFFFF << 48 | number),
        IPv6Address((0x64FF9B << 96) | number),
        IPv6Address(0x2002 << 112 | number << 80),
        IPv6Address(0x20010000 << 96 | number << 64 | 0x0808_0808),
        IPv6Address(0x20010000 << 96 | 0x0808_0808 << 64 | (number ^ 0xFFFFFFFF)),
        IPv6Address((0x26064700 << 96) | (0x5EFE << 32) | number),
        IPv6Address((0x64FF9B0001 << 80) | (number >> 16) << 64 | (number & 0xFFFF) << 40),
    ]
    for carrier in carriers:
        assert address in set(embedded(carrier)), carrier
        assert not OPEN.permits(carrier)
        with pytest.raises(InvalidUrl):
            check_url(f"http://[{carrier}]/")
    for spelling in (str(address), str(number), hex(number), f"0{number:o}", f"{number >> 24}.{number & 0xFFFFFF}"):
        with pytest.raises(InvalidUrl):
            check_url(f"http://{spelling}/")


@given(st.integers(min_value=0, max_value=2**128 - 1))
def test_ipv6_passes_only_as_global_unicast_that_carries_nothing_forbidden(number: int) -> None:
    address = IPv6Address(number)
    if OPEN.permits(address):
        assert number >> 125 == 1
        assert all(is_public(inner) for inner in embedded(address))


@pytest.mark.parametrize("network", FORBIDDEN_IPV4, ids=str)
def test_forbidden_networks_are_forbidden_to_their_edges(network: object) -> None:
    first, last = network[0], network[-1]  # type: ignore[index]
    assert not OPEN.permits(first)
    assert not OPEN.permits(last)


def test_what_the_operator_allows_passes_and_nothing_beside_it() -> None:
    policy = read_policy(["10.1.0.0/16", "64:ff9b::/96"])
    assert policy.permits(ip_address("10.1.2.3"))
    assert not policy.permits(ip_address("10.2.0.1"))
    assert policy.permits(ip_address("64:ff9b::808:808"))
    assert policy.permits(ip_address("64:ff9b::a01:203"))
    assert not policy.permits(ip_address("64:ff9b::7f00:1"))
    assert check_url("http://10.1.2.3/", policy) == "http://10.1.2.3/"
    assert check_url("http://localhost/", read_policy(["127.0.0.0/8"])) == "http://localhost/"
