"""Tests of regtest/."""
