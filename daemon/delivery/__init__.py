"""Deliver the messages of the outbox: emails and webhooks."""
