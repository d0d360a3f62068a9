// node openid.cjs NODE_MODULES PORT SHOP FOLDER: npm's oidc-provider on http://localhost:PORT, for the site at SHOP. Its login form
// takes any name, and the visitor agrees to everything. It is an ES module, which finds no packages by NODE_PATH.

const [modules, port, shop] = process.argv.slice(2);

import(`${modules}/oidc-provider/lib/index.js`).then(({ default: Provider }) => {
  const provider = new Provider(`http://localhost:${port}`, {
    clients: [{
      client_id: "shop",
      client_secret: "theirs",
      redirect_uris: [`${shop}/callback`],
      post_logout_redirect_uris: [`${shop}/login`],
      backchannel_logout_uri: `${shop}/backchannel-logout`,
      backchannel_logout_session_required: true,
    }],
    cookies: { keys: ["signs the cookies of this run"] },
    claims: { openid: ["sub"], email: ["email"], profile: ["name"] },
    features: { backchannelLogout: { enabled: true } },
    findAccount: (context, id) => ({ accountId: id, claims: () => ({ sub: id, name: id, email: `${id}@example.com` }) }),
    loadExistingGrant: async ({ oidc }) => {
      const grant = new oidc.provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
      grant.addOIDCScope("openid email profile");
      await grant.save();
      return grant;
    },
  });
  for (const event of ["server_error", "backchannel.error"]) provider.on(event, (_, error) => console.error(error));
  provider.listen(Number(port), "127.0.0.1");
});
