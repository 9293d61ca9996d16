// Edit: light and colour of the near and the far part of a photo apart. What is near is said by a depth, with a soft
// passage, moved on the histogram of depths; the part that is not edited keeps its pixels.

import {VIEW} from '../gl/view.js';

const KEYS = ['exposure', 'contrast', 'saturation', 'temperature'];
const LABELS = {exposure: 'Exposure', contrast: 'Contrast', saturation: 'Saturation', temperature: 'Temperature'};
const ENDS = {
  exposure: ['dark', 'bright'],
  contrast: ['flat', 'hard'],
  saturation: ['grey', 'vivid'],
  temperature: ['cool', 'warm'],
};

const EDIT = `${VIEW}
uniform vec4 near, far;       // exposure, contrast, saturation, temperature, each -1 to 1
uniform float threshold, softness;
out vec4 result;
vec3 edited(vec3 color, vec4 by) {
  if (by == vec4(0.0)) return color;
  vec3 light = pow(color, vec3(2.2)) * exp2(by.x * 2.0);
  light *= vec3(1.0 + 0.35 * by.w, 1.0, 1.0 - 0.35 * by.w);
  light /= 1.0 + 0.35 * by.w * (0.2126 - 0.0722); // as bright as before
  vec3 shown = pow(clamp(light, 0.0, 1.0), vec3(1.0 / 2.2));
  shown = (shown - 0.45) * exp2(by.y) + 0.45;
  float grey = dot(shown, vec3(0.2126, 0.7152, 0.0722));
  return clamp(mix(vec3(grey), shown, 1.0 + by.z), 0.0, 1.0);
}
void main() {
  vec4 photo = texture(source, uv);
  vec4 map = texture(maps, uv);
  // The same question asked of both layers and mixed by the matte: an outline is as sharp as the matte, not as soft
  // as the passage in depth.
  vec2 in_front = smoothstep(threshold - softness, threshold + softness, map.gb);
  float share = mix(in_front.y, in_front.x, map.r);
  vec3 color = share <= 0.0 ? edited(photo.rgb, far) : share >= 1.0 ? edited(photo.rgb, near)
    : mix(edited(photo.rgb, far), edited(photo.rgb, near), share);
  result = vec4(color, 1.0);
}`;

const sliders = (part, title) =>
  KEYS.map((key) => ({
    kind: 'range',
    key: `${part}.${key}`,
    label: `${title} ${LABELS[key].toLowerCase()}`,
    short: LABELS[key],
    min: -1,
    max: 1,
    low: ENDS[key][0],
    high: ENDS[key][1],
    shown: (settings) => settings.part === part,
  }));

export const edit = {
  id: 'edit',
  title: 'Edit',
  hint: 'Light the person and the background apart',

  start(scene) {
    const neutral = (part) => KEYS.map((key) => [`${part}.${key}`, 0]);
    return {
      ...Object.fromEntries([...neutral('near'), ...neutral('far')]),
      part: 'far',
      threshold: between(scene),
      softness: 0.05,
    };
  },

  controls: (scene) => [
    {
      kind: 'choice',
      key: 'part',
      label: 'Part',
      items: [
        {value: 'near', label: 'Foreground'},
        {value: 'far', label: 'Background'},
      ],
    },
    ...sliders('near', 'Foreground'),
    ...sliders('far', 'Background'),
    {kind: 'histogram', key: 'threshold', label: 'Depth threshold', values: scene.pixels.depth, spread: 'softness'},
    {kind: 'range', key: 'softness', label: 'Softness', low: 'sharp', high: 'soft', min: 0.002, max: 0.2, step: 0.002},
  ],

  margin: () => 0,

  render({stage, view, settings, output}) {
    const part = (name) => KEYS.map((key) => settings[`${name}.${key}`]);
    const {threshold, softness} = settings;
    stage.draw(EDIT, {...view.uniforms, near: part('near'), far: part('far'), threshold, softness}, output);
  },
};

// The depth that tells people from what is behind them best: between their farthest and the middle of the rest.
function between({people, pixels}) {
  if (!people.length) return 0.5;
  const rest = pixels.behind.filter((_, index) => pixels.alpha[index] < 0.1).sort();
  const behind = rest.length ? rest[rest.length >> 1] : 0;
  return (Math.min(...people.map(({all}) => all[0])) * 2 + behind) / 3;
}
