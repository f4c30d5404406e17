"""`lading config` and `--strict`, as an operator sees them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from lading import __version__
from lading.cli import SHELLS, main

GOOD = "version: 0.1\nstorage: inmemory\nhttp: {addr: ':1'}\n"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    monkeypatch.delenv("REGISTRY_CONFIGURATION_PATH", raising=False)


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def written(text):
        (tmp_path / "c.yml").write_text(text)
        return "c.yml"

    return written


class TestCheck:
    def test_good(self, write, capsys):
        assert main(["config", "check", write(GOOD)]) == 0
        assert capsys.readouterr() == ("c.yml: can be served\n", "")

    def test_the_default(self, capsys):
        assert main(["config", "check"]) == 0
        assert capsys.readouterr().out == "default.yml (built in): can be served\n"

    def test_the_file_a_variable_names(self, write, capsys, monkeypatch):
        monkeypatch.setenv("REGISTRY_CONFIGURATION_PATH", write(GOOD))
        assert main(["config", "check"]) == 0
        assert capsys.readouterr().out == "c.yml: can be served\n"

    def test_everything_at_once(self, write, capsys, monkeypatch):
        monkeypatch.setenv("REGISTRY_HTTP_ADDRESS", ":1")
        assert (
            main(["config", "check", write("version: 0.1\nhttp:\n  net: udp\n  adr: x\ntags: {maxtags: -1}\n")])
            == 1
        )
        assert capsys.readouterr().out.splitlines() == [
            "error: c.yml:1:1: storage: no storage configuration provided",
            "error: c.yml:3:8: http.net: unknown address type udp (allowed: tcp, unix)",
            "error: c.yml:5:17: tags.maxtags: maxtags limit must be a non-negative integer value",
            "warning: Ignoring unrecognized environment variable REGISTRY_HTTP_ADDRESS",
            "warning: c.yml:4:3: http.adr: unknown key, ignored (did you mean addr?)",
        ]

    @pytest.mark.parametrize(
        ("parameters", "keys"),
        [
            ("gcs: {chunksize: 100, maxconcurrency: x}", ["chunksize", "maxconcurrency"]),
            ("azure: {accountname: a, credentials: {type: shared_key}}", ["container", "accountkey"]),
            ("s3: {bucket: b, chunksize: 1, objectacl: mine}", ["chunksize", "objectacl"]),
            ("s3aws: {region: r, secure: maybe}", ["secure"]),
            ("frostfs: {wallet: {path: x}, peers: {0: {address: x}}}", ["wallet.password", "peers.0.address"]),
        ],
    )
    def test_parameters_of_a_driver(self, write, capsys, parameters, keys):
        assert main(["config", "check", write(f"version: 0.1\nstorage: {{{parameters}}}\n")]) == 1
        lines = capsys.readouterr().out.splitlines()
        for key in [f"storage.{parameters.partition(':')[0]}.{key}" for key in keys] + ["http.addr"]:
            [line] = [line for line in lines if f" {key}: " in line]
            assert line.startswith("error: c.yml:"), line

    def test_what_this_version_has_not(self, write, capsys):
        assert main(["config", "check", write(f"{GOOD}auth: ldap\n")]) == 1
        assert capsys.readouterr().out.startswith(
            "error: c.yml:4:7: auth: unable to configure authorization (ldap)"
        )

    def test_warnings_are_errors_if_strict(self, write, capsys):
        name = write(f"{GOOD}htp: 1\n")
        assert main(["config", "check", name]) == 0
        assert main(["config", "check", name, "--strict"]) == 1
        assert capsys.readouterr().out.splitlines() == [
            "warning: c.yml:4:1: htp: unknown key, ignored (did you mean http?)",
            "c.yml: can be served",
            "error: c.yml:4:1: htp: unknown key, ignored (did you mean http?)",
        ]

    def test_a_file_that_is_not_there(self, capsys):
        assert main(["config", "check", "/nowhere"]) == 1
        assert capsys.readouterr().out == "error: /nowhere: cannot be read: No such file or directory\n"


class TestServe:
    def test_strict(self, write, capsys, monkeypatch):
        monkeypatch.setenv("REGISTRY_DUCKS", "quack")
        assert main(["serve", "--strict", write(f"{GOOD}htp: 1\n")]) == 1
        assert capsys.readouterr().err == (
            "configuration error: error parsing c.yml:\n"
            "  Ignoring unrecognized environment variable REGISTRY_DUCKS\n"
            "  c.yml:4:1: htp: unknown key, ignored (did you mean http?)\n"
        )

    def test_the_line_for_what_cannot_be_honoured(self, write, capsys):
        assert main(["serve", write(f"{GOOD}notifications: {{endpoints: [{{name: a}}]}}\n")]) == 1
        assert capsys.readouterr().err == (
            "configuration error: error parsing c.yml: c.yml:4:29: notifications.endpoints[0].url: is not set\n"
        )


class TestShow:
    def test_yaml(self, write, capsys):
        assert main(["config", "show", write(f"{GOOD}proxy: {{password: hunter2}}\n")]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split() for line in lines if line.strip().startswith(("addr: :1", "password: '***'"))] == [
            ["addr:", ":1", "#", "c.yml:3:14"],
            ["password:", "'***'", "#", "c.yml:4:19"],
        ]

    def test_json(self, write, capsys):
        assert main(["config", "show", "--json", write(GOOD)]) == 0
        assert json.loads(capsys.readouterr().out)["http.addr"] == {"value": ":1", "source": "c.yml:3:14"}

    def test_a_bad_file(self, write, capsys):
        assert main(["config", "show", write("version: 7")]) == 1
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert err.startswith(
            'configuration error: error parsing c.yml: c.yml:1:10: version: unsupported version: "7"'
        )


def test_schema(capsys):
    assert main(["config", "schema"]) == 0
    assert "storage" in json.loads(capsys.readouterr().out)["properties"]


@pytest.mark.parametrize("arguments", [["config"], ["config", "sow"], ["config", "schema", "x"], ["help", "x"]])
def test_misuse(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: lading")


def test_everything_at_once(write, capsys, tmp_path):
    """What cannot be read, what is not honoured, what is missing, and files that are of no use."""
    (tmp_path / "empty.pem").touch()
    name = write(
        "version: 0.1\nstorage: {filesystem: {maxthreads: many}}\nlog: {level: loud, formatter: xml}\n"
        "auth: {token: {service: s}}\nproxy: {remoteurl: ftp://a}\n"
        f"http: {{addr: ':1', tls: {{certificate: {tmp_path}/empty.pem, key: /nowhere}}}}\n"
    )
    for arguments in (["config", "check", name], ["serve", name]):
        assert main(arguments) == 1
        out, err = capsys.readouterr()
        lines = [line.strip().removeprefix("error: ") for line in (out or err).splitlines() if "c.yml:" in line]
        keys = [line.split(": ")[1] for line in lines if line.startswith("c.yml:")]
        assert sorted(keys) == [
            "auth.token",
            "auth.token.issuer",
            "auth.token.realm",
            "http.tls.key",
            "log.formatter",
            "log.level",
            "proxy.remoteurl",
            "storage.filesystem.maxthreads",
        ]


@pytest.mark.parametrize(
    ("called", "arguments", "printed"),
    [
        ("/usr/bin/registry", ["--version"], f"registry lading {__version__}\n"),
        ("lading", ["-v"], f"lading {__version__}\n"),
        ("lading", ["help"], "usage: lading [-h]"),
        ("registry", [], "usage: registry [-h]"),
        ("lading", ["help", "serve"], "usage: lading serve [-h]"),
    ],
)
def test_help_and_version(called, arguments, printed, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [called])
    with contextlib.suppress(SystemExit):
        assert main(arguments) == 0
    assert capsys.readouterr().out.startswith(printed)


class TestCompletion:
    @pytest.mark.parametrize("shell", SHELLS)
    def test_every_shell_is_told_the_commands(self, shell: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["completion", shell]) == 0
        told = capsys.readouterr().out
        assert all(command in told for command in ("serve", "config", "token-server"))

    @pytest.mark.parametrize("line", ["serve", "migrate check", "auth robot list --config", "push"])
    def test_bash_completes_files(self, tmp_path: Path, line: str) -> None:
        (tmp_path / "registry.yml").touch()
        words = ["lading", *line.split(), "regi"]
        asked = (
            f"{Path(sys.executable).with_name('lading')} completion bash > told; . ./told;"
            f" COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; _shtab_lading lading regi {words[-2]};"
            ' echo "${COMPREPLY[@]}"'
        )
        command = ["bash", "-c", asked]
        answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=30)
        assert answer.stdout.split() == ["registry.yml"]

    def test_bash_completes(self, tmp_path: Path) -> None:
        script = tmp_path / "lading"
        lading = Path(sys.executable).with_name("lading")
        with script.open("wb") as file:
            subprocess.run([lading, "completion", "bash"], stdout=file, check=True, timeout=30)
        asked = f'source {script}; COMP_WORDS=(lading con); COMP_CWORD=1; _shtab_lading; echo "${{COMPREPLY[@]}}"'
        answer = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True, timeout=30)
        assert answer.stdout.split() == ["config"]
