"""Lading and Distribution side by side: `python -m bench --help`, and docs/performance.md."""
