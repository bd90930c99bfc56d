// Points as discs into a texture, then one pass that darkens depth edges (eye-dome lighting).

const POINT_VERTEX = `#version 300 es
in vec3 position;
in vec4 color;
uniform mat4 matrix;
uniform float world, smallest, largest;
out vec3 shade;
void main() {
  shade = color.rgb;
  gl_Position = color.a > 0.5 ? matrix * vec4(position, 1.0) : vec4(0.0, 0.0, 2.0, 1.0);
  gl_PointSize = clamp(world / max(gl_Position.w, 1e-6), smallest, largest);
}`;

const POINT_FRAGMENT = `#version 300 es
precision mediump float;
in vec3 shade;
out vec4 pixel;
void main() {
  vec2 off = gl_PointCoord - 0.5;
  if (dot(off, off) > 0.3) discard;
  pixel = vec4(shade, 1.0);
}`;

const LIGHT_VERTEX = `#version 300 es
void main() { gl_Position = vec4(vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0, 0.0, 1.0); }`;

const LIGHT_FRAGMENT = `#version 300 es
precision highp float;
uniform sampler2D colors;
uniform highp sampler2D depths;
uniform vec3 background;
uniform vec2 range;
uniform float strength;
uniform int reach;
out vec4 pixel;
float distanceAt(ivec2 at) {
  float depth = texelFetch(depths, clamp(at, ivec2(0), textureSize(depths, 0) - 1), 0).r;
  if (depth >= 1.0) return 1e9;
  float z = 2.0 * depth - 1.0;
  return 2.0 * range.x * range.y / (range.y + range.x - z * (range.y - range.x));
}
void main() {
  ivec2 at = ivec2(gl_FragCoord.xy);
  float here = distanceAt(at);
  if (here > 1e8) { pixel = vec4(background, 1.0); return; }
  float dark = 0.0;
  for (int y = -1; y <= 1; y++)
    for (int x = -1; x <= 1; x++)
      dark += max(0.0, log2(here / distanceAt(at + ivec2(x, y) * reach)));
  pixel = vec4(texelFetch(colors, at, 0).rgb * exp(-strength * dark / 8.0), 1.0);
}`;

function program(gl, vertex, fragment) {
  const made = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost())
      throw new Error(gl.getShaderInfoLog(shader));
    gl.attachShader(made, shader);
  }
  gl.linkProgram(made);
  const uniforms = {};
  for (let i = 0; i < gl.getProgramParameter(made, gl.ACTIVE_UNIFORMS); i++) {
    const { name } = gl.getActiveUniform(made, i);
    uniforms[name] = gl.getUniformLocation(made, name);
  }
  return { made, uniforms };
}

function vertexBuffer(gl, points, name, data, width, type, normalized) {
  const buffer = gl.createBuffer();
  gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
  gl.bufferData(gl.ARRAY_BUFFER, data, gl.DYNAMIC_DRAW);
  const place = gl.getAttribLocation(points.made, name);
  gl.enableVertexAttribArray(place);
  gl.vertexAttribPointer(place, width, type, normalized, 0, 0);
  return buffer;
}

function offscreen(gl, width, height) {
  const texture = (internal, format, type) => {
    const made = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, made);
    gl.texImage2D(gl.TEXTURE_2D, 0, internal, width, height, 0, format, type, null);
    for (const side of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER])
      gl.texParameteri(gl.TEXTURE_2D, side, gl.NEAREST);
    return made;
  };
  const colors = texture(gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE);
  const depths = texture(gl.DEPTH_COMPONENT24, gl.DEPTH_COMPONENT, gl.UNSIGNED_INT);
  const frame = gl.createFramebuffer();
  gl.bindFramebuffer(gl.FRAMEBUFFER, frame);
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, colors, 0);
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.DEPTH_ATTACHMENT, gl.TEXTURE_2D, depths, 0);
  return { frame, colors, depths, width, height };
}

function release(gl, target) {
  gl.deleteTexture(target.colors);
  gl.deleteTexture(target.depths);
  gl.deleteFramebuffer(target.frame);
}

// Returns null where there is no WebGL 2.
function createCanvas(canvas, scene) {
  const gl = canvas.getContext("webgl2", { antialias: false, depth: false, alpha: false });
  if (!gl) return null;
  const points = program(gl, POINT_VERTEX, POINT_FRAGMENT);
  const light = program(gl, LIGHT_VERTEX, LIGHT_FRAGMENT);
  const array = gl.createVertexArray();
  gl.bindVertexArray(array);
  vertexBuffer(gl, points, "position", scene.positions, 3, gl.FLOAT, false);
  const colors = vertexBuffer(gl, points, "color", scene.rgba, 4, gl.UNSIGNED_BYTE, true);
  const nothing = gl.createVertexArray();
  let target = null;

  function drawPoints(camera, size, ratio) {
    gl.bindFramebuffer(gl.FRAMEBUFFER, target.frame);
    gl.viewport(0, 0, target.width, target.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.enable(gl.DEPTH_TEST);
    gl.useProgram(points.made);
    gl.bindVertexArray(array);
    gl.uniformMatrix4fv(points.uniforms.matrix, false, matrix(camera));
    gl.uniform1f(points.uniforms.world, camera.spacing * size * focal(camera) * ratio);
    gl.uniform1f(points.uniforms.smallest, Math.max(1, 1.7 * size * ratio));
    gl.uniform1f(points.uniforms.largest, 8 * size * ratio);
    gl.drawArrays(gl.POINTS, 0, scene.count);
  }

  function drawLight(camera, shading, background, ratio) {
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.disable(gl.DEPTH_TEST);
    gl.useProgram(light.made);
    gl.bindVertexArray(nothing);
    [target.colors, target.depths].forEach((texture, unit) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D, texture);
    });
    gl.uniform1i(light.uniforms.colors, 0);
    gl.uniform1i(light.uniforms.depths, 1);
    gl.uniform3fv(light.uniforms.background, background.map((value) => value / 255));
    gl.uniform2fv(light.uniforms.range, depthRange(camera));
    gl.uniform1f(light.uniforms.strength, 12 * shading);
    gl.uniform1i(light.uniforms.reach, Math.round(1.4 * ratio));
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  return {
    recolor() {
      gl.bindBuffer(gl.ARRAY_BUFFER, colors);
      gl.bufferSubData(gl.ARRAY_BUFFER, 0, scene.rgba);
    },
    draw(camera, { size, shading, background }) {
      // More than two pixels a point of the screen cost much and show nothing more.
      const ratio = Math.min(window.devicePixelRatio || 1, 2);
      const [width, height] = [camera.width, camera.height].map((edge) => Math.max(1, Math.round(edge * ratio)));
      if (!target || target.width !== width || target.height !== height) {
        if (target) release(gl, target);
        [canvas.width, canvas.height] = [width, height];
        target = offscreen(gl, width, height);
      }
      drawPoints(camera, size, ratio);
      drawLight(camera, shading, background, ratio);
    },
  };
}
