"""`manage.py doctor` before the first customer: advice on what business needs, and test messages."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook

from admin.doctor.nodetill import settings_finding
from admin.seller.command import add_seller
from models.db.connection import disconnect
from models.seller import Seller
from models.webhook import API_KEY, BTCPAY, add_webhook
from models.webhook import Webhook as Endpoints
from regtest.node import RegtestNode
from tests.support.doctor import READY, WALLET, Installation
from tests.support.endpoint import Endpoint, answers
from tests.support.mail_server import PASSWORD, USER, MailServer

pytestmark = [
    pytest.mark.usefixtures("short_listening"),
    pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning"),
]


@pytest.fixture(scope="module")
def node(start_node: Callable[..., RegtestNode]) -> RegtestNode:
    node = start_node()
    node.rpc("createwallet", WALLET, False, False, "", False, True, True)
    node.mine(1)
    return node


@pytest.fixture
def installation(node: RegtestNode, tmp_path: Path) -> Iterator[Installation]:
    """Yield an installation with an empty database."""
    installation = Installation(node, tmp_path)
    with installation.database():
        pass
    yield installation
    disconnect()


def _add(
    installation: Installation, seller_id: str, webhook_url: str | None = None, **values: str | None
) -> Seller:
    values |= {"webhook_url": webhook_url}
    with installation.database():
        row, _ = add_seller(seller_id, values, restore=False, now=datetime.now(UTC))
    return row


# Advice


def test_default_settings_get_advice_and_are_no_fault(installation: Installation) -> None:
    """Each line names the setting to change, and the exit status is 0."""
    found = installation.diagnose()
    parts = ("public url", "email", "mail", "password", "sellers")
    assert [found.state(part) for part in parts] == ["advice"] * len(parts)
    assert "set PUBLIC_URL=https://YOUR.NAME" in found.text("public url")
    assert "MAIL_FROM is nodetill@localhost and OPERATOR_EMAIL is operator@localhost" in found.text("email")
    assert "set SMTP_URL=smtp://" in found.text("mail")
    assert "OPERATOR_PASSWORD is unset" in found.text("password")
    assert "manage.py seller add company1" in found.text("sellers")
    assert (found.wrong, found.exit_status) == ({}, 0)


def test_complete_settings_get_no_advice(installation: Installation) -> None:
    _add(installation, "company1", "https://shop.example/hook", name="Alpaca", support="help@shop.example")
    found = installation.diagnose(**READY)
    assert found.text("public url") == "the links for customers begin with https://pay.example.com"
    assert found.text("email") == "from till@example.com to you@example.com"
    assert found.text("sellers") == "1, each with a webhook, a name and a support contact"
    assert {found.state(part) for part in ("public url", "email", "password", "sellers")} == {"ok"}


@pytest.mark.parametrize("url", ["http://localhost:8080", "http://127.0.0.1", "http://[::1]:8080"])
def test_a_public_url_of_this_machine_gets_advice(installation: Installation, url: str) -> None:
    assert installation.diagnose(**READY | {"PUBLIC_URL": url}).state("public url") == "advice"


def test_the_advice_names_only_the_local_email_address(installation: Installation) -> None:
    text = installation.diagnose(**READY | {"OPERATOR_EMAIL": "root@localhost"}).text("email")
    assert text.startswith("OPERATOR_EMAIL is root@localhost, ")
    assert "MAIL_FROM" not in text


def test_sellers_without_a_webhook_are_named(installation: Installation) -> None:
    for number in range(1, 6):
        _add(installation, f"company{number}")
    _add(installation, "webshop", "https://shop.example/hook")
    found = installation.diagnose()
    assert found.state("sellers") == "advice"
    assert found.text("sellers").startswith("company1, company2, company3 and 2 more without a webhook")
    assert "manage.py seller set company1 --webhook-url URL" in found.text("sellers")


def test_a_seller_without_a_name_or_a_support_contact_gets_advice(installation: Installation) -> None:
    _add(installation, "company1", "https://shop.example/hook", name="Alpaca Direct")
    _add(installation, "company2", "https://shop.example/hook", support="help@shop.example")
    found = installation.diagnose()
    assert found.state("sellers") == "advice"
    assert "company2 without a name" in found.text("sellers")
    assert "company1 without a support contact" in found.text("sellers")
    assert "webhook" not in found.text("sellers")


@pytest.mark.parametrize(
    ("line", "is_secret"),
    [
        ("PUBLIC_URL=https://pay.example.com", False),
        ("SMTP_URL=maildir:post", False),
        ("DATABASE_URL=postgresql:///nodetill?host=/run/postgresql", False),
        ("PROXY=socks5h://127.0.0.1:9050", False),
        ("SMTP_URL=smtp://till:hunter2@mail.example.com:587", True),
        ("PROXY=socks5h://till:hunter2@127.0.0.1:9050", True),
        ("RATE_HEADER_COINGECKO=x-cg-demo-api-key:hunter2", True),
        ("RATE_URL_COINBASE=https://rates.example.com/?key=hunter2", True),
        ("OPERATOR_PASSWORD=correct-horse-battery-staple", True),
    ],
)
def test_a_settings_file_with_a_secret_must_be_private(tmp_path: Path, line: str, is_secret: bool) -> None:
    """In the Debian install, all users can read the settings file, which has no secrets."""
    env_file = tmp_path / ".env"
    env_file.write_text(f"CONFIRMATIONS=3\n{line}\n")
    env_file.chmod(0o644)
    finding = settings_finding({}, tmp_path)
    assert ("chmod 600" in finding.text) is is_secret
    assert "hunter2" not in finding.text


# The test email


def test_a_test_email_needs_the_option(installation: Installation) -> None:
    with MailServer(wants_login=True) as server:
        url = f"smtp://{USER}:{PASSWORD}@127.0.0.1:{server.address().port}?starttls=never"
        assert "test email" not in [part for part, *_ in installation.diagnose(**READY, SMTP_URL=url).found]
        assert server.taken == []
        found = installation.diagnose("--send-mail", **READY, SMTP_URL=url)
        (email,) = server.taken
        assert server.recipients == ["you@example.com"]
    assert (found.state("test email"), found.exit_status) == ("ok", 0)
    assert found.text("test email") == "sent to you@example.com: look for it there, and in the spam folder"
    assert (email["From"], email["Subject"]) == ("till@example.com", "Nodetill test email")
    assert email["Message-ID"].endswith("@example.com>")


def test_a_refused_test_email_is_a_fault(installation: Installation) -> None:
    """The server accepts the addresses, and refuses the content."""
    with MailServer() as server:
        server.answers["DATA"] = "554 looks like spam"
        url = f"smtp://127.0.0.1:{server.address().port}?starttls=never"
        found = installation.diagnose("--send-mail", **READY, SMTP_URL=url)
    assert set(found.wrong) == {"test email"}
    assert "554 looks like spam" in found.wrong["test email"]


def test_a_test_email_goes_into_the_maildir(installation: Installation, tmp_path: Path) -> None:
    found = installation.diagnose("--send-mail", SMTP_URL="maildir:post")
    assert found.text("test email") == "stored in the Maildir post"
    (stored,) = (tmp_path / "post" / "new").iterdir()
    assert b"Subject: Nodetill test email" in stored.read_bytes()


# The test webhook


def test_a_test_webhook_is_signed_and_its_answer_is_shown(installation: Installation) -> None:
    """A library of Standard Webhooks accepts the webhook, which names no payment."""
    with Endpoint(answers(200, b"thank you")) as shop:
        _add(installation, "company1", shop.url)
        with installation.database():
            secret = str(Endpoints.get().signing_secret)
        found = installation.diagnose("--test-webhook", "company1")
        (request,) = shop.requests
    assert (found.state("test webhook"), found.exit_status) == ("ok", 0)
    assert found.text("test webhook") == "company1 answered HTTP 200: thank you"
    body = Webhook(secret).verify(request.body, request.headers)
    assert body == json.loads(request.body)
    assert set(body) == {"type", "timestamp", "data"}
    assert (body["type"], body["data"]) == ("test", {"seller_id": "company1"})


@pytest.mark.parametrize(
    ("status", "cure"),
    [(401, "manage.py seller rotate-key company1 --webhook-secret"), (500, "read the shop's log")],
)
def test_a_refused_test_webhook_is_a_fault(installation: Installation, status: int, cure: str) -> None:
    with Endpoint(answers(status, b"no\x1b[31m")) as shop:
        _add(installation, "company1", shop.url)
        found = installation.diagnose("--test-webhook", "company1")
    assert set(found.wrong) == {"test webhook"}
    assert found.wrong["test webhook"].startswith(f"company1 answered HTTP {status}: no [31m (")
    assert cure in found.wrong["test webhook"]


def test_a_shop_that_does_not_answer_is_a_fault(installation: Installation) -> None:
    """The webhook's URL may have a password, so the text does not show it."""
    _add(installation, "company1", "http://127.0.0.1:1/hook?key=secret")
    found = installation.diagnose("--test-webhook", "company1")
    assert "Connection refused" in found.wrong["test webhook"]
    assert "manage.py seller set company1 --webhook-url URL" in found.wrong["test webhook"]
    assert "key=secret" not in str(found.found)


