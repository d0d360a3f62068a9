"""npm's oidc-provider, for the page on OpenID."""

from __future__ import annotations

from tests.support.providers import Provider


class OpenIDProvider(Provider):
    name = "oidc-provider"
    # The newest that runs on Debian's Node 18. (Version 9 needs an option to call a site on the loopback address.)
    packages = ("oidc-provider@8.8.1",)
    script = "openid.cjs"
    page = "openid"

    def settings(self) -> dict[str, str]:
        return {"PROVIDER": self.address, "CLIENT_ID": "shop", "CLIENT_SECRET": "theirs"}
