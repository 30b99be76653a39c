from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = "Accounts"

    def ready(self) -> None:
        from accounts import schema  # noqa: F401 - drf-spectacular finds extensions by import
        from accounts.services import staff  # noqa: F401 - hears the ends of sessions
