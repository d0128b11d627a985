// Cuts the schemas that the answers of the fake GitHub are checked against out of
// GitHub's OpenAPI description, as the npm package @octokit/openapi ships it:
//
//	cd "$(mktemp -d)" && npm pack @octokit/openapi@23.0.2 && tar xzf *.tgz
//	node …/testdata/extract.mjs package > …/testdata/openapi.json
import { readFileSync } from "node:fs";
import { join } from "node:path";

const dir = process.argv[2];
const pkg = JSON.parse(readFileSync(join(dir, "package.json")));
const api = JSON.parse(readFileSync(join(dir, "generated/api.github.com.json")));

// The operations that the fake GitHub answers, with the statuses it gives.
const wanted = [
  ["get", "/repos/{owner}/{repo}", [200, 404]],
  ["get", "/repos/{owner}/{repo}/releases", [200, 404]],
  ["post", "/repos/{owner}/{repo}/releases", [201, 404, 422]],
  ["get", "/repos/{owner}/{repo}/releases/latest", [200, 404]],
  ["get", "/repos/{owner}/{repo}/releases/tags/{tag}", [200, 404]],
  ["get", "/repos/{owner}/{repo}/releases/{release_id}", [200]],
  ["patch", "/repos/{owner}/{repo}/releases/{release_id}", [200, 404]],
  ["delete", "/repos/{owner}/{repo}/releases/{release_id}", [204]],
  ["get", "/repos/{owner}/{repo}/releases/{release_id}/assets", [200]],
  ["post", "/repos/{owner}/{repo}/releases/{release_id}/assets", [201]],
  ["get", "/repos/{owner}/{repo}/releases/assets/{asset_id}", [200, 404]],
  ["patch", "/repos/{owner}/{repo}/releases/assets/{asset_id}", [200]],
  ["delete", "/repos/{owner}/{repo}/releases/assets/{asset_id}", [204]],
  ["get", "/repos/{owner}/{repo}/git/ref/{ref}", [200, 404]],
  ["post", "/repos/{owner}/{repo}/git/refs", [201, 422]],
  ["get", "/repos/{owner}/{repo}/git/tags/{tag_sha}", [200, 404]],
  ["get", "/repos/{owner}/{repo}/git/commits/{commit_sha}", [200, 404]],
  ["post", "/repos/{owner}/{repo}/dispatches", [204, 422]],
  ["get", "/repos/{owner}/{repo}/attestations/{subject_digest}", [200]],
  ["get", "/user", [200, 401, 403]],
  ["get", "/rate_limit", [200]],
  ["get", "/installation/repositories", [200, 403]],
];

const defs = {};
const todo = [];

// What says nothing about validity. A property of such a name is safe: those
// are converted one level up.
const dropped = ["description", "example", "examples", "title", "nullable", "deprecated", "externalDocs", "default"];

// OpenAPI 3.0 to JSON Schema: nullable, and where the definitions are.
function convert(x) {
  if (Array.isArray(x)) return x.map(convert);
  if (x === null || typeof x !== "object") return x;
  if (x.$ref) {
    const name = x.$ref.split("/").pop();
    if (!(name in defs)) {
      defs[name] = null;
      todo.push(name);
    }
    return { $ref: "#/$defs/" + name };
  }
  const out = {};
  for (const [k, v] of Object.entries(x)) {
    if (dropped.includes(k)) continue;
    if (k === "properties") {
      out.properties = Object.fromEntries(Object.entries(v).map(([name, s]) => [name, convert(s)]));
      continue;
    }
    if (k.startsWith("x-")) continue;
    out[k] = convert(v);
  }
  if (x.nullable) {
    if (out.type) {
      out.type = [].concat(out.type, "null");
      if (out.enum) out.enum = out.enum.concat([null]);
    } else {
      return { anyOf: [out, { type: "null" }] };
    }
  }
  return out;
}

const operations = {};
for (const [method, path, statuses] of wanted) {
  const responses = api.paths[path][method].responses;
  const out = {};
  for (const s of statuses) {
    let r = responses[s];
    if (r?.$ref) r = api.components.responses[r.$ref.split("/").pop()];
    if (!r) throw new Error(`${method} ${path} has no ${s}`);
    const schema = r.content?.["application/json"]?.schema;
    out[s] = schema ? convert(schema) : null;
  }
  operations[`${method.toUpperCase()} ${path}`] = out;
}
while (todo.length > 0) {
  const name = todo.pop();
  defs[name] = convert(api.components.schemas[name]);
}
const sorted = Object.fromEntries(Object.keys(defs).sort().map((k) => [k, defs[k]]));
console.log(JSON.stringify({
  $comment: `Extracted by extract.mjs from ${pkg.name} ${pkg.version}, GitHub's OpenAPI description. Its licence is in openapi.LICENSE.`,
  operations, $defs: sorted,
}, null, 1));
