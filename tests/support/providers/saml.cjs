// node saml.cjs NODE_MODULES PORT SHOP FOLDER: Auth0's samlp as a SAML provider on http://localhost:PORT, for the site at
// SHOP. Ann is always logged in there. FOLDER has key.pem and certificate.pem.

const fs = require("node:fs");
const { createRequire } = require("node:module");

const [modules, port, shop, folder] = process.argv.slice(2);
const load = createRequire(`${modules}/`);
const express = load("express");
const samlp = load("samlp");

const address = `http://localhost:${port}`;
const ann = { id: "ann", displayName: "Ann", name: { givenName: "Ann", familyName: "Lee" }, emails: [{ value: "ann@example.com" }] };
const options = {
  issuer: address,
  key: fs.readFileSync(`${folder}/key.pem`, "utf8"),
  cert: fs.readFileSync(`${folder}/certificate.pem`, "utf8"),
  signatureAlgorithm: "rsa-sha256",
  digestAlgorithm: "sha256",
};
const participants = [];
let logins = 0;

const app = express();
app.use(express.urlencoded({ extended: false }));
app.use((request, response, next) => {
  request.session = app.locals; // where the logout keeps its state
  next();
});
app.get("/login", (request, response, next) => {
  const sessionIndex = `_login-${++logins}`;
  participants.push({
    serviceProviderId: shop,
    serviceProviderLogoutURL: `${shop}/saml/logout`,
    nameId: "ann",
    sessionIndex,
  });
  samlp.auth({
    ...options,
    sessionIndex,
    destination: `${shop}/saml/answer`,
    recipient: `${shop}/saml/answer`,
    getUserFromRequest: () => ann,
    getPostURL: (audience, dom, request, done) => done(null, `${shop}/saml/answer`),
  })(request, response, next);
});
// Ends the first login that is left.
app.get("/logout", (request, response, next) => {
  samlp.logout({
    ...options,
    deflate: true,
    protocolBinding: "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect",
    sessionParticipants: new (load("samlp/lib/sessionParticipants"))(participants),
  })(request, response, next);
});
app.listen(Number(port), "127.0.0.1");
