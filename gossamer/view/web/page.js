// Puts the parts together. What the page shows can be read from its address, and set by it:
// #color=errors&hide=class:3.5&size=2&shading=0&view=top&theme=light

function start() {
  const $ = (id) => document.getElementById(id);
  const root = document.documentElement;
  const scene = readScene();
  const camera = createCamera(scene.frame);
  const state = { paint: scene.paints[0], size: 1, shading: 0.5, theme: "dark", chosen: -1 };
  const drawing = scene.count ? createCanvas($("canvas"), scene) : null;
  let waiting = false;

  function say(message) {
    $("message").textContent = message;
    $("message").hidden = false;
    for (const id of ["scale", "axes"]) $(id).style.display = "none";
  }

  function draw() {
    waiting = false;
    const box = $("stage").getBoundingClientRect();
    [camera.width, camera.height] = [Math.max(1, box.width), Math.max(1, box.height)];
    if (!drawing) return;
    const background = getComputedStyle($("stage")).backgroundColor.match(/\d+/g).slice(0, 3).map(Number);
    drawing.draw(camera, { ...state, background });
    showAxes($("axes"), camera);
    showScale($("scale"), camera);
    showRing($("ring"), scene, camera, state.chosen);
    root.dataset.state = "drawn";
  }

  function redraw() {
    if (!waiting) requestAnimationFrame(draw);
    waiting = true;
  }

  function choose(row) {
    state.chosen = row;
    showCard($("card"), scene, row);
    redraw();
  }

  function recolor() {
    const seen = paintScene(scene, state.paint);
    if (drawing) drawing.recolor();
    if (state.chosen >= 0 && !scene.rgba[4 * state.chosen + 3]) choose(-1);
    $("count").textContent = seen === scene.count
      ? `${number(seen)} point${seen === 1 ? "" : "s"}` : `${number(seen)} of ${number(scene.count)} points`;
    $("all").hidden = scene.paints.every(({ hidden }) => !hidden || !hidden.size);
    root.dataset.seen = seen;
    showLegend($("legend"), scene, state.paint, () => { recolor(); remember(); });
    redraw();
  }

  function show() {
    $("paint").value = state.paint.key;
    $("size").value = state.size;
    $("shading").value = state.shading;
    root.dataset.theme = state.theme;
    document.querySelectorAll("[data-view]").forEach((button) =>
      button.setAttribute("aria-pressed", String(button.dataset.view === camera.view)));
    recolor();
  }

  function recall() {
    const asked = new URLSearchParams(location.hash.slice(1));
    const value = (name, low, high, usual) => {
      const given = parseFloat(asked.get(name));
      return Number.isFinite(given) ? Math.min(high, Math.max(low, given)) : usual;
    };
    state.paint = scene.paints.find(({ key }) => key === asked.get("color")) ?? scene.paints[0];
    state.size = value("size", 0.4, 4, 1);
    state.shading = value("shading", 0, 1, 0.5);
    state.theme = asked.get("theme") === "light" ? "light" : "dark";
    for (const paint of scene.paints) if (paint.hidden) paint.hidden.clear();
    for (const part of asked.getAll("hide")) {
      const [key, codes = ""] = part.split(":");
      const paint = scene.paints.find((other) => other.key === key && other.hidden);
      if (paint) for (const code of codes.split(".")) paint.hidden.add(Number(code));
    }
    const view = asked.get("view");
    if (Object.hasOwn(VIEWS, view ?? "") && view !== camera.view) lookFrom(camera, view);
    show();
  }

  function remember() {
    const told = new URLSearchParams();
    if (state.paint !== scene.paints[0]) told.set("color", state.paint.key);
    for (const { key, hidden } of scene.paints) if (hidden && hidden.size) told.append("hide", `${key}:${[...hidden].join(".")}`);
    if (state.size !== 1) told.set("size", state.size);
    if (state.shading !== 0.5) told.set("shading", state.shading);
    if (camera.view !== "3d") told.set("view", camera.view);
    if (state.theme !== "dark") told.set("theme", state.theme);
    history.replaceState(null, "", `#${told}`);
  }

  function connect() {
    const on = (id, event, act) => $(id).addEventListener(event, () => { act($(id)); show(); remember(); });
    on("paint", "change", ({ value }) => { state.paint = scene.paints.find(({ key }) => key === value); });
    on("size", "input", ({ value }) => { state.size = Number(value); });
    on("shading", "input", ({ value }) => { state.shading = Number(value); });
    on("theme", "click", () => { state.theme = state.theme === "dark" ? "light" : "dark"; });
    on("all", "click", () => scene.paints.forEach(({ hidden }) => hidden && hidden.clear()));
    document.querySelectorAll("[data-view]").forEach((button) => button.addEventListener("click", () => {
      lookFrom(camera, button.dataset.view);
      show();
      remember();
    }));
    listen($("canvas"), camera, {
      changed: redraw,
      clicked: (spot) => choose(pick(scene, camera, spot)),
      doubled(spot) {
        const row = pick(scene, camera, spot);
        if (row < 0) return;
        camera.target = [...scene.positions.subarray(3 * row, 3 * row + 3)];
        choose(row);
      },
    });
    window.addEventListener("hashchange", recall);
    new ResizeObserver(redraw).observe($("stage"));
    $("canvas").addEventListener("webglcontextlost", () => say("The graphics card dropped this page; reload it."));
  }

  $("notes").append(...scene.notes.map((note) => element("li", {}, note)));
  $("paint").append(...scene.paints.map(({ key, label }) => element("option", { value: key }, label)));
  connect();
  recall();
  if (!scene.count) say("This cloud has no points.");
  else if (!drawing) say("This browser draws no WebGL 2, which the points need. Any current browser with graphics acceleration on does.");
  if (!drawing) root.dataset.state = scene.count ? "no-webgl" : "empty";
}

start();
