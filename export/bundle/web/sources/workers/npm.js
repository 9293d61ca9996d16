import {start} from '../npm.js';
import {serve} from '../serve.js';

serve(start);
