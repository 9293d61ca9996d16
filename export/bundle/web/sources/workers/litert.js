import {start} from '../bundled/litert.js';
import {serve} from '../serve.js';

serve(start);
