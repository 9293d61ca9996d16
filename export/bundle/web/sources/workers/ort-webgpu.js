import {start} from '../bundled/ort-webgpu.js';
import {serve} from '../serve.js';

serve(start);
