import {start} from '../bundled/tfjs-webgl.js';
import {serve} from '../serve.js';

serve(start);
