import * as sys from "spacetime:sys@2.0";
import { moduleHooks, identity as me } from "spacetime:sys@2.0";
const x = 1;
export { x as default, me };
