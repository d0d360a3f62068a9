"""Auth0's samlp from npm, for the page on SAML."""

from __future__ import annotations

import pytest
import trustme

from tests.support.providers import Provider


class SAMLProvider(Provider):
    name = "samlp"
    packages = ("samlp@8.0.0", "express@4.22.1")
    script = "saml.cjs"
    page = "saml"

    def __init__(self, cache: pytest.Cache) -> None:
        super().__init__(cache)
        signing = trustme.CA().issue_cert("localhost", key_type=trustme.KeyType.RSA)
        self.certificate = signing.cert_chain_pems[0].bytes().decode()
        signing.cert_chain_pems[0].write_to_path(self.folder / "certificate.pem")
        signing.private_key_pem.write_to_path(self.folder / "key.pem")

    def settings(self) -> dict[str, str]:
        return {
            "PROVIDER": self.address,
            "PROVIDER_LOGIN": f"{self.address}/login",
            "PROVIDER_LOGOUT": f"{self.address}/logout",
            "PROVIDER_CERTIFICATE": self.certificate,
        }
