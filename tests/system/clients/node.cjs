// node node.cjs FILE: a line of JSON in is a request, {"url": …, "fields": … or null}; a line out is the page that it
// leads to, {"status": …, "text": …}. At the end of the input, the cookies that have a date are kept in FILE.

const fs = require("node:fs");
const readline = require("node:readline");
const { Cookie, CookieJar } = require("tough-cookie");

const file = process.argv[2];
const kept = fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, "utf8")) : null;
// Strict: an invalid __Host- or __Secure- cookie throws, instead of being dropped.
const jar = kept ? CookieJar.fromJSON(kept) : new CookieJar(null, { prefixSecurity: "strict" });

async function page(url, fields) {
  const cookie = await jar.getCookieString(url);
  const response = await fetch(url, {
    method: fields ? "POST" : "GET",
    body: fields && new URLSearchParams(fields),
    headers: cookie ? { cookie } : {},
    redirect: "manual", // or fetch would follow without the cookies that the redirect sets
  });
  for (const line of response.headers.getSetCookie()) await jar.setCookie(line, url);
  const location = response.headers.get("location");
  return location ? page(new URL(location, url).href, null) : { status: response.status, text: await response.text() };
}

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { url, fields } = JSON.parse(line);
    console.log(JSON.stringify(await page(url, fields)));
  }
  const all = jar.toJSON();
  all.cookies = all.cookies.filter((cookie) => Cookie.fromJSON(cookie).isPersistent());
  fs.writeFileSync(file, JSON.stringify(all));
})();
