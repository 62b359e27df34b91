"""The process that talks to bitcoind, decides each payment's status and sends its messages."""
