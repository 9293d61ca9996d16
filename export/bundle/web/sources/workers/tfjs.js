import {start} from '../bundled/tfjs.js';
import {serve} from '../serve.js';

serve(start);
