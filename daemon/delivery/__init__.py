"""The delivery of messages from the outbox, as emails and webhooks."""
