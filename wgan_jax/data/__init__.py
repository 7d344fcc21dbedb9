"""Where real samples come from."""
