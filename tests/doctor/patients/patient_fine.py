"""Loads everywhere."""
