// Shows the server's own OpenAPI document. Text only ever enters the page as text.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete"];

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// A schema written out as an example-like outline, references followed once.
function outline(schema, all, seen = []) {
  if (!schema) return "any";
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return seen.includes(name) ? name : outline(all[name], all, [...seen, name]);
  }
  const choices = schema.oneOf || schema.anyOf;
  if (choices) {
    const real = choices.filter((choice) => choice.type !== "null");
    return real.length === 1 ? outline(real[0], all, seen) : real.map((c) => outline(c, all, seen));
  }
  if (schema.allOf) {
    return Object.assign({}, ...schema.allOf.map((part) => outline(part, all, seen)));
  }
  if (schema.enum) return schema.enum.join(" | ");
  const type = Array.isArray(schema.type) ? schema.type.find((t) => t !== "null") : schema.type;
  if (type === "array") return [outline(schema.items, all, seen)];
  if (type === "object" && schema.properties) {
    return Object.fromEntries(
      Object.entries(schema.properties).map(([key, value]) => [key, outline(value, all, seen)]),
    );
  }
  return schema.format ? `${type} (${schema.format})` : type || "any";
}

function block(title, content, all) {
  const schema = content && Object.values(content)[0] && Object.values(content)[0].schema;
  if (!schema) return null;
  return element("div", {}, element("h4", {}, title),
    element("pre", {}, JSON.stringify(outline(schema, all), null, 2)));
}

function parameters(list) {
  if (!list || list.length === 0) return null;
  const rows = list.map((it) => element("tr", {},
    element("td", {}, element("code", {}, it.name)),
    element("td", {}, it.in + (it.required ? ", required" : "")),
    element("td", {}, it.description || "")));
  return element("table", {}, ...rows);
}

function operation(path, method, it, all) {
  const summary = element("summary", {},
    element("b", { class: `method ${method}` }, method.toUpperCase()),
    element("code", {}, path), element("span", {}, " " + (it.summary || "")));
  const answers = Object.entries(it.responses || {}).filter(([status]) => status.startsWith("2"));
  const body = element("div", { class: "body" },
    it.description ? element("p", {}, it.description) : null,
    parameters(it.parameters),
    it.requestBody ? block("Request body", it.requestBody.content, all) : null,
    ...answers.map(([status, answer]) => block(`Answer ${status}`, answer.content, all)));
  const made = element("details", {}, summary, body);
  made.dataset.text = `${method} ${path} ${it.summary || ""}`.toLowerCase();
  return made;
}

function show(spec) {
  const all = (spec.components && spec.components.schemas) || {};
  const byTag = new Map();
  for (const [path, item] of Object.entries(spec.paths)) {
    for (const method of METHODS.filter((name) => item[name])) {
      const tag = (item[method].tags || ["other"])[0];
      if (!byTag.has(tag)) byTag.set(tag, []);
      byTag.get(tag).push(operation(path, method, item[method], all));
    }
  }
  const main = document.getElementById("operations");
  main.replaceChildren(...[...byTag].map(([tag, list]) =>
    element("section", {}, element("h2", {}, tag), ...list)));
}

document.getElementById("filter").addEventListener("input", (event) => {
  const wanted = event.target.value.trim().toLowerCase();
  for (const section of document.querySelectorAll("section")) {
    let any = false;
    for (const it of section.querySelectorAll("details")) {
      it.hidden = !it.dataset.text.includes(wanted);
      any = any || !it.hidden;
    }
    section.hidden = !any;
  }
});

fetch("/api/openapi.json").then((answer) => answer.json()).then(show).catch((error) => {
  document.getElementById("operations").textContent = `The document could not be read: ${error}`;
});
