"""Test messages that the operator orders: an email and a webhook, sent as the daemon sends them."""

import secrets
from datetime import datetime

from admin.doctor.findings import Finding, ok, wrong
from config import Maildir, Settings
from config.command import manage_command
from daemon.delivery.cures import START_PROXY
from daemon.delivery.email_layout import EmailContent
from daemon.delivery.smtp import Mailer
from daemon.delivery.webhook import WebhookSender, is_accepted
from daemon.net.errors import OutboundError, ProxyUnusable, is_caused_by, printable_line
from daemon.net.http_client import HttpResponse
from models.seller import Seller
from models.webhook import BTCPAY, endpoints_of, first_standard_webhook
from payments.notifications import message_id, trial_body

EMAIL, WEBHOOK = "test email", "test webhook"
TEST_EMAIL = EmailContent(
    "Nodetill test email",
    "This is a test email of manage.py doctor. Nodetill can reach your mailbox.\n",
    "<p>This is a test email of <code>manage.py doctor</code>. Nodetill can reach your mailbox.</p>\n",
)
REFUSALS = (400, 401, 403)
"""The statuses with which shops usually refuse a signature."""


def email_trial(settings: Settings, now: datetime) -> Finding:
    """Send a test email to the operator, and return whether the mail server accepted it."""
    recipient = settings.operator_email
    reference = message_id(secrets.token_hex(16), settings.mail_from)
    try:
        Mailer(settings.mail, settings.mail_from, proxy=settings.proxy).send(
            recipient, TEST_EMAIL, reference, is_urgent=False, now=now
        )
    except OutboundError as failure:
        return wrong(EMAIL, f"{failure}: the line mail has the correction, or the mail server's log")
    if isinstance(settings.mail, Maildir):
        return ok(EMAIL, f"stored in the Maildir {settings.mail.path}")
    return ok(EMAIL, f"sent to {recipient}: look for it there, and in the spam folder")


def webhook_trial(settings: Settings, seller_id: str, now: datetime) -> Finding:
    """Send the seller's shop a signed webhook of the type `test`, and return the shop's answer."""
    seller = Seller.get_or_none(Seller.id == seller_id, Seller.removed_at.is_null())
    if seller is None:
        return wrong(WEBHOOK, f"there is no seller {seller_id}; all sellers: {manage_command()} seller list")
    cure = f"{manage_command()} seller set {seller_id} --webhook-url URL"
    webhook = first_standard_webhook(seller_id)
    if webhook is None or not webhook.url:
        others = endpoints_of(seller, BTCPAY)
        if others:
            test = f"{manage_command()} webhook test {others[0].reference}"
            return wrong(WEBHOOK, f"{seller_id} has only endpoints for a plug-in: {test}")
        return wrong(WEBHOOK, f"{seller_id} has no webhook address: {cure}")
    sender = WebhookSender(private_hosts=settings.webhook_private_hosts, proxy=settings.proxy)
    try:
        answer = sender.post(
            webhook.url,
            webhook.signing_secrets,
            secrets.token_hex(16),
            trial_body(seller_id, now),
            now,
            is_public_only=webhook.needs_public_address,
        )
    except OutboundError as failure:
        cure = START_PROXY if is_caused_by(failure, ProxyUnusable) else f"correct the address: {cure}"
        return wrong(WEBHOOK, f"no answer from {seller_id} ({failure}): {cure}")
    return _of_answer(seller_id, answer)


def _of_answer(seller_id: str, answer: HttpResponse) -> Finding:
    text = printable_line(answer.body.decode("utf-8", "replace"))
    shown = f"{seller_id} answered HTTP {answer.status}{f': {text}' if text else ''}"
    if is_accepted(answer):
        return ok(WEBHOOK, shown)
    if answer.status in REFUSALS:
        cure = (
            "the shop may have another webhook secret; "
            f"for a new one: {manage_command()} seller rotate-key {seller_id} --webhook-secret"
        )
    else:
        cure = "read the shop's log; a shop must answer 2xx to each webhook, also to a type that it ignores"
    return wrong(WEBHOOK, f"{shown} ({cure})")
