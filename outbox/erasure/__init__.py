"""Erasing a person: tables, log and streams are gone through, twice, step by step (docs/privacy.md)."""
