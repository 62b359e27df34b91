"""Every browser reads the address at which a shop gets its key in the same way as Nodetill."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.operator.key_target import read_key_target


@pytest.mark.parametrize(
    ("text", "url", "host"),
    [
        ("https://shop.example", "https://shop.example/", "shop.example"),
        ("HTTPS://Shop.Example:443/A?b=c&d", "https://shop.example/A?b=c&d", "shop.example"),
        (
            "https://shop.example:8443/x|y {z}",
            "https://shop.example:8443/x%7Cy%20%7Bz%7D",
            "shop.example:8443",
        ),
        ("https://shop.example/%C3%BC?a=%zz#f", "https://shop.example/%C3%BC?a=%zz#f", "shop.example"),
        ("https://müller.example/ü", "https://xn--mller-kva.example/%C3%BC", "xn--mller-kva.example"),
        ("https://192.0.2.1/", "https://192.0.2.1/", "192.0.2.1"),
        ("https://[2001:db8::1]:8443/", "https://[2001:db8::1]:8443/", "[2001:db8::1]:8443"),
        ("  https://shop.example/x ", "https://shop.example/x", "shop.example"),
        ('https://shop.example/"><script>', "https://shop.example/%22%3E%3Cscript%3E", "shop.example"),
    ],
)
def test_an_address_is_built_from_its_parts(text: str, url: str, host: str) -> None:
    target = read_key_target(text)
    assert (target.url, target.host) == (url, host)
    assert not target.is_readable


@pytest.mark.parametrize(
    "text",
    [
        "javascript:alert(1)",
        "JaVaScRiPt://shop.example/%0aalert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "ftp://shop.example/",
        "//shop.example/",
        "/relative",
        "shop.example",
        "https:",
        "https:shop.example",
        "https:///shop.example",
        "https://",
        "https://shop.example\\@evil.example/",
        "https:\\\\evil.example",
        "https://shop.example\t.evil.example/",
        "https://shop.example\n/",
        "https://shop.example@evil.example/",
        "https://user:password@shop.example/",
        "https://shop.example:0/",
        "https://shop.example:99999/",
        "https://shop.example:x/",
        "https://[::1",
        "https://[fe80::1%25eth0]/",
        "https://shop.example%2eevil.example/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://a..b/",
        "https://shop.example;form-action/",
        "https://shop.example'/",
        "https://*/",
        "https://\u202eelpmaxe.pohs/",
        f"https://shop.example/{'x' * 2048}",
        "",
    ],
)
def test_a_bad_address_is_refused(text: str) -> None:
    """The name of the field and the error make a sentence."""
    with pytest.raises(ValueError, match=r"^(must|has) "):
        read_key_target(text)


@pytest.mark.parametrize(
    ("host", "is_allowed", "is_readable"),
    [
        ("localhost", True, False),
        ("shop.localhost:8080", True, False),
        ("127.0.0.1:8080", True, False),
        ("[::1]", True, False),
        ("abcdefghijklmnop.onion", True, False),
        ("192.168.1.5", True, True),
        ("10.0.0.1", True, True),
        ("[fd00::1]", True, True),
        ("umbrel.local", True, True),
        ("woocommerce", True, True),
        ("shop.home.arpa", True, True),
        ("shop.example.com", False, None),
        ("8.8.8.8", False, None),
        ("[2606:4700::1111]", False, None),
        ("[::ffff:8.8.8.8]", False, None),
        ("notlocalhost.com", False, None),
        ("evil.com.local.example.com", False, None),
    ],
)
def test_plain_http_is_for_hosts_that_the_internet_does_not_reach(
    host: str, is_allowed: bool, is_readable: bool | None
) -> None:
    """The page warns if others in the same network could read the key."""
    assert not read_key_target(f"https://{host}/").is_readable
    if not is_allowed:
        with pytest.raises(ValueError, match="must start with https://"):
            read_key_target(f"http://{host}/")
    else:
        assert read_key_target(f"http://{host}/").is_readable is is_readable


@given(st.text(st.characters(codec="utf-8"), max_size=60).map(lambda text: f"https://{text}"))
def test_an_accepted_address_has_the_shown_host(text: str) -> None:
    """It has only characters of RFC 3986, so it cannot end an attribute or a policy."""
    try:
        target = read_key_target(text)
    except ValueError:
        return
    assert urlsplit(target.url).netloc == target.host
    assert target.url.isascii()
    assert not {*target.url} & {*" \"'<>\\^`{|}\n\r\t"} - {"'"}
    assert not {*target.source} & {*" ;,'\""}
