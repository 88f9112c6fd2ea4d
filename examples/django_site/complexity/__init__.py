"""Surveys of how complex code is."""
