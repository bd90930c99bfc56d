// Mouse, touch and keys: one finger turns, two move and zoom; a short press is a click.

function listen(canvas, camera, { changed, clicked, doubled }) {
  const fingers = new Map();
  let travelled = 0;

  const spot = (event) => {
    const box = canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  const spread = () => {
    const [a, b] = [...fingers.values()];
    return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, apart: Math.hypot(a.x - b.x, a.y - b.y) };
  };

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, spot(event));
    if (fingers.size === 1) travelled = 0;
  });

  canvas.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const now = spot(event);
    const [dx, dy] = [now.x - before.x, now.y - before.y];
    travelled += Math.hypot(dx, dy);
    if (fingers.size === 2) {
      const old = spread();
      fingers.set(event.pointerId, now);
      const next = spread();
      move(camera, next.x - old.x, next.y - old.y);
      if (next.apart > 1) zoom(camera, old.apart / next.apart, next.x, next.y);
    } else {
      fingers.set(event.pointerId, now);
      (event.buttons & 6 || event.shiftKey || event.ctrlKey ? move : turn)(camera, dx, dy);
    }
    changed();
  });

  const lift = (event) => {
    if (fingers.delete(event.pointerId) && event.type === "pointerup" && !fingers.size && travelled < 5)
      clicked(spot(event));
  };
  canvas.addEventListener("pointerup", lift);
  canvas.addEventListener("pointercancel", lift);
  canvas.addEventListener("dblclick", (event) => doubled(spot(event)));
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());

  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaY * (event.deltaMode === 1 ? 16 : 1);
    const { x, y } = spot(event);
    zoom(camera, Math.exp(Math.max(-240, Math.min(240, lines)) * 0.0015), x, y);
    changed();
  }, { passive: false });

  canvas.addEventListener("keydown", (event) => {
    const [x, y] = [camera.width / 2, camera.height / 2];
    const act = {
      ArrowLeft: () => turn(camera, -20, 0), ArrowRight: () => turn(camera, 20, 0),
      ArrowUp: () => turn(camera, 0, 20), ArrowDown: () => turn(camera, 0, -20),
      "+": () => zoom(camera, 0.85, x, y), "=": () => zoom(camera, 0.85, x, y), "-": () => zoom(camera, 1.18, x, y),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
    changed();
  });
}
