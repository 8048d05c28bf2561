"""Scoring label maps against truth."""
