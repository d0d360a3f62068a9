"""npm's oidc-provider, for the page on OpenID."""

from __future__ import annotations

from tests.support.providers import Provider


class OpenIDProvider(Provider):
    name = "oidc-provider"
    packages = ("oidc-provider@9.13.3",)
    script = "openid.cjs"

    def settings(self) -> dict[str, str]:
        return {"PROVIDER": self.address, "CLIENT_ID": "shop", "CLIENT_SECRET": "theirs"}
