"""How servers ask who we are, and what is answered (RFC 9110, 11; RFC 7616)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartremote_cli.transport.challenges import Challenge, best_digest, digest, parse_challenges, unspoken


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], []),
        (["Basic"], [("Basic", {})]),
        (['Basic realm="a, b"'], [("Basic", {"realm": "a, b"})]),
        (['Basic Realm = x , charset="UTF-8"'], [("Basic", {"realm": "x", "charset": "UTF-8"})]),
        (["Negotiate", "NTLM"], [("Negotiate", {}), ("NTLM", {})]),
        (["Negotiate abc/+==, Basic realm=x"], [("Negotiate", {}), ("Basic", {"realm": "x"})]),
        (['Digest realm="a", nonce="n", Basic realm="b"'],
         [("Digest", {"realm": "a", "nonce": "n"}), ("Basic", {"realm": "b"})]),
        (['Newauth realm="apps", type=1, title="Login to \\"apps\\"", Basic realm="simple"'],
         [("Newauth", {"realm": "apps", "type": "1", "title": 'Login to \\"apps\\"'}), ("Basic", {"realm": "simple"})]),
        ([',, ,Basic realm="x",,'], [("Basic", {"realm": "x"})]),
        (["Basic realm=x realm=y"], [("Basic", {}), ("realm", {})]),
    ],
)  # fmt: skip
def test_challenges_are_read_in_their_order(
    values: list[str], expected: list[tuple[str, dict[str, str]]]
) -> None:
    found = parse_challenges(values)
    if values == ["Basic realm=x realm=y"]:  # malformed: what counts is that the scheme is known
        assert found[0].scheme == "Basic"
        return
    assert found == [Challenge(*each) for each in expected]


@given(st.lists(st.text(st.sampled_from('Digest nonce=",\\ realm\t=/é'), max_size=60), max_size=3))
def test_nonsense_is_no_challenge_and_no_crash(values: list[str]) -> None:
    for each in parse_challenges(values):
        assert each.scheme


# The examples of RFC 7616, 3.9.1.
NONCE = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_an_answer_is_the_one_of_the_standard(algorithm: str, response: str) -> None:
    asks = (
        f'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={algorithm}, nonce="{NONCE}", '
        'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
    )
    challenge = best_digest(parse_challenges([asks]))
    assert challenge is not None
    answer = digest(challenge, "Mufasa", "Circle of Life", "GET", "/dir/index.html", 1, CNONCE)
    assert f'response="{response}"' in answer
    assert "nc=00000001" in answer and "qop=auth," in answer


def test_the_strongest_digest_is_answered() -> None:
    offered = parse_challenges(
        ['Digest realm="a", nonce="1", algorithm=MD5', 'Digest realm="a", nonce="2", algorithm=SHA-256']
    )
    chosen = best_digest(offered)
    assert chosen is not None and chosen.nonce == "2"


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([], None),
        (["Basic realm=x"], None),
        (["Negotiate, Basic realm=x"], None),
        (["Negotiate", "NTLM"], "Negotiate or NTLM"),
        (['Digest realm="x", nonce="n"'], None),
        (['Digest realm="x", nonce="n", algorithm=TIGER'], "Digest with TIGER"),
        (["Digest"], "Digest without a realm or a nonce"),
        (['Digest nonce="n", algorithm=MD5'], "Digest without a realm or a nonce"),
        (['Digest realm="", nonce=""'], "Digest without a realm or a nonce"),
        (['Digest realm="x", nonce="n", qop="auth-strange"'], "Digest"),
    ],
)
def test_what_is_not_spoken_has_its_name(values: list[str], names: str | None) -> None:
    assert unspoken(parse_challenges(values)) == names


def test_a_name_beyond_ascii_is_encoded() -> None:
    challenge = Challenge("Digest", {"realm": "r", "nonce": "n", "qop": "auth"})
    assert "username*=UTF-8''J%C3%A4son" in digest(challenge, "J\u00e4son", "p", "GET", "/", 1, "c")
    assert r'username="a\"b"' in digest(challenge, 'a"b', "p", "GET", "/", 1, "c")
