"""The first schema: a frozen copy of the tables as they were then, independent of today's models."""

from typing import Any

import peewee
from playhouse.migrate import SchemaMigrator


def up(_migrator: SchemaMigrator, db: Any) -> None:
    class Frozen(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class Seller(Frozen):
        id = peewee.CharField(primary_key=True, max_length=64)
        name = peewee.TextField()
        email = peewee.TextField()
        api_key_hash = peewee.CharField(max_length=64, unique=True)
        webhook_url = peewee.TextField(null=True)
        webhook_secret = peewee.TextField()
        previous_webhook_secret = peewee.TextField(null=True)
        created_at = peewee.BigIntegerField()
        removed_at = peewee.BigIntegerField(null=True)

    class Address(Frozen):
        id = peewee.BigAutoField()
        script = peewee.BlobField(unique=True)
        address = peewee.CharField(max_length=100, unique=True)
        wallet = peewee.TextField()
        created_at = peewee.BigIntegerField()
        claimed_at = peewee.BigIntegerField(null=True)

    class PaymentRequest(Frozen):
        id = peewee.BigAutoField()
        reference = peewee.CharField(max_length=32, unique=True)
        seller = peewee.ForeignKeyField(Seller, on_delete="RESTRICT")
        amount_fiat = peewee.TextField()
        currency = peewee.CharField(max_length=3)
        price = peewee.TextField()
        price_at = peewee.BigIntegerField()
        price_source = peewee.TextField()
        amount_sats = peewee.BigIntegerField(constraints=[peewee.Check("amount_sats > 0")])
        tolerance_sats = peewee.BigIntegerField()
        address = peewee.ForeignKeyField(Address, unique=True, on_delete="RESTRICT")
        confirmations_required = peewee.IntegerField()
        created_at = peewee.BigIntegerField()
        expires_at = peewee.BigIntegerField()
        monitored_until = peewee.BigIntegerField()
        late_deadline = peewee.BigIntegerField(null=True)
        note = peewee.TextField()
        label = peewee.TextField(null=True)
        redirect_url = peewee.TextField(null=True)
        metadata = peewee.TextField()
        idempotency_key = peewee.TextField(null=True)
        idempotency_digest = peewee.TextField(null=True)
        late_accepted_at = peewee.BigIntegerField(null=True)
        status = peewee.CharField(max_length=10)
        covered_height = peewee.IntegerField(null=True)
        received_sats = peewee.BigIntegerField()
        due_sats = peewee.BigIntegerField()
        overpaid_sats = peewee.BigIntegerField()
        is_late = peewee.BooleanField()
        txid = peewee.CharField(max_length=64, null=True)
        received_at = peewee.BigIntegerField(null=True)
        confirmed_at = peewee.BigIntegerField(null=True)
        closed_at = peewee.BigIntegerField(null=True)
        told_sats = peewee.BigIntegerField()
        revision = peewee.IntegerField()
        next_height = peewee.IntegerField(null=True)
        next_deadline = peewee.BigIntegerField(null=True)

        class Meta:
            indexes = ((("seller", "idempotency_key"), True), (("seller", "id"), False))

    class Output(Frozen):
        id = peewee.BigAutoField()
        address = peewee.ForeignKeyField(Address, on_delete="RESTRICT")
        txid = peewee.CharField(max_length=64)
        vout = peewee.BigIntegerField()
        amount_sats = peewee.BigIntegerField(constraints=[peewee.Check("amount_sats >= 0")])
        first_seen_at = peewee.BigIntegerField()
        state = peewee.CharField(max_length=8)
        block_hash = peewee.CharField(max_length=64, null=True)
        block_height = peewee.IntegerField(null=True)
        replaced_by = peewee.CharField(max_length=64, null=True)
        replaced_in = peewee.CharField(max_length=64, null=True)

        class Meta:
            indexes = ((("txid", "vout"), True),)
            constraints = (
                peewee.Check("state IN ('mempool', 'mined', 'replaced', 'dropped')"),
                peewee.Check("(state = 'mined') = (block_hash IS NOT NULL)"),
                peewee.Check("(state = 'replaced') = (replaced_by IS NOT NULL)"),
                peewee.Check("(block_hash IS NULL) = (block_height IS NULL)"),
            )

    class Spend(Frozen):
        txid = peewee.CharField(max_length=64)
        outpoint = peewee.BlobField(index=True)
        spender = peewee.CharField(max_length=64)

        class Meta:
            primary_key = peewee.CompositeKey("txid", "outpoint")

    class Block(Frozen):
        height = peewee.IntegerField(primary_key=True)
        hash = peewee.CharField(max_length=64, unique=True)
        chainwork = peewee.CharField(max_length=64)
        mined_at = peewee.BigIntegerField()

    class Event(Frozen):
        id = peewee.BigAutoField()
        reference = peewee.CharField(max_length=40, unique=True)
        payment = peewee.ForeignKeyField(PaymentRequest, on_delete="RESTRICT")
        revision = peewee.IntegerField()
        type = peewee.CharField(max_length=32)
        created_at = peewee.BigIntegerField()
        payload = peewee.TextField()

        class Meta:
            indexes = ((("payment", "revision", "type"), True),)

    class Message(Frozen):
        id = peewee.BigAutoField()
        event = peewee.ForeignKeyField(Event, on_delete="CASCADE")
        payment = peewee.ForeignKeyField(PaymentRequest, on_delete="RESTRICT")
        channel = peewee.CharField(max_length=8)
        recipient = peewee.TextField()
        queue = peewee.TextField()
        created_at = peewee.BigIntegerField()
        attempts = peewee.IntegerField()
        last_error = peewee.TextField(null=True)
        next_attempt_at = peewee.BigIntegerField(null=True)
        delivered_at = peewee.BigIntegerField(null=True)
        failed_at = peewee.BigIntegerField(null=True)

        class Meta:
            indexes = ((("event", "channel", "recipient"), True),)

    class Rate(Frozen):
        source = peewee.CharField(max_length=32)
        currency = peewee.CharField(max_length=3)
        price = peewee.TextField()
        fetched_at = peewee.BigIntegerField()

        class Meta:
            primary_key = peewee.CompositeKey("source", "currency")

    class Hint(Frozen):
        id = peewee.BigAutoField()
        kind = peewee.CharField(max_length=12)
        payment = peewee.ForeignKeyField(PaymentRequest, on_delete="CASCADE", null=True)
        txid = peewee.CharField(max_length=64, null=True)
        message = peewee.ForeignKeyField(Message, on_delete="CASCADE", null=True)
        created_at = peewee.BigIntegerField()

    class DaemonReport(Frozen):
        id = peewee.IntegerField(primary_key=True, constraints=[peewee.Check("id = 1")])
        chain = peewee.CharField(max_length=16, null=True)
        heartbeat_at = peewee.BigIntegerField(null=True)
        assessed_height = peewee.IntegerField()
        node_height = peewee.IntegerField(null=True)
        problems = peewee.TextField()

    db.create_tables(
        [Seller, Address, PaymentRequest, Output, Spend, Block, Event, Message, Rate, Hint, DaemonReport]
    )
    # Partial indexes hold only the rows that something waits for, so their size is that of the work to do.
    for name, columns, condition in (
        ("address_free", "address (id)", "claimed_at IS NULL"),
        ("payment_next_height", "payment_request (next_height)", "next_height IS NOT NULL"),
        ("payment_next_deadline", "payment_request (next_deadline)", "next_deadline IS NOT NULL"),
        ("payment_closed", "payment_request (closed_at)", "closed_at IS NOT NULL"),
        ("output_unsettled", "output (id)", "block_hash IS NULL"),
        ("output_block", "output (block_hash)", "block_hash IS NOT NULL"),
        ("output_replaced_in", "output (replaced_in)", "replaced_in IS NOT NULL"),
        ("message_pending", "message (id)", "next_attempt_at IS NOT NULL"),
    ):
        db.execute_sql(f"CREATE INDEX {name} ON {columns} WHERE {condition}")
