// The scene as it was written into the page: positions around the middle, and the ways to colour.

function bytesOf(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

// Positions travel as 24-bit steps from the lowest corner, one axis after the other.
function positionsOf(told, middle) {
  const packed = bytesOf(told.positions);
  const positions = new Float32Array(3 * told.count);
  for (let axis = 0, at = 0; axis < 3; axis++) {
    const low = told.low[axis] - middle[axis];
    for (let i = 0; i < told.count; i++, at += 3) {
      const steps = packed[at] | (packed[at + 1] << 8) | (packed[at + 2] << 16);
      positions[3 * i + axis] = low + steps * told.step[axis];
    }
  }
  return positions;
}

function categories(key, label, codes, names, colors) {
  const counts = new Uint32Array(256);
  for (const code of codes) counts[code]++;
  const entries = names.map((name, code) => ({ code, name, color: colors[code], count: counts[code] }));
  return { key, label, codes, entries, hidden: new Set() };
}

function scalar(key, label, codes, low, high, unit) {
  return { key, label, codes, low, high, unit };
}

function heightCodes(positions, middle, low, high) {
  const codes = new Uint8Array(positions.length / 3);
  for (let i = 0; i < codes.length; i++) {
    const share = (positions[3 * i + 2] + middle[2] - low) / (high - low);
    codes[i] = Math.round(255 * Math.min(1, Math.max(0, share)));
  }
  return codes;
}

function verdictCodes(labels, truth) {
  return labels.map((label, i) => (label === 255 || truth[i] === 255 ? 2 : Number(label !== truth[i])));
}

// A class palette ends with the colour of points without a class, which carry the code 255.
function classCategories(key, label, codes, told) {
  const paint = categories(key, label, codes, told.classes, told.colors);
  const count = codes.reduce((sum, code) => sum + (code === 255), 0);
  if (count) paint.entries.push({ code: 255, name: "unlabelled", color: told.unlabelled, count });
  return paint;
}

function paintsOf(told, positions, middle) {
  const paints = [];
  const labels = told.labels === null ? null : bytesOf(told.labels);
  const truth = told.truth === null ? null : bytesOf(told.truth);
  if (labels) paints.push(classCategories("class", "Predicted class", labels, told));
  if (truth) paints.push(classCategories("truth", "True class", truth, told));
  if (labels && truth) {
    const paint = categories("errors", "Errors", verdictCodes(labels, truth), told.verdicts, told.verdictColors);
    paint.entries = paint.entries.filter((entry) => entry.code < 2 || entry.count);
    paints.push(paint);
  }
  const [low, high] = told.height;
  paints.push(scalar("height", "Height", heightCodes(positions, middle, low, high), low, high, "m"));
  for (const { name, low, high, data } of told.features) {
    let key = name.toLowerCase().replace(/[^a-z0-9]+/g, "-");
    while (paints.some((paint) => paint.key === key)) key += "-feature";
    paints.push(scalar(key, name.charAt(0).toUpperCase() + name.slice(1), bytesOf(data), low, high, ""));
  }
  if (told.rgb !== null) paints.push({ key: "camera-colour", label: "Camera colour", rgb: bytesOf(told.rgb) });
  return paints;
}

function readScene() {
  const told = JSON.parse(document.getElementById("scene").textContent);
  const middle = told.frame.target;
  const positions = positionsOf(told, middle);
  return {
    ...told, middle, positions,
    paints: paintsOf(told, positions, middle),
    rgba: new Uint8Array(4 * told.count),
  };
}

function rampColor(ramp, share) {
  const at = share * (ramp.length - 1);
  const below = Math.min(Math.floor(at), ramp.length - 2);
  return ramp[below].map((value, channel) => Math.round(value + (ramp[below + 1][channel] - value) * (at - below)));
}

// Fills scene.rgba; alpha 0 hides a point. Returns how many points are left to see.
function paintScene(scene, paint) {
  const filters = scene.paints.filter((other) => other.hidden && other.hidden.size);
  const table = new Uint8Array(3 * 256);
  if (paint.entries) for (const { code, color } of paint.entries) table.set(color, 3 * code);
  else for (let code = 0; code < 256; code++) table.set(rampColor(scene.ramp, code / 255), 3 * code);
  let seen = 0;
  for (let i = 0; i < scene.count; i++) {
    const from = paint.rgb ? 3 * i : 3 * paint.codes[i];
    const source = paint.rgb || table;
    const visible = filters.every((filter) => !filter.hidden.has(filter.codes[i]));
    scene.rgba[4 * i] = source[from];
    scene.rgba[4 * i + 1] = source[from + 1];
    scene.rgba[4 * i + 2] = source[from + 2];
    scene.rgba[4 * i + 3] = visible ? 255 : 0;
    seen += visible;
  }
  return seen;
}
