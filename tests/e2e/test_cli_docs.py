"""docs/configuration.md and docs/cli.md hold what the program itself says; help, man pages and
completion work. EIDER_UPDATE_DOCS=1 renews the documents."""
import os
import re
import subprocess

import pytest

from eider import BIN, ROOT, run

COMMANDS = ["serve", "sql", "import", "export", "eventlog", "spend", "migrate", "seal", "retention", "backup", "restore", "optimize", "check", "config", "version", "help", "completion", "man"]


@pytest.mark.parametrize("document, command", [("configuration.md", ["config", "--markdown"]),
                                               ("cli.md", ["help", "--markdown"])])
def test_document_holds_the_reference(document, command):
    path = os.path.join(ROOT, "docs", document)
    text = open(path).read()
    said = run(*command).stdout
    head, old, tail = re.fullmatch(r"(.*<!-- generated [^\n]*-->\n)(.*)(<!-- end -->\n)", text, re.S).groups()
    if os.environ.get("EIDER_UPDATE_DOCS"):
        open(path, "w").write(f"{head}\n{said}\n{tail}")
        old = f"\n{said}\n"
    assert old.strip() == said.strip()


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_man_page_has_no_warnings(command, tmp_path):
    page = run("man", *([command] if command else []))
    assert page.returncode == 0
    done = subprocess.run(["groff", "-man", "-ww", "-Tutf8"], input=page.stdout, text=True, capture_output=True, timeout=60)
    assert done.returncode == 0 and done.stderr == ""
    assert "EXIT STATUS" in re.sub("\x1b\\[[0-9]*m|.\b", "", done.stdout)


def complete(*words):
    """What bash offers for the last word."""
    script = run("completion", "bash").stdout + '\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _eider; printf "%s\\n" "${COMPREPLY[@]}"\n'
    done = subprocess.run(["bash", "-c", script, "bash", *words], text=True, capture_output=True, timeout=60)
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_completes_commands_options_and_values(tmp_path):
    assert complete("eider", "ex") == ["export"]
    assert set(COMMANDS) <= set(complete("eider", ""))
    assert complete("eider", "sql", "--form") == ["--format"]
    assert complete("eider", "sql", "--format", "c") == ["csv"]
    assert complete("eider", "completion", "") == ["bash", "zsh", "fish"]
    assert complete("eider", "serve", "--log-level", "w") == ["warning"]
    assert complete("eider", "help", "imp") == ["import"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command):
    asked = run(command, "--help")
    assert asked.returncode == 0 and asked.stdout.startswith(f"Usage: eider {command} ")
    assert run("help", command).stdout == asked.stdout
    # Wrong words beside it do not matter.
    assert run(command, "--help", "--nonsense").returncode in (0, 2)


def test_no_command_is_wrong_usage():
    done = run()
    assert done.returncode == 2 and done.stderr == "eider: no command; see `eider --help`\n"


def test_a_closed_pipe_is_no_crash():
    done = subprocess.run(f"{BIN} help --markdown | head -n 1", shell=True, text=True, capture_output=True, timeout=60)
    assert done.stdout.startswith("## eider serve")
    done = subprocess.run(f"{BIN} version > /dev/full", shell=True, text=True, capture_output=True, timeout=60)
    assert done.returncode == 1 and "No space left on device" in done.stderr


def test_code_in_the_reference_of_the_library_is_as_it_is_typed():
    with open(os.path.join(ROOT, "docs", "libeider.md"), encoding="utf-8") as file:
        text = re.sub(r"```.*?```", "", file.read(), flags=re.S)
    spans = re.findall(r"`([^`\n]+)`", text)
    assert "= {0}" in spans
    assert not [span for span in spans if re.search(r"\\[{*]|&lt;", span)]
