import {start} from '../bundled/tfjs-webgpu.js';
import {serve} from '../serve.js';

serve(start);
