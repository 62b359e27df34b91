"""Settings: settings.py has the table, reader.py reads it, types.py and addresses.py have the types."""

from config.hosts import HostList
from config.proxy import Proxy
from config.reader import SettingsError, variable_name
from config.settings import EX_CONFIG, Settings, likely_typos, load_settings, settings_or_exit
from config.types import Maildir, Secret, SmtpServer

__all__ = [
    "EX_CONFIG",
    "HostList",
    "Maildir",
    "Proxy",
    "Secret",
    "Settings",
    "SettingsError",
    "SmtpServer",
    "likely_typos",
    "load_settings",
    "settings_or_exit",
    "variable_name",
]
