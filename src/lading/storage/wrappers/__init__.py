"""Wrappers: storages in front of any other. Each redefines what it is for, and passes on the rest."""
