"""The parts of the composition root that are not needed by every registry."""
