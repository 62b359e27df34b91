"""The process that follows bitcoind, decides the payments' statuses and sends the messages."""
