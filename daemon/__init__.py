"""The process that talks to bitcoind, decides each payment's status and tells of it."""
