"""Pictures: files, colour, geometry."""
