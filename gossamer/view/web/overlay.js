// What lies over the drawing: the axes, the scale bar, and the ring around the chosen point.

function showAxes(svg, camera) {
  const { right, up, back } = basis(camera);
  const axes = [["x", "#f4615f", 0], ["y", "#46c46b", 1], ["z", "#4d97ff", 2]].sort((a, b) => back[a[2]] - back[b[2]]);
  const make = (tag, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  };
  svg.replaceChildren(...axes.flatMap(([name, color, axis]) => {
    const [x, y] = [26 * right[axis], -26 * up[axis]];
    const line = make("line", { x2: x, y2: y, stroke: color, "stroke-width": 2.5, "stroke-linecap": "round" });
    const text = make("text", { x: 1.32 * x, y: 1.32 * y + 4, fill: color, "text-anchor": "middle" });
    text.textContent = name;
    return [line, text];
  }));
}

// The bar is as long as it says at the distance of the target.
function showScale(holder, camera) {
  const pixels = focal(camera) / camera.distance;
  const wanted = 150 / pixels;
  const power = 10 ** Math.floor(Math.log10(wanted));
  const metres = [5, 2, 1].find((step) => step * power <= wanted) * power;
  holder.children[0].textContent = metres < 1 ? `${Number((100 * metres).toPrecision(2))} cm` : `${metres} m`;
  holder.children[1].style.width = `${metres * pixels}px`;
}

function showRing(ring, scene, camera, row) {
  ring.hidden = row < 0;
  if (row < 0) return;
  const [x, y, depth] = project(camera, matrix(camera), ...scene.positions.subarray(3 * row, 3 * row + 3));
  ring.hidden = depth <= 0;
  ring.style.left = `${x}px`;
  ring.style.top = `${y}px`;
}

// The point under a pixel: of those within reach, the one nearest to the eye; -1 for none.
function pick(scene, camera, { x, y }) {
  const m = matrix(camera);
  let [found, nearest] = [-1, Infinity];
  for (let i = 0; i < scene.count; i++) {
    if (!scene.rgba[4 * i + 3]) continue;
    const [px, py, depth] = project(camera, m, scene.positions[3 * i], scene.positions[3 * i + 1], scene.positions[3 * i + 2]);
    if (depth > 0 && depth < nearest && Math.abs(px - x) < 6 && Math.abs(py - y) < 6) [found, nearest] = [i, depth];
  }
  return found;
}
