"""Settings from an environment and a directory, and the errors of wrong ones."""

from pathlib import Path

import pytest

from config import Settings, SettingsError, load_settings


def load(directory: Path, **environ: str) -> Settings:
    return load_settings(environ, directory)


def errors_of(directory: Path, **environ: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_settings(environ, directory)
    return str(caught.value).splitlines()
