"""What this server calls itself on every wire that asks."""

VERSION = "0.1.0"
