"""The OpenGL programs of the synthesizer: they output linear light, the distance along the optical axis, and normals.

A normal is the smooth shading normal without bumps, in camera space: x right, y up, z to the camera, unit length.
"""

VERTEX = """#version 330
in vec3 place; in vec3 normal; in vec2 uv;
uniform mat4 camera; uniform mat4 view; uniform mat4 lamp;
out vec3 N; out vec2 T; out vec3 P; out vec4 S; out float Z;
void main() {
  N = normal; T = vec2(uv.x, 1.0 - uv.y); P = place; S = lamp * vec4(place, 1.0);
  Z = -(view * vec4(place, 1.0)).z;
  gl_Position = camera * vec4(place, 1.0);
}"""

# The ambient light is nine spherical harmonics of an environment, already convolved with the cosine (Ramamoorthi and
# Hanrahan, "An Efficient Representation for Irradiance Environment Maps", 2001); bumps after Mikkelsen, "Bump Mapping
# Unparametrized Surfaces on the GPU", 2010.
_FRAGMENT = """#version 330
LITE
in vec3 N; in vec2 T; in vec3 P; in vec4 S; in float Z;
uniform sampler2D image; uniform sampler2DShadow shadow;
uniform vec3 eye; uniform vec3 directions[3]; uniform vec3 colors[3]; uniform vec3 ambient[9];
uniform float blur; uniform vec3 tint; uniform vec3 second; uniform vec4 pattern; uniform vec3 soft;
uniform float gloss; uniform float shininess; uniform float cutoff; uniform float glow; uniform float dye;
uniform float bump; uniform mat4 view;
layout(location = 0) out vec4 result; layout(location = 1) out float depth; layout(location = 2) out vec3 surface;
float random(vec2 q) { return fract(sin(dot(q, vec2(12.9898, 78.233))) * 43758.5453); }
vec3 around(vec3 n) {
  return max(ambient[0] + ambient[1] * n.y + ambient[2] * n.z + ambient[3] * n.x + ambient[4] * n.x * n.y
    + ambient[5] * n.y * n.z + ambient[6] * (3.0 * n.z * n.z - 1.0) + ambient[7] * n.x * n.z
    + ambient[8] * (n.x * n.x - n.y * n.y), vec3(0.0));
}
float woven(vec2 q) {
  if (pattern.x > 4.5) return smoothstep(0.25, 0.75, random(floor(q * vec2(9.0, 3.0))));
  if (pattern.x > 3.5) return 0.5 * (step(pattern.z, fract(q.x)) + step(pattern.z, fract(q.y)));
  if (pattern.x > 2.5) return abs(step(0.5, fract(q.x)) - step(0.5, fract(q.y)));
  if (pattern.x > 1.5) return step(pattern.z, random(floor(q)));
  return step(pattern.z, fract(q.x * pattern.w + q.y));
}
void main() {
  vec4 texel = texture(image, T);
  vec3 painted = texel.rgb * texel.rgb * (0.3 + 0.7 * texel.rgb);
  float bright = dot(painted, vec3(0.3, 0.6, 0.1));
  vec3 n = normalize(N);
  surface = normalize(mat3(view) * (dot(n, eye - P) < 0.0 ? -n : n));
#ifndef PLAIN
  if (bump > 0.0) {
    vec3 right = dFdx(P), up = dFdy(P);
    float h = sqrt(bright) * bump;
    vec3 across = cross(up, n), along = cross(n, right);
    float area = dot(right, across);
    vec3 slope = sign(area) * (dFdx(h) * across + dFdy(h) * along);
    vec3 bumped = abs(area) * n - slope;
    if (dot(bumped, bumped) > 1e-16) n = normalize(mix(n, normalize(bumped), 0.8));
  }
#endif
  if (texel.a < (cutoff < 0.0 ? 0.08 + 0.8 * random(floor(T * 1500.0)) : cutoff)) discard;
  vec3 shade = pattern.x > 0.5 ? mix(tint, second, woven(T * pattern.y)) : tint;
  vec3 albedo = mix(painted, vec3(0.08 + bright), dye) * shade;
  vec3 back = normalize(eye - P);
  if (dot(n, back) < 0.0) n = -n;
  vec3 q = S.xyz * 0.5 + 0.5;
  float lit = 1.0;
  if (all(lessThan(abs(q - 0.5), vec3(0.5)))) {
    lit = 0.0;
    // Four taps, turned at random from pixel to pixel: the downsampling blurs their noise away.
    float turn = 6.283 * random(gl_FragCoord.xy);
    vec2 arm = vec2(cos(turn), sin(turn)) * blur;
    q.z -= 0.0015 + 1.2 * blur;
    lit += texture(shadow, vec3(q.xy + arm, q.z)) + texture(shadow, vec3(q.xy - arm, q.z));
    arm = 0.55 * vec2(-arm.y, arm.x);
    lit += texture(shadow, vec3(q.xy + arm, q.z)) + texture(shadow, vec3(q.xy - arm, q.z));
    lit *= 0.25;
  }
  float facing = 1.0 - max(dot(n, back), 0.0);
#ifdef PLAIN
  vec3 light = albedo * (around(n) + glow);
  for (int i = 0; i < 3; i++)
    light += (i == 0 ? lit : 1.0) * colors[i] * albedo * max(dot(n, directions[i]), 0.0);
#else
  vec3 light = albedo * (around(n) + glow) + around(reflect(-back, n)) * gloss * (0.4 + 3.0 * facing * facing * facing);
  for (int i = 0; i < 3; i++) {
    float slant = dot(n, directions[i]);
    vec3 diffuse = max((slant + soft) / (1.0 + soft), 0.0);
    float mirror = pow(max(dot(n, normalize(back + directions[i])), 0.0), shininess) * step(0.0, slant);
    light += (i == 0 ? lit : 1.0) * colors[i] * (albedo * diffuse + gloss * (0.5 + 0.06 * shininess) * mirror);
  }
#endif
  result = vec4(min(light, vec3(60.0)), 1.0);
  depth = Z;
}"""

FRAGMENT = _FRAGMENT.replace("LITE", "")
# Scenes fill most of the picture, so they are drawn without bumps, gloss and light around edges.
SCENE_FRAGMENT = _FRAGMENT.replace("LITE", "#define PLAIN")

SHADOW_VERTEX = """#version 330
in vec3 place; in vec2 uv; uniform mat4 lamp; out vec2 T;
void main() { T = vec2(uv.x, 1.0 - uv.y); gl_Position = lamp * vec4(place, 1.0); }"""

SHADOW_FRAGMENT = """#version 330
in vec2 T; uniform sampler2D image; uniform float cutoff;
void main() { if (cutoff != 0.0 && texture(image, T).a < 0.5) discard; }"""
