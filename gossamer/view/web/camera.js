// The eye goes round a target; angles in radians, lengths in metres, z is up.

const VIEWS = {
  "3d": { yaw: -152, pitch: 32, reach: 1.15, rise: 0.6 },
  top: { yaw: -90, pitch: 89.9, reach: 2.3, rise: 1 },
  low: { yaw: 180, pitch: 7, reach: 0.9, rise: 0.6 },
};
const STEEPEST = (89.9 * Math.PI) / 180;

function createCamera({ radius, height, spacing }) {
  const camera = { radius, tall: height, spacing, width: 1, height: 1 };
  lookFrom(camera, "3d");
  return camera;
}

function lookFrom(camera, view) {
  const { yaw, pitch, reach, rise } = VIEWS[view];
  Object.assign(camera, {
    view, target: [0, 0, 0], distance: reach * camera.radius + rise * camera.tall,
    yaw: (yaw * Math.PI) / 180, pitch: (pitch * Math.PI) / 180,
  });
}

// Pixels that a metre takes one metre ahead of the eye; the same in width and height.
function focal(camera) {
  return Math.min(1.2 * camera.height, 0.9 * camera.width);
}

// Unit vectors: to the right, up, and back from the target to the eye.
function basis({ yaw, pitch }) {
  const [cy, sy, cp, sp] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
  return { right: [-sy, cy, 0], up: [-sp * cy, -sp * sy, cp], back: [cp * cy, cp * sy, sp] };
}

function turn(camera, dx, dy) {
  camera.yaw -= dx * 0.006;
  camera.pitch = Math.min(STEEPEST, Math.max(-STEEPEST, camera.pitch + dy * 0.006));
}

function move(camera, dx, dy) {
  const { right, up } = basis(camera);
  const metres = camera.distance / focal(camera);
  camera.target = camera.target.map((value, i) => value + (dy * up[i] - dx * right[i]) * metres);
}

// Comes nearer by `factor`, and keeps in place what lies under pixel (x, y).
function zoom(camera, factor, x, y) {
  const limited = Math.min(40 * camera.radius, Math.max(0.004 * camera.radius, camera.distance * factor));
  const actual = limited / camera.distance;
  const [dx, dy] = [x - camera.width / 2, y - camera.height / 2];
  move(camera, (actual - 1) * dx, (actual - 1) * dy);
  camera.distance = limited;
}

// Clip-space matrix, column by column, as WebGL wants it.
function matrix(camera) {
  const { right, up, back } = basis(camera);
  const eye = camera.target.map((value, i) => value + camera.distance * back[i]);
  const [near, far] = depthRange(camera);
  const [fx, fy] = [(2 * focal(camera)) / camera.width, (2 * focal(camera)) / camera.height];
  const [a, b] = [(far + near) / (far - near), (2 * far * near) / (far - near)];
  const dot = (v) => v[0] * eye[0] + v[1] * eye[1] + v[2] * eye[2];
  const columns = [0, 1, 2].flatMap((i) => [fx * right[i], fy * up[i], -a * back[i], -back[i]]);
  return new Float32Array([...columns, -fx * dot(right), -fy * dot(up), a * dot(back) - b, dot(back)]);
}

function depthRange(camera) {
  return [0.01 * camera.distance, camera.distance + 60 * camera.radius];
}

// [x, y, depth] in pixels and metres, by the same matrix as the picture.
function project(camera, m, x, y, z) {
  const w = m[3] * x + m[7] * y + m[11] * z + m[15];
  return [
    ((m[0] * x + m[4] * y + m[8] * z + m[12]) / w + 1) * 0.5 * camera.width,
    (1 - (m[1] * x + m[5] * y + m[9] * z + m[13]) / w) * 0.5 * camera.height,
    w,
  ];
}
