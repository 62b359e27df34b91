"""Decide who may make a call."""