def test_a_webhook_url_from_the_api_must_be_public(installation: Installation) -> None:
    """The daemon has the same rule."""
    with Endpoint(answers(200)) as shop:
        _add(installation, "company1", shop.url)
        with installation.database():
            Endpoints.update(set_by=API_KEY).execute()
        found = installation.diagnose("--test-webhook", "company1")
        assert shop.requests == []
        allowed = installation.diagnose("--test-webhook", "company1", WEBHOOK_PRIVATE_HOSTS="127.0.0.1")
    assert "WEBHOOK_PRIVATE_HOSTS" in found.wrong["test webhook"]
    assert allowed.state("test webhook") == "ok"


def test_a_seller_without_a_webhook_is_a_fault(installation: Installation) -> None:
    _add(installation, "company1")
    none = installation.diagnose("--test-webhook", "company1")
    assert "--webhook-url URL" in none.wrong["test webhook"]
    unknown = installation.diagnose("--test-webhook", "company2")
    assert "there is no seller company2" in unknown.wrong["test webhook"]


def test_a_seller_with_an_endpoint_for_a_plug_in_has_its_own_test(installation: Installation) -> None:
    _add(installation, "company1")
    with installation.database():
        endpoint, _ = add_webhook("company1", BTCPAY, "https://shop.example/btcpay", datetime.now(UTC))
    found = installation.diagnose("--test-webhook", "company1").wrong["test webhook"]
    assert found.startswith("company1 has only endpoints for a plug-in: ")
    assert found.endswith(f"manage.py webhook test {endpoint.reference}")


def test_without_a_database_the_webhook_is_not_tried(installation: Installation, tmp_path: Path) -> None:
    found = installation.diagnose(
        "--test-webhook", "company1", DATABASE_URL=f"sqlite:///{tmp_path / 'none.db'}"
    )
    assert found.state("test webhook") == "not tried"
