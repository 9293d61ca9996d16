// Types of the page's own state.

import type {Stage} from '../gl/stage.js';
import type {BuiltControl, Change, Mode, Settings} from '../modes/types.d.ts';
import type {Painter} from './painter.js';
import type {Photo} from './photo.js';
import type {Scene} from './scene.js';
import type {Choice, Session} from './session.js';

/** The state of the page. */
export interface App {
  stage: Stage;
  painter: Painter;
  session: Session;
  /** The artifact and its backend. */
  choice: Choice;
  /** Whether the chosen artifact loaded. */
  ready: Promise<boolean>;
  modes: Mode[];
  mode: Mode;
  /** Settings of the modes that were opened on this photo, by id. */
  settings: Map<string, Settings>;
  photo: Photo | null;
  scene: Scene | null;
  /** The same photo by a second artifact. */
  other: Scene | null;
  /** The mode's controls. */
  panel: BuiltControl | null;
  /** Counts photos: work for an older one is dropped. */
  turn: number;
  change: Change;
  choose: (mode: Mode) => void;
}
