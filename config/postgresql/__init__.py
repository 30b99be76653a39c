"""Django's PostgreSQL backend, that does not wait for ever (see `base`)."""
