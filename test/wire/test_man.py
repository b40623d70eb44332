"""Manual pages and completions: everything that the programs take stands there, and nothing is malformed."""
import os
import re
import shutil
import subprocess

import pytest

from shield_process import ROOT, SHIELD

DIR = os.path.dirname(SHIELD)
PAGES = {"shield": "shield.8", "shieldctl": "shieldctl.1", "shield-bench": "shield-bench.1"}


def output(*args, **kw):
    done = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, cwd=ROOT, **kw)
    return done.stdout.decode(), done.stderr.decode()


def help_of(program, *args):
    return output(os.path.join(DIR, program), *args, "--help")[0]


def page(program):
    text, err = output("sh", "deploy/man/page", DIR, f"deploy/man/{PAGES[program]}.in")
    assert err == "" and text.startswith(".TH ")
    return text


def plain(text):
    return text.replace("\\-", "-").replace("\\e", "\\").replace("\\&", "")


def commands(program):
    return re.findall(r"^  ([a-z]+)(?: [A-Z.]+)* {2,}[A-Za-z]", help_of(program), re.M)


def flags(text):
    return set(re.findall(r"^ {1,6}(?:-\w, )?(--[a-z0-9-]+)", text, re.M))


def test_every_directive_stands_in_its_page():
    names = re.findall(r"^([a-zA-Z_.]+)  .*(?:live|restart)  ", help_of("shield"), re.M)
    assert len(names) > 100
    text = plain(page("shield"))
    assert [name for name in names if f'.B "{name}"\n' not in text] == []
    dumped = output(SHIELD, "--origin", "http://127.0.0.1:1", "-T")[0]
    tops = re.findall(r"^([a-z_]+):", dumped, re.M)
    assert [top for top in tops if not re.search(rf'^\.B "{top}["._]', text, re.M) and top not in ("origins", "routes")] == []


@pytest.mark.parametrize("program", PAGES)
def test_every_flag_and_command_stands_in_its_page(program):
    text = plain(page(program))
    wanted = flags(help_of(program))
    if program != "shield":
        assert len(commands(program)) >= 6
        for command in commands(program):
            assert re.search(rf"^\.SS {command}\b", text, re.M), command
            wanted |= flags(help_of(program, command))
    assert [flag for flag in wanted if flag not in text] == []
    assert "\n\n" not in text and ".\\\" HELP" not in text


@pytest.mark.parametrize("program", PAGES)
def test_pages_are_well_formed(program, tmp_path):
    path = tmp_path / PAGES[program]
    path.write_text(page(program))
    checks = {"groff": ["-man", "-Tutf8", "-ww", "-z"], "mandoc": ["-T", "lint", "-W", "warning"]}
    found = [name for name in checks if shutil.which(name)]
    if not found:
        pytest.skip("neither groff nor mandoc is there")
    for name in found:
        assert output(name, *checks[name], str(path)) == ("", "")


def complete(*words):
    """What bash offers for the last word."""
    program = os.path.join(DIR, words[0])
    script = """source deploy/completion/shieldctl.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
                _shield_complete "$1" "${@: -1}" "${COMP_WORDS[COMP_CWORD - 1]}"; printf '%s\\n' "${COMPREPLY[@]}" """
    out, err = output("bash", "-c", script, "bash", program, *words[1:])
    assert err == ""
    return out.split()


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not there")
def test_completion():
    for program in ("shieldctl", "shield-bench"):
        assert complete(program, "") == commands(program)
        for command in commands(program):
            assert set(complete(program, command, "--")) == flags(help_of(program, command))
    assert complete("shieldctl", "pu") == ["purge"]
    assert complete("shieldctl", "--json", "deploy", "--purge-t") == ["--purge-tag"]
    assert set(complete("shield", "--")) == flags(help_of("shield"))
    assert complete("shield", "--set", "warm.max_u") == ["warm.max_urls="]
    assert "deploy/man" in complete("shieldctl", "deploy", "--warm", "deploy/m")


def test_zsh_completion_parses():
    if not shutil.which("zsh"):
        pytest.skip("zsh is not there")
    assert output("zsh", "-n", "deploy/completion/_shieldctl") == ("", "")


def test_they_are_installed(tmp_path):
    if os.path.basename(DIR) != "build":
        pytest.skip("only what is released is installed")
    _, err = output("make", "install", f"DESTDIR={tmp_path}", "PREFIX=/usr")
    for path in ("share/man/man8/shield.8", "share/man/man1/shieldctl.1", "share/man/man1/shield-bench.1",
                 "share/bash-completion/completions/shieldctl", "share/bash-completion/completions/shield",
                 "share/zsh/site-functions/_shieldctl", "bin/shieldctl"):
        assert os.path.getsize(tmp_path / "usr" / path) > 0, err
