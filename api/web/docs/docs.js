// Draws the description of the API.

import { $, el } from "../shared/dom.js";

const METHODS = ["get", "post", "put", "delete"];
const base = new URL(".", location.href).href.replace(/\/$/, "");

function resolve(api, schema) {
  const name = schema?.$ref?.split("/").pop();
  return name ? api.components.schemas[name] : schema;
}

// A schema in a line: "text", "number", "list of …".
function kind(schema) {
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map((each) => kind(each)).join(" or ");
  if (schema.enum) return schema.enum.map((each) => JSON.stringify(each)).join(" or ");
  if (schema.type === "array") return `list of ${schema.items ? kind(schema.items) : "any JSON"}`;
  return { string: "text", integer: "number", boolean: "true or false" }[schema.type] ?? schema.type ?? "any JSON";
}

function limits(schema) {
  const said = [];
  if (schema.minimum !== undefined && schema.maximum !== undefined) said.push(`${schema.minimum} … ${schema.maximum}`);
  if (schema.maxLength !== undefined) said.push(`at most ${schema.maxLength} characters`);
  if (schema.maxItems !== undefined) said.push(`at most ${schema.maxItems}`);
  if (schema.default !== undefined && schema.default !== null) said.push(`default ${JSON.stringify(schema.default)}`);
  if (schema.description) said.push(schema.description);
  return said.join(", ");
}

function row(api, name, schema, required, where = "") {
  const whole = resolve(api, schema);
  const notes = [where, required ? "required" : "", limits(whole)].filter(Boolean).join(", ");
  return el("tr", {},
    el("td", {}, el("code", { textContent: name })),
    el("td", {}, kind(schema), " ", el("span", { className: "faint", textContent: notes })));
}

function fields(api, schema) {
  const whole = resolve(api, schema);
  if (whole.type === "array") return [el("p", { textContent: kind(whole) }), ...fields(api, whole.items ?? {})];
  if (!whole.properties) return [];
  const rows = Object.entries(whole.properties)
    .map(([name, each]) => row(api, name, each, whole.required?.includes(name)));
  const said = whole.description ? [el("p", { className: "faint", textContent: whole.description })] : [];
  return [...said, el("table", {}, ...rows)];
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function curl(path, method, operation) {
  const example = { topic: "general", user: "ana", seq: "1", topic_name: "general" };
  const filled = path.replace(/\{(\w+)\}/g, (_, name) => example[name] ?? name);
  const query = operation.parameters
    .filter((each) => each.in === "query" && (each.required || each.name === "user"))
    .map((each) => `${each.name}=${example[each.name] ?? "1"}`).join("&");
  const lines = [`curl${method === "get" ? "" : ` -X ${method.toUpperCase()}`} ${quoted(base + filled + (query && `?${query}`))}`];
  const credential = $("credential").value.trim();
  if (operation.security && credential) lines.push(`-H ${quoted(`Authorization: Bearer ${credential}`)}`);
  for (const each of operation.parameters.filter((one) => one.in === "header")) {
    lines.push(`-H ${quoted(`${each.name}: ${each.schema.enum?.[0] ?? "order-17"}`)}`);
  }
  const body = operation.requestBody?.content["application/json"].example;
  if (body !== undefined) lines.push("-H 'Content-Type: application/json'", `-d ${quoted(JSON.stringify(body))}`);
  return lines.join(" \\\n  ");
}

function copying(write) {
  const code = el("code", { textContent: write() });
  $("credential").addEventListener("input", () => { code.textContent = write(); });
  const button = el("button", { type: "button", textContent: "copy" });
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "copied";
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  });
  return el("div", { className: "copying" }, el("pre", {}, code), button);
}

function answers(operation) {
  const rows = Object.entries(operation.responses).map(([status, answer]) => {
    const schema = Object.values(answer.content ?? {})[0]?.schema;
    const what = Number(status) < 400 && schema ? kind(schema) : answer.description.replaceAll("`", "");
    return el("tr", {}, el("td", {}, el("code", { textContent: status })), el("td", { textContent: what }));
  });
  return el("table", {}, ...rows);
}

function card(api, path, method, operation) {
  const body = el("div", { className: "body" });
  const parameters = operation.parameters.map((each) => row(api, each.name, each.schema, each.required, each.in));
  if (parameters.length) body.append(el("h3", { textContent: "Parameters" }), el("table", {}, ...parameters));
  if (operation.requestBody) {
    body.append(el("h3", { textContent: "Body" }), ...fields(api, operation.requestBody.content["application/json"].schema));
  }
  body.append(el("h3", { textContent: "Example" }), copying(() => curl(path, method, operation)));
  body.append(el("h3", { textContent: "Answers" }), answers(operation));
  const shown = Object.entries(operation.responses)
    .filter(([status, answer]) => Number(status) < 300 && answer.content)
    .flatMap(([, answer]) => fields(api, Object.values(answer.content)[0].schema));
  body.append(...shown);
  const head = el("summary", {},
    el("span", { className: `method ${method}`, textContent: method.toUpperCase() }),
    el("code", { className: "path", textContent: path }),
    el("span", { className: "said", textContent: operation.summary }));
  const made = el("details", { id: operation.operationId }, head, body);
  made.dataset.words = `${method} ${path} ${operation.summary}`.toLowerCase();
  return made;
}

function draw(api) {
  $("about").textContent = api.info.description.replaceAll("`", "");
  const groups = $("groups");
  const operations = $("operations");
  api.tags.forEach(({ name }, place) => {
    const section = el("section", { id: `group-${place}` }, el("h2", { textContent: name }));
    for (const [path, methods] of Object.entries(api.paths)) {
      for (const method of METHODS.filter((each) => methods[each]?.tags[0] === name)) {
        section.append(card(api, path, method, methods[method]));
      }
    }
    operations.append(section);
    groups.append(el("a", { href: `#group-${place}`, textContent: name }));
  });
  $(location.hash.slice(1))?.scrollIntoView();
}

function filter(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  for (const section of document.querySelectorAll("section")) {
    const cards = [...section.querySelectorAll("details")];
    for (const each of cards) each.hidden = !words.every((word) => each.dataset.words?.includes(word));
    section.hidden = cards.every((each) => each.hidden);
  }
}

$("filter").addEventListener("input", (event) => filter(event.target.value));
try {
  const answer = await fetch("openapi.json");
  draw(await answer.json());
} catch (error) {
  $("about").textContent = `The description can't be read: ${error.message}.`;
}
