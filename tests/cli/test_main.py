from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from aiflow import __version__
from aiflow.cli import main
from aiflow.cli.faults import Status, Terminated, status_of
from aiflow.common.errors import AiflowError, BrokerUnreachable, ConfigError


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--version"]) == 0
    assert capsys.readouterr().out == f"aiflow {__version__}\n"


def test_version_and_help_are_quick_and_load_nothing_heavy() -> None:
    code = (
        "import sys; from aiflow.cli.main import run; status = run([sys.argv[1]]);"
        "heavy = {'numpy', 'pydantic', 'paho', 'cv2', 'onnxruntime', 'rich', 'tokenizers'};"
        "print(status, sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    for option in ("--version", "--help"):
        taken_s = []
        for _ in range(3):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            done = python("-c", code, option)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            # Time of the processor, not of the wall: other tests may run beside this one.
            taken_s.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
            assert done.stderr == "0 []\n"
        assert min(taken_s) < 0.4


def test_the_device_starts_no_threads_to_multiply(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    code = (
        "import os, sys; from aiflow.cli.main import run; run(['device', '--config', sys.argv[1]]);"
        "print('numpy' in sys.modules, len(os.listdir('/proc/self/task')))"
    )
    done = python("-c", code, str(tmp_path / "absent.toml"))
    assert "does not exist" in done.stderr
    assert done.stdout == "True 1\n"


@pytest.mark.parametrize(
    "command",
    [
        "device",
        "edge",
        "cloud",
        "demo",
        "watch",
        "bench",
        "bundle",
        "doctor",
        "install",
        "uninstall",
    ],
)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"Usage: aiflow {command}")
    assert (
        f"aiflow {command}" in text.removeprefix("Usage: ").partition("\n")[2]
        or command == "bundle"
    )


def test_a_tier_imports_no_other_tier(tmp_path: Path) -> None:
    code = (
        "import sys; from aiflow.cli.main import run; run(sys.argv[1:]);"
        "print(*(name for name in sys.modules if name.startswith('aiflow.')))"
    )
    for tier, others in (
        ("device", ("edge", "cloud")),
        ("edge", ("device", "cloud")),
        ("cloud", ("device", "edge")),
    ):
        done = python("-c", code, tier, "--config", str(tmp_path / "none.toml"))
        assert "does not exist" in done.stderr
        assert f"aiflow.{tier}.config" in done.stdout
        for other in others:
            assert f"aiflow.{other}" not in done.stdout


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["demo", "--fram", "3"], "--frames"),
        (["demo", "--frames", "0"], "--frames"),
        (["demo", "--mode", "fast"], "--mode"),
        (["demo", "--link", "fast"], "25KB/s,50ms"),
        (["demo", "--json", "/nowhere/at/all.json"], "/nowhere/at/all.json"),
        (["nonsense"], "nonsense"),
        (
            ["doctor", "nonsense"],
            ": 'nonsense' is not one of 'device', 'edge', 'cloud'; see",
        ),
        (["bench", "nonsense"], "known: quality, rate"),
        (["device", "--config", "/nowhere.toml"], "config file /nowhere.toml does not exist"),
        (["watch", "--broker", "http://example.org"], "mqtt://"),
        (["watch", "--device", "a/b"], "a/b"),
    ],
)
def test_wrong_usage_is_one_sentence_and_status_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(arguments) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.startswith("aiflow: ")
    assert written.err.count("\n") == 1
    assert words in written.err


def test_without_a_command_there_is_help_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([]) == 2
    assert capsys.readouterr().err.startswith("Usage: aiflow")


def test_an_expected_fault_is_one_sentence_and_status_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiflow.client.subscription.CONNECT_S", 0.2)
    assert main.run(["watch", "--broker", "mqtt://127.0.0.1:1"]) == 1
    written = capsys.readouterr()
    assert written.err.startswith("aiflow: the MQTT broker at 127.0.0.1:1 cannot be reached")
    assert written.err.count("\n") == 1


@pytest.mark.parametrize(
    "error, status",
    [
        (KeyboardInterrupt(), 130),
        (Terminated(), 143),
        (BrokenPipeError(), 1),
        (AiflowError("no"), 1),
        (ConfigError("no"), 2),
    ],
)
def test_what_ends_a_command_decides_its_status(
    error: BaseException, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_options: object) -> None:
        raise error

    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(main, "app", fail)
    assert main.run([]) == status


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_options: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(main, "app", fail)
    with pytest.raises(ZeroDivisionError):
        main.run([])


def test_status_tells_configuration_from_events() -> None:
    assert status_of(ConfigError("")) is Status.USAGE
    assert status_of(BrokerUnreachable("")) is Status.FAULT


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_nobody_reads_is_no_noise(unbuffered: str) -> None:
    with subprocess.Popen(["true"], stdin=subprocess.PIPE) as reader:
        reader.wait()
        done = subprocess.run(
            [sys.executable, "-P", "-m", "aiflow", "bench"],
            check=False,
            stdout=reader.stdin,
            stderr=subprocess.PIPE,
            timeout=30,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        )
    assert (done.returncode, done.stderr) == (1, b"")


def test_the_console_script_is_the_same_command() -> None:
    assert python("-m", "aiflow", "--version").stdout == f"aiflow {__version__}\n"
    script = Path(sys.executable).with_name("aiflow")
    if not script.exists():
        pytest.skip("the package is not installed in this environment")
    done = subprocess.run([script, "--version"], check=False, capture_output=True, timeout=30)
    assert (done.returncode, done.stdout.decode()) == (0, f"aiflow {__version__}\n")


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", ">&-", "2>&-"])
def test_closed_descriptors_are_no_fault(closed: str) -> None:
    for arguments in ("--version", "bundle list"):
        command = f"exec {sys.executable} -P -m aiflow {arguments} {closed}"
        done = subprocess.run(["sh", "-c", command], check=False, capture_output=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, b"")


def test_no_home_directory_is_no_fault_where_none_is_needed(tmp_path: Path) -> None:
    code = (
        "import pwd, sys; from aiflow.cli.main import run\n"
        "def unknown(uid): raise KeyError(uid)\n"
        "pwd.getpwuid = unknown; sys.exit(run(sys.argv[1:]))"
    )

    def homeless(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-c", code, *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            env=environ,
        )

    assert homeless("bundle", "list").returncode == 0
    settings = tmp_path / "edge.toml"
    settings.write_text("[broker]\nport = 1\n")
    refused = homeless("edge", "--config", str(settings))
    assert (refused.returncode, "Traceback" in refused.stderr) == (2, False), refused.stderr
    assert "set STATE_DIRECTORY to a folder" in refused.stderr
