"""What manage.py does, and the regtest node that its demo and the tests run on."""
