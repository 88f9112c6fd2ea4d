"""Loads nowhere."""

raise RuntimeError("broken everywhere")
