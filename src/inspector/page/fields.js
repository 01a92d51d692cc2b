// deno-lint-ignore-file no-unused-vars -- the files share one scope: tools/inspector.ts joins them
// The form for the params of a method, by their schemas. Objects within objects become groups of fields.

const MAX_DEPTH = 3;

function showFields({ params = [], paramStructure }) {
  const fields = params.map(({ name, schema, ...param }, index) => {
    const path = [paramStructure === "by-position" ? index : name];
    return fieldOf({ ...param, name, path, schema: resolved(schema) });
  });
  byId("fields").replaceChildren(...fields);
  byId("fields").dataset.structure = paramStructure ?? "";
  byId("params").value = params.length > 0 ? pretty(fromFields()) : "";
}

/** A schema without references, and without `null` as its other choice. */
function resolved(schema, depth = 0) {
  const plain = typeof schema === "object" && schema !== null ? schema : {};
  if (depth > MAX_DEPTH) return plain;
  const name = /^#\/components\/schemas\/(.+)$/.exec(plain.$ref ?? "")?.[1];
  if (name !== undefined) return resolved(methods.schemas[name], depth + 1);
  const choices = (plain.anyOf ?? plain.oneOf ?? []).map((each) => resolved(each, depth + 1))
    .filter(({ type }) => type !== "null");
  if (choices.length === 1) return { ...plain, anyOf: undefined, oneOf: undefined, ...choices[0] };
  if (choices.length > 0 && choices.every((each) => "const" in each)) {
    return { ...plain, enum: choices.map((each) => each.const) };
  }
  return choices.length > 0 ? { ...plain, choices } : plain;
}

/** Which kind of input a schema needs. */
function kindOf(schema) {
  if ("const" in schema) return typeof schema.const;
  const kinds = [schema.type].flat().filter((each) => each !== undefined && each !== "null");
  return kinds.length === 1 ? kinds[0] : undefined;
}

/** What a schema takes, in words: "array of string", "string or number". */
function typeText(schema, depth = 0) {
  if (schema.choices !== undefined) {
    return [...new Set(schema.choices.map((each) => typeText(each, depth + 1)))].join(" or ");
  }
  const kind = kindOf(schema) ?? [schema.type].flat().filter((each) => each).join(" or ");
  if (kind !== "array" || depth > MAX_DEPTH) return kind;
  const items = typeText(resolved(schema.items), depth + 1);
  return items === "" ? kind : `array of ${items}`;
}

/** A value that a schema could take, to show how its JSON looks. */
function sampleOf(schema, depth = 0) {
  if ("const" in schema) return schema.const;
  if (schema.default !== undefined) return schema.default;
  if (Array.isArray(schema.enum)) return schema.enum[0];
  if (schema.choices !== undefined) return sampleOf(schema.choices[0], depth);
  const kind = kindOf(schema);
  if (kind === "array") {
    return depth > MAX_DEPTH ? [] : [sampleOf(resolved(schema.items), depth + 1)];
  }
  if (kind === "object" || schema.properties !== undefined) {
    const members = depth > MAX_DEPTH ? [] : Object.entries(schema.properties ?? {});
    return Object.fromEntries(
      members.map(([name, each]) => [name, sampleOf(resolved(each), depth + 1)]),
    );
  }
  return { string: "", number: 0, integer: 0, boolean: false }[kind] ?? null;
}

/** The field of one param, or the fields of an object. */
function fieldOf(param) {
  const { name, path, schema, required, description, summary } = param;
  const about = [
    typeText(schema),
    required ? "required" : undefined,
    description ?? summary ?? schema.description,
  ].filter((each) => each).join(", ");
  const label = element("span", { className: "mono" }, name);
  const hint = element("span", { className: "quiet" }, ` ${about}`);
  const members = Object.entries(schema.properties ?? {});
  if (members.length > 0 && path.length <= MAX_DEPTH) {
    const own = members.map(([key, each]) =>
      fieldOf({
        name: key,
        path: [...path, key],
        schema: resolved(each),
        required: schema.required?.includes(key),
      })
    );
    return element("fieldset", {}, element("legend", {}, label, hint), ...own);
  }
  return element("label", {}, label, hint, inputOf(path, schema));
}

/** An input by a schema: a number, a choice, text, or JSON. */
function inputOf(path, schema) {
  const kind = kindOf(schema);
  const isChoice = Array.isArray(schema.enum) || kind === "boolean";
  const input = isChoice
    ? choiceOf(schema.enum ?? [true, false])
    : kind === "number" || kind === "integer"
    ? element("input", { type: "number", step: kind === "integer" ? "1" : "any" })
    : element("input", {
      type: "text",
      placeholder: kind === "string" ? "" : `JSON: ${JSON.stringify(sampleOf(schema))}`,
    });
  input.dataset.path = JSON.stringify(path);
  input.dataset.kind = isChoice ? "json" : kind ?? "json";
  if (schema.default !== undefined) {
    input.value = kind === "string" && !isChoice ? schema.default : JSON.stringify(schema.default);
  }
  input.oninput = () => byId("params").value = pretty(fromFields());
  return input;
}

function choiceOf(values) {
  const options = values.map((value) =>
    element("option", { value: JSON.stringify(value) }, String(value))
  );
  return element("select", {}, element("option", { value: "" }, "—"), ...options);
}

/** The params that the fields say; an empty field says nothing. */
function fromFields() {
  const params = byId("fields").dataset.structure === "by-position" ? [] : {};
  for (const { dataset, value } of byId("fields").querySelectorAll("[data-path]")) {
    if (value === "") continue;
    const path = JSON.parse(dataset.path);
    const last = path.pop();
    const parent = path.reduce((level, key) => level[key] ??= {}, params);
    parent[last] = dataset.kind === "string" ? value : parsedOr(value, value);
  }
  // An array has no holes in JSON.
  return Array.isArray(params) ? Array.from(params, (each) => each ?? null) : params;
}
