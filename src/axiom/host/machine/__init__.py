"""Run an image or the hosted engine; the host's end of the link."""
