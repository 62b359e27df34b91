"""The doctor finds passwords that other users can read."""

from pathlib import Path

from admin.doctor.files import files_finding
from admin.doctor.findings import State
from admin.doctor.nodetill import settings_finding
from config import load_settings


def test_the_doctor_finds_a_secret_file_that_env_names(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    secret = tmp_path / "elsewhere"
    secret.write_text("smtp://user:password@mail.example.com:587")
    secret.chmod(0o644)
    (tmp_path / ".env").write_text(f"SMTP_URL_FILE={secret}\nDATABASE_URL=sqlite:///nodetill.db\n")
    (tmp_path / ".env").chmod(0o600)
    found = files_finding(load_settings({}, tmp_path), {}, tmp_path)
    assert (found.state, str(secret) in found.text) == (State.ADVICE, True)


def test_a_foreign_variable_hides_no_readable_secret(tmp_path: Path) -> None:
    """LOGLEVEL may belong to another program, so its advice may stay for ever."""
    env_file = tmp_path / ".env"
    env_file.write_text("SMTP_URL=smtp://user:password@mail.example.com:587\n")
    env_file.chmod(0o644)
    assert "other users can read SMTP_URL" in settings_finding({"LOGLEVEL": "info"}, tmp_path).text
