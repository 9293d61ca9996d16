import {start} from '../bundled/litert-webgpu.js';
import {serve} from '../serve.js';

serve(start);
