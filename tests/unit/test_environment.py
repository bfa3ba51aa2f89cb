"""Where and from what code a program runs, read without starting another."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_bridge import environment
from otel_bridge.environment import definition_key, program_name, run_metadata


@pytest.fixture(autouse=True)
def _read_anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("GITHUB_SHA", "CI_COMMIT_SHA", "GIT_COMMIT", "GITHUB_EVENT_NAME", "CI_PIPELINE_SOURCE", "ENVIRONMENT", "APP_ENV"):
        monkeypatch.delenv(name, raising=False)
    run_metadata.cache_clear()
    yield
    run_metadata.cache_clear()


def git(folder: Path, *words: str) -> str:
    """Run git as somebody."""
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main")
    done = subprocess.run(["git", *identity, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a working tree with one commit."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "first")
    return folder


# R167
def test_the_revision_is_that_of_the_tree_the_program_lies_in(repository: Path) -> None:
    inside = repository / "a" / "b"
    inside.mkdir(parents=True)
    head = git(repository, "rev-parse", "HEAD")

    on_branch = environment.revision_of(inside)
    git(repository, "pack-refs", "--all")
    packed = environment.revision_of(inside)
    git(repository, "checkout", "--quiet", "--detach")

    assert [head] * 3 == [on_branch, packed, environment.revision_of(inside)]


def test_a_linked_worktree_has_the_revision_of_its_own(repository: Path) -> None:
    git(repository, "worktree", "add", "--quiet", "../other")
    git(repository.parent / "other", "commit", "--quiet", "--allow-empty", "--message", "second")

    assert git(repository.parent / "other", "rev-parse", "HEAD") == environment.revision_of(repository.parent / "other")


@pytest.mark.parametrize("head", ["ref: refs/heads/none", "", "\udcff", "ref: ../../../etc/passwd"])
def test_a_tree_git_itself_would_not_understand_has_none(tmp_path: Path, head: str) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text(head, encoding="utf-8", errors="surrogateescape")

    assert "" == environment.revision_of(tmp_path)


# R167
def test_what_a_build_system_says_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_SHA", "abc")
    monkeypatch.setenv("GITHUB_EVENT_NAME", "push")
    monkeypatch.setenv("FLOWSPAN_ENVIRONMENT", "prod")

    known = run_metadata()

    assert ("abc", "push", "prod") == tuple(known[key] for key in ("vcs.ref.head.revision", "trigger", "deployment.environment.name"))
    assert all(known.values())


# R167
def test_a_key_names_the_module_a_function_is_defined_in() -> None:
    def here() -> None: ...

    of_main = type("Defined", (), {"__module__": "__main__"})

    assert f"{__name__}:etl" == definition_key(here, "etl")
    assert f"{program_name()}:etl" == definition_key(of_main, "etl")
    assert "etl" == definition_key(None, "etl")
