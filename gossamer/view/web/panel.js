// The side panel: the legend of the current colours, whose lines hide and show points.

// Elements are made, never parsed: names of classes and files stay text.
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

const css = (color) => `rgb(${color.join(",")})`;
const number = (value) => value.toLocaleString("en");

function percent(count, total) {
  if (!count) return "none";
  const share = (100 * count) / total;
  return share < 0.1 ? "< 0.1 %" : `${share.toFixed(1)} %`;
}

function legendRow(paint, entry, total, changed) {
  const { hidden } = paint;
  const swatch = element("i");
  swatch.style.setProperty("--color", css(entry.color));
  const toggle = element(
    "button",
    {
      type: "button", class: entry.count ? "toggle" : "toggle absent", "data-code": entry.code,
      "aria-pressed": String(!hidden.has(entry.code)), title: `${entry.name}: ${number(entry.count)} points`,
      onclick() {
        if (!hidden.delete(entry.code)) hidden.add(entry.code);
        changed();
      },
    },
    swatch, element("span", {}, entry.name), element("small", {}, percent(entry.count, total)),
  );
  const only = element("button", {
    type: "button", class: "only", "aria-label": `Only ${entry.name}`,
    onclick() {
      paint.entries.forEach(({ code }) => (code === entry.code ? hidden.delete(code) : hidden.add(code)));
      changed();
    },
  }, "only");
  return element("div", { class: "row" }, toggle, only);
}

function rampLegend(paint, ramp) {
  const bar = element("i");
  bar.style.background = `linear-gradient(90deg, ${ramp.map(css).join(", ")})`;
  const say = (value) => `${Number(value.toPrecision(3))} ${paint.unit}`.trim();
  return element("div", { class: "ramp" }, bar,
    element("p", {}, element("span", {}, `≤ ${say(paint.low)}`), element("span", {}, `≥ ${say(paint.high)}`)));
}

function showLegend(holder, scene, paint, changed) {
  const focused = holder.contains(document.activeElement) ? document.activeElement : null;
  const [code, only] = focused ? [focused.parentElement.firstChild.dataset.code, focused.className === "only"] : [];
  if (paint.entries) holder.replaceChildren(...paint.entries.map((entry) => legendRow(paint, entry, scene.count, changed)));
  else if (paint.rgb) holder.replaceChildren(element("p", { class: "empty" }, "As the camera saw each point."));
  else holder.replaceChildren(rampLegend(paint, scene.ramp));
  if (code) holder.querySelector(`[data-code="${code}"]`)?.parentElement.children[only ? 1 : 0].focus();
}

// Features travel as 8-bit steps of the range that holds most points.
function scalarAt({ codes, low, high }, row) {
  const sign = { 0: "≤", 255: "≥" }[codes[row]] ?? "≈";
  return `${sign} ${Number((low + (codes[row] / 255) * (high - low)).toPrecision(3))}`;
}

function showCard(card, scene, row) {
  card.hidden = row < 0;
  if (row < 0) return;
  const [x, y, z] = [0, 1, 2].map((axis) => scene.positions[3 * row + axis] + scene.middle[axis]);
  const facts = [["x, y, z", [x, y, z].map((value) => value.toFixed(2)).join(", ") + " m"]];
  for (const paint of scene.paints) {
    if (paint.entries) facts.push([paint.label, paint.entries.find(({ code }) => code === paint.codes[row])?.name ?? ""]);
    else if (paint.codes && paint.key !== "height") facts.push([paint.label, scalarAt(paint, row)]);
  }
  const list = element("dl");
  for (const [name, value] of facts) list.append(element("dt", {}, name), element("dd", {}, value));
  card.replaceChildren(list);
}
