import {start} from '../bundled/ort.js';
import {serve} from '../serve.js';

serve(start);
