"""Tests of payments/greenfield/."""
