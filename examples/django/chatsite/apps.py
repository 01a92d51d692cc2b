from django.apps import AppConfig


class ChatSiteConfig(AppConfig):
    name = "chatsite"

    def ready(self):
        from . import rpc_signals  # noqa: F401
