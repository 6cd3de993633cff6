"""No proxy gets a token for this machine or in clear, and what cannot work is said before anything is sent."""

from __future__ import annotations

import socket
from pathlib import Path

import certifi
import pytest

from qpu_sdk.devices.cloud.route import Route, is_this_machine
from qpu_sdk.errors import ConfigError

PROXY = "http://proxy.test:3128"
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
LOCAL = [
    "http://127.0.0.1:8080",
    "https://127.0.0.1:8080",
    "http://localhost",
    "https://LOCALHOST:1",
    "https://localhost.",
    "https://a.localhost",
    "http://[::1]:8080",
    "https://[::1]",
    "https://[::ffff:127.0.0.1]",
    "https://127.0.0.2",
    "https://127.1",
    "https://0.0.0.0",
    f"https://{socket.gethostname()}",
]


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize("url", LOCAL)
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "config"])
def test_this_machine_is_never_reached_through_a_proxy(
    url: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured = {"http": PROXY, "https": PROXY, "all": PROXY, url: PROXY} if variable == "config" else {}
    if variable != "config":
        monkeypatch.setenv(variable, PROXY)
    assert Route.to(url, configured).proxies == {}


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "config"])
@pytest.mark.parametrize("written", [PROXY, "proxy.test:3128"])
def test_elsewhere_a_proxy_is_used_where_the_token_is_encrypted(
    variable: str, written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable != "config":
        monkeypatch.setenv(variable, written)
    configured = {"https": written} if variable == "config" else {}
    assert Route.to("https://cloud.test/api", configured).proxies == {"https": PROXY}
    assert Route.to("http://cloud.test/api", configured).proxies == {}
    monkeypatch.setenv("NO_PROXY", "cloud.test")
    assert Route.to("https://cloud.test/api", {}).proxies == {}


@pytest.mark.parametrize(
    "proxy", ["ftp://a:1", "http://", "http://a:port", "http://a:99999", "http://[::1", "http://a b", "a\nb", "://x", 3]
)
def test_a_proxy_that_is_none_is_said_at_once(proxy: object, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="HTTPS_PROXY"):
        Route.to("https://cloud.test", {"https": proxy})  # type: ignore[dict-item]
    if isinstance(proxy, str):
        monkeypatch.setenv("ALL_PROXY", proxy)
        with pytest.raises(ConfigError, match="HTTPS_PROXY"):
            Route.to("https://cloud.test", {})


@pytest.mark.parametrize("scheme", ["socks4", "socks5", "socks5h"])
def test_socks_without_its_package_says_what_to_install(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://user:hush@proxy.test:1")
    monkeypatch.setattr("qpu_sdk.devices.cloud.route.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"PySocks.*requests\[socks\]") as caught:
        Route.to("https://cloud.test", {})
    assert "hush" not in str(caught.value)
    assert Route.to("https://127.0.0.1:1", {}).proxies == {}


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_certificates_of_the_environment_are_looked_at_first(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text.pem").write_text("no certificate\n")
    for place, why in ((tmp_path / "gone\n.pem", "is not there"), (tmp_path / "text.pem", "holds no certificates")):
        monkeypatch.setenv(variable, str(place))
        with pytest.raises(ConfigError, match=f"{variable} names .*{why}") as caught:
            Route.to("https://127.0.0.1:1", {})
        assert str(caught.value).isprintable()
        assert Route.to("http://127.0.0.1:1", {}).verify is True  # nothing is encrypted, nothing to check
    for place in (tmp_path, Path(certifi.where())):
        monkeypatch.setenv(variable, str(place))
        assert Route.to("https://cloud.test", {}).verify == str(place)


@pytest.mark.parametrize("host", ["127.0.0.1.cloud.test", "localhost.cloud.test", "128.0.0.1", "::2", "", None, "é"])
def test_other_hosts_are_elsewhere(host: str | None) -> None:
    assert not is_this_machine(host)
