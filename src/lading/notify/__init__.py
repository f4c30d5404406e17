"""Notifications: events in the original's form, a journal in which they wait, and their delivery."""
