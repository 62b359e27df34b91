"""`manage.py wallet`: bitcoind's wallet, and wallets of descriptors."""
