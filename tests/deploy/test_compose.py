"""The compose files and workflows: valid by their schemas, and what they refer to is there."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridges.config import read_config
from bridges.rabbitmq.bridges import check
from bridges.rabbitmq.messages import server_of
from conftest import ROOT, needs
from messaging.runtime.process import deployed_settings
from messaging.settings.settings import Settings

COMPOSE = ROOT / "docker-compose.yml"
TLS = ROOT / "deploy" / "tls.yml"
ENV = ROOT / ".env.example"
RENOVATE = ROOT / ".github" / "renovate.json"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
DIGEST = r"(@sha256:[0-9a-f]{64})?"
DOORS = {
    "ws1": "Dockerfile.ws",
    "ws2": "Dockerfile.ws",
    "api": "Dockerfile.api",
    "bridges": "Dockerfile.bridges",
}
SECRETS = {"JWT_SECRET", "API_KEY", "POSTGRES_PASSWORD"}
VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


def read(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text()))


def services() -> dict[str, Any]:
    return dict(read(COMPOSE)["services"])


def interpolate(text: str, environ: dict[str, str]) -> str:
    """As Compose does it; ${X:?} without a value raises KeyError."""

    def value(match: re.Match[str]) -> str:
        name, kind, other = match.groups()
        if environ.get(name):
            return environ[name]
        if kind == "-":
            return str(other)
        raise KeyError(name)

    return VARIABLE.sub(value, text)


def environment(service: str, **environ: str) -> dict[str, str]:
    given = services()[service]["environment"]
    return {name: interpolate(str(text), environ) for name, text in given.items()}


# --- by their schemas --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "paths"),
    [
        ("vendor.compose-spec", [COMPOSE, TLS]),
        ("vendor.renovate", [RENOVATE]),
        ("vendor.github-workflows", WORKFLOWS),
        ("custom.github-workflows-require-timeout", WORKFLOWS),
    ],
)
def test_they_are_valid(schema: str, paths: list[Path]) -> None:
    command = [needs("check-jsonschema"), "--builtin-schema", schema, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# --- what they refer to ------------------------------------------------------------------------------


def test_who_is_waited_for_is_there_and_says_when_it_is_healthy() -> None:
    for name, service in services().items():
        for other, wanted in service.get("depends_on", {}).items():
            assert wanted == {"condition": "service_healthy"}, name
            known = services()[other]
            assert "healthcheck" in known or "HEALTHCHECK" in (ROOT / known["build"]["dockerfile"]).read_text()
            assert "profiles" not in known or known["profiles"] == service.get("profiles"), f"{other} may not run"


def test_only_the_brokers_are_optional() -> None:
    assert {name: service["profiles"] for name, service in services().items() if "profiles" in service} == {
        "nats": ["nats"],
        "rabbitmq": ["rabbitmq"],
    }


def test_volumes_are_declared_and_files_exist() -> None:
    declared = set(read(COMPOSE)["volumes"])
    named: set[str] = set()
    for service in services().values():
        for source in (volume.partition(":")[0] for volume in service.get("volumes", [])):
            if source.startswith("."):
                assert (ROOT / source).is_file()
            else:
                named.add(source)
    assert named == declared


def test_the_doors_are_built_here_and_everything_else_is_pinned() -> None:
    for name, service in services().items():
        if name in DOORS:
            assert service["build"] == {"context": ".", "dockerfile": DOORS[name]}
        else:
            assert re.search(rf":\d+(\.\d+)*(-alpine)?{DIGEST}$", service["image"]), name
    version = services()["nats"]["image"].partition(":")[2].partition("-")[0]
    assert tuple(map(int, version.split("."))) >= (2, 12, 5)  # older ones can be crashed before a login


def test_nothing_but_the_proxy_is_published_and_that_on_loopback() -> None:
    assert [name for name, service in services().items() if "ports" in service] == ["proxy"]
    for port in services()["proxy"]["ports"]:
        assert interpolate(port, {}).startswith("127.0.0.1:")


def test_who_is_believed_and_who_needs_no_key_are_in_networks_of_their_own() -> None:
    networks = {name: each["ipam"]["config"][0]["subnet"] for name, each in read(COMPOSE)["networks"].items()}
    assert [name for name, service in services().items() if "legacy" in service.get("networks", [])] == ["api"]
    settings = deployed_settings(environment("api", **given(LEGACY_NETS=networks["legacy"])))
    assert [str(net) for net in settings.trusted_proxies] == [networks["default"]]
    assert [str(net) for net in settings.legacy_nets] == [networks["legacy"]]
    assert deployed_settings(environment("api", **given())).legacy_nets == ()


def test_every_service_stays_up_and_the_doors_may_hold_many_sessions() -> None:
    for name, service in services().items():
        assert service["restart"] == "unless-stopped", name
    for name in DOORS:
        service = services()[name]
        assert service["init"] is True and service["read_only"] is True
        assert service["ulimits"]["nofile"]["soft"] >= 65536 and "stop_grace_period" in service


def test_actions_have_a_version_or_a_commit_and_a_bot_pins_them_and_the_images() -> None:
    uses = re.findall(r"uses: (.*)", "".join(path.read_text() for path in WORKFLOWS))
    assert uses
    for each in uses:
        assert re.fullmatch(r"[\w/-]+@(v\d+|[0-9a-f]{40} # v[\d.]+)", each), each
    bot = json.loads(RENOVATE.read_text())
    assert {"docker:pinDigests", "helpers:pinGitHubActionDigests"} <= set(bot["extends"])
    assert {"github-actions", "dockerfile", "docker-compose"} == set(bot["enabledManagers"])


# --- settings ----------------------------------------------------------------------------------------


def given(**more: str) -> dict[str, str]:
    return {"JWT_SECRET": "s" * 64, "API_KEY": "k" * 64, "POSTGRES_PASSWORD": "p" * 64, **more}


@pytest.mark.parametrize("service", sorted(DOORS))
def test_the_doors_take_the_settings_that_they_are_given(service: str) -> None:
    environ = environment(service, **given())
    assert set(environ) <= {item.metadata["name"] for item in fields(Settings)}
    settings = deployed_settings(environ)
    assert settings.auth_mode == "key" and settings.database_url.endswith("@postgres:5432/recado")
    assert settings.trusted_proxies
    defaults = Settings()
    rates = "rate_limit", "rate_bytes", "rate_strangers", "invites"
    owned = "max_topics_per_user", "max_memberships_per_user", "max_invitations_per_user", "max_connections_per_user"
    for name in ("max_frame", *rates, *owned, "workers", "inbox_ttl", "retention"):
        assert getattr(settings, name) == getattr(defaults, name), "a default stands in two places: keep them the same"
    nats = environment(service, **given(BUS_URL="nats://nats:4222"))
    assert deployed_settings(nats).bus_url == "nats://nats:4222" and "nats" in services()


def test_the_bridges_are_given_what_the_example_says_of_other_systems() -> None:
    text = ENV.read_text()
    brokers = {
        "NATS_URL": re.search(r"nats://nats:\d+", text),
        "RABBITMQ_URL": re.search(r"amqp://\S+@rabbitmq\b", text),
        "BRIDGES_FILE": re.search(r"/etc/recado/bridges.toml", text),
    }
    said = {name: match[0] for name, match in brokers.items() if match}
    settings = deployed_settings(environment("bridges", **given(**said)))
    assert settings.nats_url == "nats://nats:4222" and {"nats", "rabbitmq"} <= set(services())
    assert server_of(settings.rabbitmq_url) == ("rabbitmq", 5672, "/")
    [mounted] = services()["bridges"]["volumes"]
    assert mounted == f"./deploy/bridges.toml:{settings.bridges_file}:ro"
    assert deployed_settings(environment("bridges", **given())).bridges_file is None


def test_the_bridges_example_is_right_as_soon_as_its_marks_are_gone(tmp_path: Path) -> None:
    text = (ROOT / "deploy" / "bridges.toml").read_text()
    path = tmp_path / "bridges.toml"
    for given_text, bridges in ((text, 0), (re.sub(r"^#   ", "", text, flags=re.MULTILINE), 2)):
        path.write_text(given_text)
        config = read_config(Settings(bridges_file=path, rabbitmq_url="amqp://rabbitmq"))
        check(config.rabbitmq, "amqp://rabbitmq")
        assert len(list(config.named())) == bridges


@pytest.mark.parametrize("missing", sorted(SECRETS))
def test_no_secret_has_a_default(missing: str) -> None:
    environ = given()
    del environ[missing]
    with pytest.raises(KeyError, match=missing):
        for service in (*DOORS, "postgres"):
            environment(service, **environ)


def test_the_example_names_every_variable_and_gives_no_secret() -> None:
    lines = [line for line in ENV.read_text().splitlines() if re.match(r"#?[A-Z_]+=", line)]
    shown = dict(line.lstrip("#").split("=", 1) for line in lines)
    used = {match[1]: match for path in (COMPOSE, TLS) for match in VARIABLE.finditer(path.read_text())}
    assert set(shown) == set(used)
    assert {name: shown[name] for name in SECRETS} == dict.fromkeys(SECRETS, "")
    defaults = {match[1]: match[3] or "" for match in VARIABLE.finditer(COMPOSE.read_text()) if match[2] == "-"}
    assert {name: shown[name] for name in defaults} == defaults


def test_the_proxy_is_told_of_sites_and_doors_that_exist() -> None:
    text = (ROOT / "deploy" / "Caddyfile").read_text()
    ports = {"ws1": 5000, "ws2": 5000, "api": 5001}
    upstreams = re.findall(r"\{\$\w+_UPSTREAMS:([^}]+)\}", text)
    assert sorted(" ".join(upstreams).split()) == sorted(f"{name}:{port}" for name, port in ports.items())
    sites = set(re.findall(r"\{\$(\w+_SITE):", text))
    assert sites == set(services()["proxy"]["environment"]) == set(read(TLS)["services"]["proxy"]["environment"])
